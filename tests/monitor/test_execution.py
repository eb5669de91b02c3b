"""An enclave on a hart: its calls, its faults, and what a stop or destroy does to it in the middle."""

import threading
from collections.abc import Callable
from typing import cast

import pytest
from tests.support.bare import assemble
from tests.support.rawhost import EXIT, FOREVER, RW, RX, ImageSpec, RawHost, load_word, program
from tests.support.waiting import PATIENCE, until

from penglai.abi import layout
from penglai.abi.ecall import Ocall
from penglai.abi.errors import ErrorCode
from penglai.abi.riscv import PAGE_SIZE, Cause, Pte
from penglai.abi.sbi import HostCall, RunValue, SbiResult
from penglai.abi.state import State
from penglai.machine import Board, HostPort

MINUS_ONE = (1 << 64) - 1


def call(function: int, *arguments: int) -> str:
    loads = "".join(f"li a{index}, {value}\n" for index, value in enumerate(arguments))
    return f"{loads}li a6, 0x100101\nli a7, {function}\necall\n"


EXIT_WITH_A0 = call(99)
SBRK = call(98, 4, "{}")  # type: ignore[arg-type]


@pytest.fixture
def port(raw: RawHost) -> HostPort:
    return raw.board.host_port(raw.board.harts[0])


def run(raw: RawHost, port: HostPort, spec: ImageSpec | str) -> tuple[SbiResult, int]:
    """Start and enter; the answer, and the word for the returned value."""
    eid = raw.make(spec)
    raw.start(eid)
    return raw.enter(eid, port), raw.word(4)


def value_of(raw: RawHost, port: HostPort, text: str) -> int:
    result, value = run(raw, port, text + EXIT_WITH_A0)
    assert result == (0, RunValue.ENDED)
    return value


def test_the_first_registers_are_those_of_the_abi(raw: RawHost, port: HostPort):
    others = [n for n in range(1, 32) if n != 2]
    text = "".join(f"or t6, t6, x{n}\n" for n in others if n != 31)
    assert value_of(raw, port, f"{text}mv a0, t6\n") == 0, "no register carries anything from the host"
    assert value_of(raw, port, "mv a0, sp\n") == layout.STACK_TOP
    assert value_of(raw, port, "frcsr a0\n") == 0
    floats = "".join(f"fmv.x.d t0, f{n}\nor a0, a0, t0\n" for n in range(32))
    assert value_of(raw, port, floats) == 0


def test_exit_hands_over_all_64_bits(raw: RawHost, port: HostPort):
    assert value_of(raw, port, "li a0, 0xfedcba9876543210\n") == 0xFEDCBA9876543210


def test_own_id(raw: RawHost, port: HostPort):
    for _ in range(3):
        eid = raw.make(call(90) + EXIT_WITH_A0)
        raw.start(eid)
        assert raw.enter(eid, port) == (0, RunValue.ENDED)
        assert raw.word(4) == eid


@pytest.mark.parametrize("function", [0, 4, 82, 87, 100, 1 << 31, MINUS_ONE])
def test_an_unknown_call_has_the_result_minus_one(raw: RawHost, port: HostPort, function: int):
    assert value_of(raw, port, call(function, 1, 2, 3)) == MINUS_ONE


@pytest.mark.parametrize("ocall", [0, 13, 98, 99, MINUS_ONE])
def test_an_unknown_ocall_has_the_result_minus_one(raw: RawHost, port: HostPort, ocall: int):
    assert value_of(raw, port, call(98, ocall)) == MINUS_ONE


def test_yield_leaves_and_comes_back(raw: RawHost, port: HostPort):
    eid = raw.make(call(89, 5) + EXIT_WITH_A0)
    raw.start(eid)
    assert raw.enter(eid, port) == (0, RunValue.YIELD)
    assert raw.state(eid) is State.RUNNABLE
    assert raw.enter(eid, port) == (0, RunValue.ENDED)
    assert raw.word(4) == 0


