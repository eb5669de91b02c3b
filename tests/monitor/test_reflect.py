"""System calls: the monitor sends them to the enclave's own handler, and back."""

import pytest
from tests.support.rawhost import RawHost, answering, call, calling, load_word

from penglai.abi import layout
from penglai.abi.firmware import Extension
from penglai.abi.sbi import HostCall, RunValue
from penglai.machine import HostPort
from penglai.monitor.invariants import check

EXIT_WITH_A0 = call(99)
HANDLER = "la a0, handler\nli a6, 0x100101\nli a7, 1\necall\n"
ANSWER = layout.STACK_TOP - 256 + 64 + 8
"""Where `calling` finds what the server answered."""
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


def test_the_handler_serves_one_call_after_the_other(raw: RawHost, port: HostPort):
    body = "handler:\naddi a0, a0, 1\n" + BACK
    text = HANDLER + "li a0, 5\n" + 3 * "li a6, 0\necall\n" + EXIT_WITH_A0 + body
    assert run(raw, port, text) == (RunValue.ENDED, 8)


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


EVENTS = "la a0, events\nli a1, {}\nli a6, 0x100101\nli a7, 7\necall\n"
WHERE = "li a6, 0x100101\nli a7, 5\necall\n"
GO = "li a6, 0x100101\nli a7, 6\necall\n"


def test_a_handler_learns_where_the_enclave_was(raw: RawHost, port: HostPort):
    """pc, a6 and a7 of the ecall, and its cause: 8."""
    body = (
        "handler:\n"
        + WHERE
        + "la t0, there\nsub a0, a0, t0\nadd a0, a0, a1\nadd a0, a0, a2\nadd a0, a0, a3\n"
    )
    text = HANDLER + "li a6, 30\nli a7, 400\nthere:\necall\n" + EXIT_WITH_A0 + body + BACK
    assert run(raw, port, text) == (RunValue.ENDED, 438)


def test_outside_a_handler_there_is_no_such_place(raw: RawHost, port: HostPort):
    assert run(raw, port, WHERE + EXIT_WITH_A0) == (RunValue.ENDED, (1 << 64) - 1)


def test_a_handler_goes_on_elsewhere_with_registers_of_its_choice(raw: RawHost, port: HostPort):
    registers = "".join(f"li t1, {0x100 + n}\nsd t1, {8 * n}(t0)\n" for n in range(1, 32))
    body = "handler:\naddi t0, sp, -256\n" + registers + "la t1, there\nsd t1, 0(t0)\nmv a0, t0\n" + GO
    add = "".join(f"add a0, a0, x{n}\n" for n in range(1, 32) if n != 10)
    text = HANDLER + "li a6, 0\necall\n" + call(99, 1) + body + "there:\n" + add + EXIT_WITH_A0
    assert run(raw, port, text) == (RunValue.ENDED, sum(0x100 + n for n in range(1, 32)))


def test_behind_that_the_next_ecall_has_a_handler_again(raw: RawHost, port: HostPort):
    body = "handler:\naddi t0, sp, -256\nsd sp, 16(t0)\nla t1, there\nsd t1, 0(t0)\n"
    body += "addi s1, s1, 1\nsd s1, 72(t0)\nmv a0, t0\n" + GO
    there = "there:\nli t0, 3\nmv a0, s1\nbge s1, t0, over\nli a6, 0\necall\nover:\n" + EXIT_WITH_A0
    assert run(raw, port, HANDLER + "li s1, 0\nli a6, 0\necall\n" + body + there) == (
        RunValue.ENDED,
        3,
    )


@pytest.mark.parametrize("address", [0, 8, 1 << 45, (1 << 64) - 8])
def test_registers_that_are_nowhere_change_nothing(raw: RawHost, port: HostPort, address: int):
    body = "handler:\n" + call(6, address) + "addi a0, a0, 5\n" + BACK
    assert run(raw, port, HANDLER + "li a6, 0\necall\n" + EXIT_WITH_A0 + body) == (RunValue.ENDED, 4)


def test_a_fault_goes_to_the_handler_that_asked_for_it(raw: RawHost, port: HostPort):
    """With pc, cause and address; the other registers are those of what faulted."""
    fault = "li s1, 7\nli t0, 0x123000\nthere:\nsd zero, 0(t0)\n"
    body = (
        "events:\n" + WHERE + "la t1, there\nsub a0, a0, t1\nadd a0, a0, a3\nadd a0, a0, s1\nadd a0, a0, a4\n"
    )
    text = EVENTS.format(1) + fault + body + EXIT_WITH_A0
    assert run(raw, port, text) == (RunValue.ENDED, 15 + 7 + 0x123000)


def test_a_fault_inside_the_handler_is_the_enclaves_end(raw: RawHost, port: HostPort):
    text = EVENTS.format(1) + "li t0, 0x123000\nsd zero, 0(t0)\nevents:\nld t1, 0(t0)\n" + EXIT_WITH_A0
    assert run(raw, port, text)[0] == RunValue.FAULTED


@pytest.mark.parametrize("asked", [0, 2])
def test_a_fault_that_nobody_asked_for_is_the_enclaves_end(raw: RawHost, port: HostPort, asked: int):
    text = EVENTS.format(asked) + "li t0, 0x123000\nsd zero, 0(t0)\nevents:\n" + EXIT_WITH_A0
    assert run(raw, port, text)[0] == RunValue.FAULTED


@pytest.mark.parametrize("events", [4, 7, 1 << 63])
def test_there_are_no_other_events(raw: RawHost, port: HostPort, events: int):
    text = EVENTS.format(events) + EXIT_WITH_A0 + "events:\n"
    assert run(raw, port, text) == (RunValue.ENDED, (1 << 64) - 1)


def test_the_end_of_a_turn_goes_to_the_handler_when_the_next_one_begins(raw: RawHost, port: HostPort):
    eid = raw.make(
        EVENTS.format(2) + call(89) + "there:\nj there\nevents:\n" + WHERE + "mv a0, a3\n" + EXIT_WITH_A0
    )
    raw.start(eid)
    assert raw.enter(eid, port) == (0, RunValue.YIELD)
    port.ecall(Extension.TIME, 0, 0)
    assert raw.enter(eid, port) == (0, RunValue.TIMER)
    port.ecall(Extension.TIME, 0, (1 << 64) - 1)
    assert raw.enter(eid, port) == (0, RunValue.ENDED)
    assert raw.word(4) == 1 << 63 | 7
    check(raw.monitor)


def test_a_server_that_was_aborted_in_its_handler_has_it_at_the_next_call(raw: RawHost, port: HostPort):
    """Its caller goes while the handler is at work: at the next call the server begins anew."""
    body = "handler:\n" + call(89) + "li a0, 77\n" + BACK
    raw.make_server("server", HANDLER + "li a6, 0\nli a7, 64\necall\nmv s3, a0\n" + answering("s3") + body)
    aborted = raw.make(calling("server"))
    raw.start(aborted)
    assert raw.enter(aborted, port) == (0, RunValue.YIELD)
    assert raw.call(HostCall.DESTROY, aborted).error == 0
    caller = raw.make(calling("server") + load_word("a0", ANSWER) + EXIT_WITH_A0)
    raw.start(caller)
    assert raw.enter(caller, port) == (0, RunValue.YIELD), "the handler is at work again"
    assert raw.enter(caller, port) == (0, RunValue.ENDED)
    assert raw.word(4) == 77
    check(raw.monitor)
