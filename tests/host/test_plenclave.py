"""The C library's names, one to one: the tutorial reads the same in Python."""

import threading
from collections.abc import Iterator

import pytest
from tests.support.programs import eapp
from tests.support.waiting import PATIENCE, until

import penglai
from penglai import plenclave
from penglai.plenclave import (
    ElfArgs,
    EnclaveArgs,
    PLenclave,
    PLenclave_create,
    PLenclave_destroy,
    PLenclave_destruct,
    PLenclave_init,
    PLenclave_resume,
    PLenclave_run,
    PLenclave_stop,
    elf_args_destroy,
    elf_args_init,
    enclave_args_init,
)

EINVAL, EFAULT, ENOMEM = 22, 14, 12


@pytest.fixture
def made(machine: penglai.Machine) -> Iterator[PLenclave]:
    """An enclave of `loop`, created."""
    enclave, elf, params = PLenclave(), ElfArgs(), EnclaveArgs()
    assert PLenclave_init(enclave, machine) == 0
    enclave_args_init(params)
    assert elf_args_init(elf, "loop") == 0
    assert PLenclave_create(enclave, elf, params) == 0
    yield enclave
    PLenclave_destruct(enclave)


def test_the_tutorial(made: PLenclave):
    results: list[int] = []
    host_thread = threading.Thread(target=lambda: results.append(PLenclave_run(made)))
    host_thread.start()
    until(lambda: made.handle is not None and made.handle.info().run_time > 0)
    assert PLenclave_stop(made) == 0
    assert PLenclave_resume(made) == 0
    assert PLenclave_destroy(made) == 0
    host_thread.join(PATIENCE)
    assert results == [0], "run returns 0 also when the enclave was destroyed meanwhile"
    assert made.user_param.retval == 0
    assert PLenclave_destroy(made) == -1
    assert (made.errno, "no longer exists" in made.error) == (EINVAL, True)


def test_wrong_states_are_minus_one_with_the_reason(made: PLenclave):
    for call in (PLenclave_stop, PLenclave_resume):
        assert call(made) == -1
        assert made.errno == EFAULT
        assert "FRESH" in made.error


def test_the_value_is_in_retval(machine: penglai.Machine):
    enclave, elf, params = PLenclave(), ElfArgs(), EnclaveArgs()
    PLenclave_init(enclave, machine)
    assert elf_args_init(elf, str(eapp("EAPP_RETURN(-2);"))) == 0
    assert elf.size == len(elf.ptr) > 0
    params.stack_size = 8192
    params.name = "given"
    assert PLenclave_create(enclave, elf, params) == 0
    assert enclave.eid == enclave.user_param.eid > 0
    assert PLenclave_run(enclave) == 0
    assert enclave.user_param.retval == (1 << 64) - 2
    elf_args_destroy(elf)
    assert elf.size == 0
    PLenclave_destruct(enclave)
    assert enclave.eid == -1


def test_a_fault_is_minus_one_with_efault(machine: penglai.Machine):
    enclave, elf = PLenclave(), ElfArgs()
    PLenclave_init(enclave, machine)
    elf_args_init(elf, str(eapp("*(volatile int *)0 = 1;")))
    PLenclave_create(enclave, elf, EnclaveArgs())
    assert PLenclave_run(enclave) == -1
    assert (enclave.errno, enclave.error) == (EFAULT, "the enclave faulted: store page fault at 0x0")


def test_what_goes_wrong_before_there_is_an_enclave(machine: penglai.Machine):
    enclave, elf = PLenclave(), ElfArgs()
    assert elf_args_init(elf, "no-such-thing") == -1
    assert PLenclave_create(enclave, elf, EnclaveArgs()) == -1
    assert (enclave.errno, enclave.error) == (EINVAL, "PLenclave_init comes first")
    PLenclave_init(enclave, machine)
    for call in (PLenclave_run, PLenclave_stop, PLenclave_resume, PLenclave_destroy):
        assert call(enclave) == -1
        assert (enclave.errno, enclave.error) == (EINVAL, "PLenclave_create comes first")
    assert PLenclave_create(enclave, elf, EnclaveArgs()) == -1, "an empty ELF"
    assert enclave.errno == EINVAL
    elf_args_init(elf, "loop")
    assert PLenclave_create(enclave, elf, EnclaveArgs(stack_size=1 << 33)) == -1
    assert enclave.errno == ENOMEM
    assert PLenclave_create(enclave, elf, EnclaveArgs(type=plenclave.EnclaveType.SERVER)) == -1
    assert enclave.errno == EINVAL
    PLenclave_destruct(enclave)


def test_without_a_machine_all_share_one():
    first, second = PLenclave(), PLenclave()
    assert PLenclave_init(first) == PLenclave_init(second) == 0
    assert first.machine is second.machine is not None
    first.machine.close()
    plenclave._shared.clear()


def test_the_names_of_c_structs_are_there_too():
    assert plenclave.elf_args is ElfArgs
    assert plenclave.enclave_args is EnclaveArgs
