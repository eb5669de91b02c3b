"""System calls: the monitor sends them to the enclave's own handler, and back."""

import pytest
from tests.support.rawhost import RawHost, call

from penglai.abi.sbi import HostCall, RunValue
from penglai.machine import HostPort
from penglai.monitor.invariants import check

EXIT_WITH_A0 = call(99)
HANDLER = "la a0, handler\nli a6, 0x100101\nli a7, 1\necall\n"
BACK = "li a6, 0x100101\nli a7, 2\necall\n"


@pytest.fixture
def port(raw: RawHost) -> HostPort:
    return raw.board.host_port(raw.board.harts[0])


def run(raw: RawHost, port: HostPort, text: str) -> tuple[int, int]:
    eid = raw.make(text)
    raw.start(eid)
    result = raw.enter(eid, port)
    check(raw.monitor)
    return result.value, raw.word(4)


def test_the_handler_has_the_registers_of_the_call_and_gives_its_result(raw: RawHost, port: HostPort):
    body = "handler:\nadd a0, a0, a5\nadd a0, a0, a7\nadd a0, a0, a6\n" + BACK
    text = HANDLER + "li a0, 1000\nli a5, 200\nli a6, 30\nli a7, 4\necall\n" + EXIT_WITH_A0 + body
    assert run(raw, port, text) == (RunValue.ENDED, 1234)


def test_all_other_registers_are_as_they_were(raw: RawHost, port: HostPort):
    registers = [n for n in range(1, 32) if n not in (2, 10)]
    marks = "".join(f"li x{n}, {0x100 + n}\n" for n in registers)
    compare = "".join(f"addi x{n}, x{n}, -{0x100 + n}\nor a0, a0, x{n}\n" for n in registers)
    text = HANDLER + marks + "li a0, 0\necall\n" + compare + EXIT_WITH_A0 + "handler:\nli a0, 0\n" + BACK
    assert run(raw, port, text) == (RunValue.ENDED, 0)


def test_a_handler_may_make_penglais_calls(raw: RawHost, port: HostPort):
    body = "handler:\n" + call(90) + BACK
    value, eid = run(raw, port, HANDLER + "li a6, 0\necall\n" + EXIT_WITH_A0 + body)
    assert (value, eid) == (RunValue.ENDED, 1)


@pytest.mark.parametrize("a6", [0, 1, 0x100100, 0x100102, (1 << 64) - 1])
def test_without_a_handler_it_is_the_enclaves_end(raw: RawHost, port: HostPort, a6: int):
    assert run(raw, port, f"li a6, {a6}\nli a7, 64\necall\n")[0] == RunValue.FAULTED
    gone = HANDLER + call(1, 0) + f"li a6, {a6}\necall\nhandler:\n" + BACK
    assert run(raw, port, gone)[0] == RunValue.FAULTED


def test_so_it_is_inside_the_handler(raw: RawHost, port: HostPort):
    assert (
        run(raw, port, HANDLER + "li a6, 0\necall\nhandler:\nli a6, 0\necall\n" + BACK)[0] == RunValue.FAULTED
    )


def test_a_handler_that_is_nowhere_is_a_fault(raw: RawHost, port: HostPort):
    for address in (8, (1 << 64) - 2, 1 << 45):
        assert run(raw, port, call(1, address) + "li a6, 0\necall\n")[0] == RunValue.FAULTED


def test_going_back_from_nowhere_has_the_result_minus_one(raw: RawHost, port: HostPort):
    assert run(raw, port, BACK + EXIT_WITH_A0) == (RunValue.ENDED, (1 << 64) - 1)


def test_a_stop_inside_the_handler_loses_nothing(raw: RawHost, port: HostPort):
    body = "handler:\n" + call(89) + "li a0, 77\n" + BACK
    eid = raw.make(HANDLER + "li a6, 0\necall\n" + EXIT_WITH_A0 + body)
    raw.start(eid)
    assert raw.enter(eid, port) == (0, RunValue.YIELD)
    assert raw.call(HostCall.STOP, eid).error == 0
    assert raw.call(HostCall.RESUME, eid, 1).error == 0
    assert raw.enter(eid, port) == (0, RunValue.ENDED)
    assert raw.word(4) == 77