def test_write_shows_the_text_and_waits_for_the_host(raw: RawHost, port: HostPort):
    text = "li t0, 0xffffffe000000000\nli t1, 0x6968\nsd t1, 0(t0)\n" + call(98, 3) + EXIT_WITH_A0
    eid = raw.make(text)
    raw.start(eid)
    assert raw.enter(eid, port) == (0, RunValue.OCALL)
    assert raw.state(eid) is State.OCALL
    assert raw.word(0) == Ocall.WRITE
    assert raw.memory.read(raw.kernel_buffer, 3) == b"hi\0"
    assert raw.answer(eid, port=port) == (0, RunValue.ENDED)
    assert raw.word(4) == 0


class TestSbrk:
    def test_delta_0_tells_the_top(self, raw: RawHost, port: HostPort):
        assert value_of(raw, port, call(98, 4, 0)) == layout.HEAP_BASE

    def test_growing_gives_zeroed_pages_and_the_new_top(self, raw: RawHost, port: HostPort):
        text = call(98, 4, 3 * PAGE_SIZE) + f"mv t2, a0\nli t0, {layout.HEAP_BASE}\nli t1, 0\n"
        text += "1: ld t3, 0(t0)\nor t1, t1, t3\nsd t0, 0(t0)\naddi t0, t0, 8\nbltu t0, t2, 1b\n"
        assert value_of(raw, port, text + "mv a0, t1\n") == 0
        assert value_of(raw, port, call(98, 4, 3 * PAGE_SIZE)) == layout.HEAP_BASE + 3 * PAGE_SIZE

    def test_shrinking_takes_the_pages_away(self, raw: RawHost, port: HostPort):
        text = call(98, 4, 2 * PAGE_SIZE) + f"li t0, {layout.HEAP_BASE + PAGE_SIZE}\nsd t0, 0(t0)\n"
        text += call(98, 4, -PAGE_SIZE) + "sd t0, -8(t0)\nsd t0, 0(t0)\n"
        result, _ = run(raw, port, text)
        assert result == (0, RunValue.FAULTED)
        assert (raw.word(1), raw.word(2)) == (Cause.STORE_PAGE_FAULT, layout.HEAP_BASE + PAGE_SIZE)

    def test_pages_that_come_back_are_zero_again(self, raw: RawHost, port: HostPort):
        text = call(98, 4, PAGE_SIZE) + f"li t0, {layout.HEAP_BASE}\nsd t0, 0(t0)\n"
        text += call(98, 4, -PAGE_SIZE) + call(98, 4, PAGE_SIZE) + "ld a0, 0(t0)\n"
        assert value_of(raw, port, text) == 0

    @pytest.mark.parametrize("delta", [1, -1, 4095, -PAGE_SIZE, 1 << 62, -(1 << 62), 1 << 63, 1 << 45])
    def test_what_cannot_be_is_refused_and_changes_nothing(self, raw: RawHost, port: HostPort, delta: int):
        assert value_of(raw, port, call(98, 4, delta)) == MINUS_ONE
        assert value_of(raw, port, call(98, 4, delta) + call(98, 4, 0)) == layout.HEAP_BASE

    def test_an_empty_pool_asks_the_host_and_tries_again(self, raw: RawHost, port: HostPort):
        pages = raw.monitor.platform.ownership.free_pages + 100
        eid = raw.make(call(98, 4, pages * PAGE_SIZE) + EXIT_WITH_A0)
        raw.start(eid)
        assert raw.enter(eid, port) == (0, RunValue.OCALL)
        assert raw.word(0) == Ocall.SBRK
        assert 0 < raw.word(1) < 2 * 512 * PAGE_SIZE, "as much as is missing"
        raw.give_chunk()
        assert raw.answer(eid, Ocall.SBRK, 1, port=port) == (0, RunValue.ENDED)
        assert raw.word(4) == layout.HEAP_BASE + pages * PAGE_SIZE

    def test_a_host_without_memory_makes_it_fail(self, raw: RawHost, port: HostPort):
        before = raw.snapshot()
        eid = raw.make(call(98, 4, 2000 * PAGE_SIZE) + EXIT_WITH_A0)
        raw.start(eid)
        assert raw.enter(eid, port) == (0, RunValue.OCALL)
        assert raw.answer(eid, Ocall.SBRK, 0, port=port) == (0, RunValue.ENDED)
        assert raw.word(4) == MINUS_ONE
        assert raw.snapshot() == before

    def test_a_host_that_lies_about_memory_is_asked_again(self, raw: RawHost, port: HostPort):
        eid = raw.make(call(98, 4, 2000 * PAGE_SIZE) + EXIT_WITH_A0)
        raw.start(eid)
        assert raw.enter(eid, port) == (0, RunValue.OCALL)
        for _ in range(3):
            assert raw.answer(eid, Ocall.SBRK, 1 << 40, port=port) == (0, RunValue.OCALL)


