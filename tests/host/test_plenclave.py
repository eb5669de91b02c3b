"""The C library's names, one to one: the tutorial reads the same in Python."""

import threading
from collections.abc import Iterator
from pathlib import Path

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


RELAY = """
volatile unsigned long *pages = (void *)args[13];
for (int round = 0; round < 2; round++) {
    pages[1] = pages[0] + 1;
    eapp_return_relay_page();
}
EAPP_RETURN(args[14] ? pages[0] : 7);
"""


def prepared(machine: penglai.Machine, program: Path, **fields: object) -> PLenclave:
    """An enclave of a program, created.  fields: of its EnclaveArgs."""
    enclave, elf, params = PLenclave(), ElfArgs(), EnclaveArgs(**fields)  # type: ignore[arg-type]
    assert PLenclave_init(enclave, machine) == 0
    assert elf_args_init(elf, str(program)) == 0
    assert plenclave.elf_valid(elf)
    assert PLenclave_create(enclave, elf, params) == 0, enclave.error
    return enclave


def test_relay_pages_by_the_c_names(machine: penglai.Machine):
    number = plenclave.PLenclave_schrodinger_get(2 * 4096, machine)
    pages = plenclave.PLenclave_schrodinger_at(number, 0, machine)
    assert pages is not None
    enclave = prepared(machine, eapp(RELAY))
    assert plenclave.PLenclave_set_mem_arg(enclave, number, 0, 4096) == 0
    for value in (5, 50):
        pages.write(value.to_bytes(8, "little"))
        assert PLenclave_run(enclave) == plenclave.RETURN_USER_RELAY_PAGE
        assert int.from_bytes(pages.read(8, 8), "little") == value + 1
        assert plenclave.PLenclave_set_rerun_arg(enclave, plenclave.RETURN_USER_RELAY_PAGE) == 0
    pages.write((500).to_bytes(8, "little"))
    assert PLenclave_run(enclave) == 0
    assert enclave.user_param.retval == 500
    assert plenclave.PLenclave_schrodinger_dt(number, pages) == 0
    assert plenclave.PLenclave_schrodinger_ctl(number, machine) == 0
    assert plenclave.PLenclave_schrodinger_ctl(number, machine) == -1
    assert plenclave.PLenclave_schrodinger_at(number, 0, machine) is None


def test_shared_memory_by_the_c_names(machine: penglai.Machine):
    number = plenclave.PLenclave_shmget(4096, machine)
    shared = plenclave.PLenclave_shmat(number, 0, machine)
    assert shared is not None
    shared[0] = 9
    program = eapp("EAPP_RETURN(*(unsigned char *)args[10] + args[11]);")
    direct = prepared(machine, program, shmid=number, shm_size=4096)
    assert (PLenclave_run(direct), direct.user_param.retval) == (0, 4096 + 9)
    enclave = PLenclave()
    PLenclave_init(enclave, machine)
    assert plenclave.PLenclave_set_shm(enclave, number, 0, 4096) == 0
    assert PLenclave_create(enclave, direct.elffile or ElfArgs(), EnclaveArgs()) == 0
    assert (PLenclave_run(enclave), enclave.user_param.retval) == (0, 4096 + 9)
    assert plenclave.PLenclave_fs_persistency_init(number, machine) == 0
    view = memoryview(shared)
    assert plenclave.PLenclave_shmctl(number, machine) == -1, "it is in use"
    view.release()
    assert plenclave.PLenclave_shmdt(number, shared) == 0
    assert plenclave.PLenclave_shmget(0, machine) == plenclave.PLenclave_shmctl(4711, machine) == -1


def test_a_shadow_becomes_its_instance_and_can_be_named_again(machine: penglai.Machine):
    shadow = prepared(machine, eapp("EAPP_RETURN(get_enclave_id());"), type=plenclave.SHADOW_ENCLAVE)
    template = shadow.eid
    assert plenclave.PLenclave_attest(shadow, 7) == 0
    report = penglai.Report(bytes(shadow.attest_param.report))
    report.verify(measurement=machine.enclave(template).measurement, nonce=7, device_key=machine.device_key)
    for _ in range(2):
        shadow.eid = template
        assert PLenclave_run(shadow) == 0
        assert shadow.user_param.isShadow == 1
        assert shadow.eid == shadow.user_param.retval != template
        assert PLenclave_destroy(shadow) == -1, "the instance has ended"
    shadow.eid = template
    assert PLenclave_destroy(shadow) == 0


def test_a_server_by_the_c_names(machine: penglai.Machine):
    answer = "struct call_enclave_arg_t a = {.resp_val = args[10] * 2}; SERVER_RETURN(&a);"
    server = prepared(machine, eapp(answer), name="test-server", type=plenclave.SERVER_ENCLAVE)
    body = """
    struct call_enclave_arg_t a = {.req_arg = 21};
    unsigned long failed = call_enclave(acquire_enclave("test-server"), &a);
    EAPP_RETURN(failed ? 1 : a.resp_val);
    """
    caller = prepared(machine, eapp(body))
    assert (PLenclave_run(caller), caller.user_param.retval) == (0, 42)
    assert PLenclave_run(server) == -1
    assert PLenclave_destroy(server) == 0
