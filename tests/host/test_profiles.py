"""A machine that behaves as Penglai-TVM's own, beyond the facts of tests/compat."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.compat.programs import program
from tests.support.programs import eapp
from tests.support.waiting import PATIENCE

import penglai
from penglai import BadArgumentError, Reason
from penglai.driver.kernellog import logged


def test_a_profile_that_is_none_is_refused():
    with pytest.raises(BadArgumentError, match="native, tvm"):
        penglai.Machine(profile="keystone")


@pytest.mark.parametrize(
    ("body", "says"),
    [
        ("return penglai(89, 0, 0, 0);", "would hang here: it frees the memory"),
        ("return call(-1, 0, 0, 0);", "would hang here: it calls a server by a handle"),
        ("return map(0, 600 * 256);", "would hang here: it has no memory"),
        ("ocall(9, 1, 4096); return ocall(11, 1, 0);", "would hang here: it destroys shared memory"),
        ("return penglai(1, 0, 0, 0);", "a call that Penglai-TVM does not have"),
        ("return ocall(8, (u64)&page + 4090, 16);", "across a page boundary"),
        ("return penglai(94, 0, (u64)&page + 4000, 0);", "across a page boundary"),
    ],
)
def test_what_stops_the_original_ends_the_enclave_and_says_so(body: str, says: str):
    image = program(body, server=False)
    with penglai.Machine("64M", 1, state=None, profile="tvm") as machine:
        result = machine.create(image).run(PATIENCE)
        assert result.reason is Reason.FAULTED
        assert says in str(result.fault)
        assert machine.create(image).run(PATIENCE).reason is Reason.FAULTED, "the machine goes on"


def test_a_server_lives_on_when_its_caller_ends_for_what_it_did():
    server = program("if (x[10]) return *(volatile u64 *)0x2000000000UL; return 5;", server=True)
    caller = 'call(acquire("s"), {}, 0, 0); return page.arg.resp_val;'
    with penglai.Machine("64M", 1, state=None, profile="tvm") as machine:
        machine.create(server, name="s", kind="server")
        for argument, value in ((0, 5), (1, None), (0, 5)):
            image = program(caller.format(argument), server=False)
            assert machine.create(image).run(PATIENCE).value == value


@pytest.mark.parametrize(
    "body", ["return *(u64 *)map(0, 1);", "ocall(4, PAGE, 0); return *(u64 *)0x1000000000UL;"]
)
def test_memory_is_not_cleared(body: str):
    with penglai.Machine("64M", 1, state=None, profile="tvm") as machine:
        assert machine.create(program(body, server=False)).run(PATIENCE).value


def test_the_stack_of_an_instance_is_not_cleared():
    image = program("return *(u64 *)(x[2] - 4096);", server=False)
    for profile, dirty in (("native", False), ("tvm", True)):
        with penglai.Machine("64M", 1, state=None, profile=profile) as machine:
            assert bool(machine.create(image, kind="shadow").run(PATIENCE).value) is dirty


def test_random_numbers_are_the_same_at_each_boot():
    image = program("ocall(8, (u64)&page, 8); return page.words[0];", server=False)
    found = []
    for _ in range(2):
        with penglai.Machine("64M", 1, state=None, profile="tvm") as machine:
            found.append([machine.create(image).run(PATIENCE).value for _ in range(2)])
    assert found[0] == found[1]
    assert found[0][0] != found[0][1]


def test_enclaves_of_our_own_library_end_at_its_first_call():
    with penglai.Machine("64M", 1, state=None, profile="tvm") as machine:
        fault = machine.create(eapp("EAPP_RETURN(0);")).run(PATIENCE).fault
        assert "a call that Penglai-TVM does not have" in str(fault)


class TestKernelLog:
    @pytest.mark.parametrize(
        ("text", "shown"),
        [
            (b"line\n", b"line\n"),
            (b"abc", b"abc\n"),
            (b"", b"\n"),
            (b"\n", b"\n"),
            (b"50%% %d %lx%", b"50% (stray) (stray)(stray)\n"),
            (b"\x017hidden", b""),
            (b"\x016shown", b"shown\n"),
        ],
    )
    def test_what_is_shown(self, text: bytes, shown: bytes):
        assert logged(text) == shown

    @given(st.binary(max_size=1000))
    def test_it_is_whole_lines_and_never_long(self, text: bytes):
        shown = logged(text)
        assert not shown or shown.endswith(b"\n")
        assert len(shown) <= 511 * 7 + 1