SECRET = 0x5EC4E7_5EC4E7
STACK, BUFFER = layout.STACK_TOP, layout.KERNEL_BUFFER
FAULTS = {
    "load": ("li t0, 0x123456000\nld t1, 8(t0)\n", Cause.LOAD_PAGE_FAULT, 0x123456008),
    "store to text": ("li t0, 0x1000\nsd t0, 0(t0)\n", Cause.STORE_PAGE_FAULT, 0x1000),
    "jump to the stack": (f"li t0, {STACK - 64}\njr t0\n", Cause.FETCH_PAGE_FAULT, STACK - 64),
    "jump to the kernel buffer": (f"li t0, {BUFFER}\njr t0\n", Cause.FETCH_PAGE_FAULT, BUFFER),
    "behind the kernel buffer": (f"li t0, {BUFFER + PAGE_SIZE}\nld t1, 0(t0)\n", Cause.LOAD_PAGE_FAULT, None),
    "physical memory": ("li t0, 0x80000000\nld t1, 0(t0)\n", Cause.LOAD_PAGE_FAULT, 0x80000000),
    "above the stack": (f"li t0, {STACK}\nsd t0, 0(t0)\n", Cause.STORE_PAGE_FAULT, STACK),
    "misaligned": (f"li t0, {STACK - 63}\namoadd.w t1, t0, (t0)\n", Cause.STORE_MISALIGNED, STACK - 63),
    "satp": (".4byte 0x180022f3\n", Cause.ILLEGAL_INSTRUCTION, 0x1000),
    "wfi": ("nop\n.4byte 0x10500073\n", Cause.ILLEGAL_INSTRUCTION, 0x1002),
    "illegal": (".2byte 0\n", Cause.ILLEGAL_INSTRUCTION, 0x1000),
    "breakpoint": ("nop\nc.ebreak\n", Cause.BREAKPOINT, 0x1002),
    "another ecall": (f"li s0, {SECRET}\nli a6, 0\nli a7, 64\necall\n", Cause.ECALL_U, None),
}


@pytest.mark.parametrize(("text", "cause", "address"), FAULTS.values(), ids=FAULTS)
def test_a_fault_ends_the_enclave_and_only_it(
    raw: RawHost, port: HostPort, text: str, cause: Cause, address: int | None
):
    before = raw.snapshot()
    other = raw.make(program(EXIT))
    secret = f"li s1, {SECRET}\nli a0, {SECRET}\n"
    result, value = run(raw, port, text + secret)
    assert result == (0, RunValue.FAULTED)
    assert raw.word(1) == cause
    assert address is None or raw.word(2) == address
    assert value == 0, "no value, no register"
    raw.start(other)
    assert raw.enter(other, port) == (0, RunValue.ENDED)
    assert raw.snapshot() == before


def test_an_ended_enclave_leaves_no_byte_in_memory(raw: RawHost, port: HostPort):
    marker = bytes(range(1, 17)) * 8
    spec = program(call(98, 4, PAGE_SIZE) + "li t0, 0x3000\nld t1, 0(t0)\nsd t1, -8(a0)\n" + EXIT)
    spec.pages[0x3000] = (RW, marker * 4)
    eid = raw.make(spec)
    raw.memory.write(raw.memory.base, bytes(RawHost.page(raw) - raw.memory.base))
    assert marker in raw.board.memory.raw.tobytes()
    raw.start(eid)
    assert raw.enter(eid, port) == (0, RunValue.ENDED)
    assert marker[:8] not in raw.board.memory.raw.tobytes()


def in_guest(raw: RawHost, eid: int, port: HostPort) -> tuple[threading.Thread, list[SbiResult]]:
    """Enter on a thread of its own, and return when it executes."""
    answers: list[SbiResult] = []
    thread = threading.Thread(target=lambda: answers.append(raw.enter(eid, port)), daemon=True)
    thread.start()
    until(lambda: raw.state(eid) is State.RUNNING)
    return thread, answers


def test_stop_from_another_hart_takes_effect_before_it_returns(raw: RawHost, port: HostPort):
    """The counter is in the kernel buffer, where the host can watch it stand still."""
    text = "li t0, 0xffffffe000000000\n1: ld t1, 0(t0)\naddi t1, t1, 1\nsd t1, 0(t0)\nj 1b\n"
    eid = raw.make(text)
    other = raw.board.host_port(raw.board.harts[1])

    def count() -> int:
        return int.from_bytes(raw.memory.read(raw.kernel_buffer, 8), "little")

    raw.start(eid)
    for _ in range(50):
        before = count()
        thread, answers = in_guest(raw, eid, port)
        until(lambda before=before: count() > before)
        assert raw.call(HostCall.STOP, eid, port=other).error == 0
        stopped = count()
        thread.join(PATIENCE)
        assert answers == [(0, RunValue.TIMER)]
        assert count() == stopped
        assert raw.call(HostCall.RESUME, eid, 1).error == 0
        port, other = other, port
    assert raw.info(eid).stops == 50


def test_destroy_from_another_hart(raw: RawHost, port: HostPort):
    before = raw.snapshot()
    eid = raw.make(FOREVER)
    raw.start(eid)
    thread, answers = in_guest(raw, eid, port)
    assert raw.call(HostCall.DESTROY, eid).error == 0
    assert raw.snapshot() == before, "the memory is back when destroy returns"
    thread.join(PATIENCE)
    assert answers == [(ErrorCode.NO_SUCH_ENCLAVE, 0)]


@pytest.mark.parametrize("call_text", [call(90), call(98, 4, 0), call(77)])
def test_an_enclave_in_a_tight_loop_of_calls_cannot_delay_a_stop(
    raw: RawHost, port: HostPort, call_text: str
):
    eid = raw.make(f"1: {call_text}j 1b\n")
    raw.start(eid)
    for _ in range(50):
        thread, _ = in_guest(raw, eid, port)
        assert raw.call(HostCall.STOP, eid).error == 0
        thread.join(PATIENCE)
        assert not thread.is_alive()
        assert raw.call(HostCall.RESUME, eid, 1).error == 0


def test_the_stopped_trap_happens_after_the_resume(raw: RawHost):
    """A stop that lands on an enclave's exit: the exit has not happened, and happens when it goes on."""
    eid = raw.make("li a0, 42\n" + EXIT)
    raw.start(eid)
    hart = raw.board.harts[0]
    port = raw.board.host_port(hart)
    execute = hart.execute
    enclave = raw.monitor.enclaves()[0]
    gate, reached = threading.Event(), threading.Event()

    def run_and_pause(context):  # the hart's thread is slow between the trap and the monitor
        cause = execute(context)
        reached.set()
        assert gate.wait(PATIENCE)
        return cause

    hart.execute = run_and_pause  # type: ignore[method-assign]
    thread, answers = threading.Thread(target=lambda: answers.append(raw.enter(eid, port)), daemon=True), []
    thread.start()
    assert reached.wait(PATIENCE)
    del hart.execute
    assert raw.call(HostCall.STOP, eid).error == 0
    assert raw.call(HostCall.RESUME, eid, 1).error == 0
    gate.set()
    thread.join(PATIENCE)
    assert answers == [(0, RunValue.TIMER)]
    assert enclave.state is State.RUNNABLE
    assert raw.enter(eid, port) == (0, RunValue.ENDED)
    assert raw.word(4) == 42


def test_the_timer_preempts(board: Board):
    raw = RawHost(board)
    port = board.host_port(board.harts[0])
    eid = raw.make(FOREVER)
    raw.start(eid)
    board.harts[0].deadline = 0
    assert raw.enter(eid, port) == (0, RunValue.TIMER)
    assert raw.info(eid).preemptions == 1
    assert raw.state(eid) is State.RUNNABLE


def test_permissions_hold_inside(raw: RawHost, port: HostPort):
    spec = program("li t0, 0x2000\nld t1, 0(t0)\nsd t1, 0(t0)\n")
    spec.pages[0x2000] = (Pte.R, b"read only")
    result, _ = run(raw, port, spec)
    assert result == (0, RunValue.FAULTED)
    assert (raw.word(1), raw.word(2)) == (Cause.STORE_PAGE_FAULT, 0x2000)


def test_the_context_is_in_no_memory_that_anybody_can_read(raw: RawHost, port: HostPort):
    marker = 0x1122334455667788
    eid = raw.make(f"li s3, {marker}\nfmv.d.x f9, s3\n{call(89)}" + FOREVER)
    raw.start(eid)
    assert raw.enter(eid, port) == (0, RunValue.YIELD)
    context = raw.monitor.enclaves()[0].context
    assert (context.x[19], context.f[9]) == (marker, marker)
    assert marker.to_bytes(8, "little") not in raw.board.memory.raw.tobytes()


class _ThenAtOnce:
    """An enclave's lock; when it is let go for the first time something else happens before all else."""

    def __init__(self, lock: threading.Lock, first: Callable[[], object]) -> None:
        self.acquire = lock.acquire
        self._lock, self._first = lock, [first]

    def release(self) -> None:
        self._lock.release()
        while self._first:
            self._first.pop()()

    def __enter__(self) -> bool:
        return self.acquire()

    def __exit__(self, *_: object) -> None:
        self._lock.release()


def test_destroyed_between_its_entry_and_its_first_instruction(raw: RawHost, port: HostPort):
    eid = raw.make(FOREVER)
    raw.start(eid)
    (enclave,) = raw.monitor.enclaves()
    destroyed: list[SbiResult] = []
    lock = _ThenAtOnce(enclave.lock, lambda: destroyed.append(raw.call(HostCall.DESTROY, eid)))
    enclave.lock = cast("threading.Lock", lock)
    assert raw.enter(eid, port) == (ErrorCode.NO_SUCH_ENCLAVE, 0)
    assert destroyed == [(0, 0)]
    assert value_of(raw, port, "li a0, 3\n") == 3, "the hart goes on"


DATA = 0x2000
READS_DATA = load_word("a0", DATA)


@pytest.mark.parametrize("last", [EXIT, "unimp\n", call(89)], ids=["exit", "fault", "destroyed by the host"])
def test_who_gets_an_ended_enclaves_root_table_has_none_of_its_mappings(
    raw: RawHost, port: HostPort, last: str
):
    """The engine's TLB goes by the root: an address that only the first enclave had is nobody's now."""
    first = raw.make(ImageSpec({0x1000: (RX, assemble(READS_DATA + last)), DATA: (RW, b"\7" * 8)}))
    root = root_of(raw, first)
    raw.start(first)
    if raw.enter(first, port).value == RunValue.YIELD:
        assert raw.call(HostCall.DESTROY, first).error == 0
    second = raw.make(ImageSpec({0x1000: (RX, assemble(READS_DATA + EXIT)), 0x3000: (RW, b"\7" * 8)}))
    assert root_of(raw, second) == root
    raw.start(second)
    assert raw.enter(second, port) == (0, RunValue.FAULTED)
    assert raw.word(2) == DATA


def root_of(raw: RawHost, eid: int) -> int:
    return next(each.table.satp for each in raw.monitor.enclaves() if each.eid == eid)
