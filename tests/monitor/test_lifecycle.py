"""The life-cycle table, cell by cell, at the monitor's own door; and that refusals change nothing."""

import gc
import itertools
import threading
import weakref
from collections.abc import Iterator

import pytest
from tests.support.fake import FakeEngine
from tests.support.rawhost import EXIT, FOREVER, RW, ImageSpec, RawHost, calling
from tests.support.snapshots import Mover
from tests.support.waiting import PATIENCE, until

from penglai.abi.ecall import Ocall
from penglai.abi.errors import ErrorCode
from penglai.abi.riscv import PAGE_SIZE
from penglai.abi.sbi import HostCall, ResumeReason, RunValue
from penglai.abi.state import State
from penglai.machine import Board
from penglai.monitor.lifecycle import LIVE, TABLE, Call, next_state
from penglai.monitor.refusal import Refusal

WRITE = "li a6, 0x100101\nli a7, 98\nli a0, 3\necall\n"
MUCH = ImageSpec({0x1000 + number * PAGE_SIZE: (RW, b"\1") for number in range(300)})
"""Pages for more than one piece."""
STATE_ERROR, GONE = ErrorCode.GENERIC, ErrorCode.NO_SUCH_ENCLAVE

# The table of the specification: state after the call; a state error where there is none.
CELLS = {
    "run": {"FRESH": "started", "TEMPLATE": "instance"},
    "stop": {"RUNNING": "STOPPED", "RUNNABLE": "STOPPED", "OCALL": "STOPPED", "STOPPED": "STOPPED"},
    "resume": {"STOPPED": "RUNNABLE"},
    "destroy": dict.fromkeys(
        ("FRESH", "RUNNING", "RUNNABLE", "OCALL", "STOPPED", "IDLE", "TEMPLATE", "RESTORING"), "DESTROYED"
    ),
    "snapshot": {"FRESH": "FRESH", "STOPPED": "STOPPED"},
    "move away": {"FRESH": "DESTROYED", "STOPPED": "DESTROYED"},
    "fill": {"RESTORING": "RESTORING"},
    "attest": {state: state for state in ("FRESH", "STOPPED", "IDLE", "BUSY", "TEMPLATE")},
}
ENDED = ("EXITED", "DESTROYED", "UNKNOWN")
STATES = ("FRESH", "RUNNING", "RUNNABLE", "OCALL", "STOPPED", "IDLE", "BUSY", "TEMPLATE", "RESTORING", *ENDED)


@pytest.fixture(params=[pytest.param("unicorn", marks=pytest.mark.slow), "fake"])
def board(request: pytest.FixtureRequest) -> Iterator[Board]:
    """The monitor cannot tell what executes its enclaves."""
    board = Board(16 << 20, 2, engine=FakeEngine() if request.param == "fake" else request.param)
    yield board
    board.power_off()


class Bench:
    """Brings an enclave into a state.  RUNNING: it really executes, on another thread's hart."""

    def __init__(self, raw: RawHost) -> None:
        self.raw = raw
        self.threads: list[threading.Thread] = []
        self.ports = [raw.board.host_port(hart) for hart in raw.board.harts]
        self.caller = self.instance = 0
        self.mover = Mover(raw)

    def bring(self, state: str) -> int:
        raw = self.raw
        if state == "UNKNOWN":
            return 12345
        if state == "TEMPLATE":
            return raw.make_shadow(FOREVER)
        if state in ("IDLE", "BUSY", "RESTORING"):
            return self.bring_restored() if state == "RESTORING" else self.bring_server(state)
        text = {"OCALL": WRITE, "EXITED": EXIT}.get(state, FOREVER)
        eid = raw.make(text)
        if state == "FRESH":
            return eid
        if state == "DESTROYED":
            assert raw.call(HostCall.DESTROY, eid).error == 0
            return eid
        raw.start(eid)
        if state in ("OCALL", "EXITED"):
            expected = RunValue.OCALL if state == "OCALL" else RunValue.ENDED
            assert raw.enter(eid, self.ports[0]) == (0, expected)
        elif state == "RUNNING":
            self.threads.append(threading.Thread(target=raw.enter, args=(eid, self.ports[0]), daemon=True))
            self.threads[-1].start()
            until(lambda: raw.state(eid) is State.RUNNING)
        elif state == "STOPPED":
            assert raw.call(HostCall.STOP, eid).error == 0
        return eid

    def bring_server(self, state: str) -> int:
        """A server that waits for an ocall when it is called, and the enclave that calls it."""
        server = self.raw.make_server("server", WRITE)
        if state == "BUSY":
            self.caller = self.raw.make(calling("server"))
            self.raw.start(self.caller)
            assert self.raw.enter(self.caller, self.ports[0]) == (0, RunValue.OCALL)
            assert self.raw.state(server) is State.BUSY
        return server

    def bring_restored(self) -> int:
        """One of which two pieces are still to come."""
        self.pieces = self.mover.move(self.raw.make(MUCH))
        assert len(self.pieces) == 4
        return self.mover.restore_first(*self.pieces[:2]).value

    def call(self, call: str, eid: int, state: str = "") -> int:
        raw, shadow = self.raw, state == "TEMPLATE"
        if call == "run":
            if not shadow:
                return raw.call(HostCall.RUN, eid, raw.run_param()).error
            result = raw.call(HostCall.RUN_SHADOW, eid, raw.shadow_run_param())
            self.instance = raw.last_eid()
            return result.error
        if Call(call) in (Call.SNAPSHOT, Call.MOVE, Call.FILL):
            return self.call_of_a_snapshot(call, eid, state)
        if call == "attest":
            return raw.call(HostCall.ATTEST_SHADOW if shadow else HostCall.ATTEST, eid, raw.page(), 1).error
        if call == "destroy":
            function = {"TEMPLATE": HostCall.DESTROY_SHADOW, "IDLE": HostCall.DESTROY_SERVER}
            function["BUSY"] = HostCall.DESTROY_SERVER
            return raw.call(function.get(state, HostCall.DESTROY), eid).error
        return raw.call(HostCall[call.upper()], eid, *[ResumeReason.STOP] * (call == "resume")).error

    def call_of_a_snapshot(self, call: str, eid: int, state: str) -> int:
        if call == "fill":
            return self.mover.restore_piece(eid, self.pieces[2] if state == "RESTORING" else b"piece").error
        if call == "snapshot":
            return self.mover.begin(eid).error
        if state in ("FRESH", "STOPPED"):
            self.mover.pieces(eid)
        return self.mover.go(eid).error

    def end(self, eid: int) -> None:
        for function in (HostCall.DESTROY, HostCall.DESTROY_SERVER, HostCall.DESTROY_SHADOW):
            for ending in (self.caller, eid, self.instance):
                self.raw.call(function, ending)
        for thread in self.threads:
            thread.join(PATIENCE)
            assert not thread.is_alive()


@pytest.mark.parametrize(("call", "state"), [*itertools.product(CELLS, STATES)])
def test_every_call_in_every_state(raw: RawHost, call: str, state: str):
    before = raw.snapshot()
    bench = Bench(raw)
    eid = bench.bring(state)
    error = bench.call(call, eid, state)
    after = CELLS[call].get(state)
    if state in ENDED:
        assert error == GONE
    elif after is None:
        assert error == STATE_ERROR
        assert raw.state(eid).name == state, "an error leaves the state as it was"
    else:
        assert error == 0
        if after == "DESTROYED":
            assert bench.call("stop", eid, state) == GONE
        elif after == "instance":
            assert raw.state(bench.instance) is State.RUNNABLE
            assert raw.state(eid) is State.TEMPLATE
        elif after != "started":
            assert raw.state(eid).name == after
    bench.end(eid)
    assert raw.snapshot() == before, "all memory is back, and every page has its owner"


def test_the_table_in_the_code_is_the_table_of_the_specification():
    """`started` is RUNNABLE for the monitor until a hart enters it."""
    for call, state in itertools.product(CELLS, LIVE):
        instance = (call, state) == ("run", State.TEMPLATE)
        following = TABLE[Call.INSTANTIATE if instance else Call(call)].get(state)
        expected = CELLS[call].get(state.name)
        named = {"started": "RUNNABLE", "instance": "TEMPLATE"}
        assert (None if following is None else following.name) == named.get(expected or "", expected)
    for call in Call:
        for ended in (State.EXITED, State.DESTROYED):
            with pytest.raises(Refusal) as refusal:
                next_state(call, ended)
            assert refusal.value.code == GONE


def test_stop_twice_needs_one_resume(raw: RawHost):
    bench = Bench(raw)
    eid = bench.bring("STOPPED")
    assert bench.call("stop", eid) == 0
    assert raw.info(eid).stops == 1
    assert bench.call("resume", eid) == 0
    assert bench.call("resume", eid) == STATE_ERROR
    assert raw.state(eid) is State.RUNNABLE


def test_a_stopped_enclave_cannot_be_entered(raw: RawHost):
    bench = Bench(raw)
    eid = bench.bring("STOPPED")
    assert raw.enter(eid, bench.ports[0]).error == STATE_ERROR
    assert raw.info(eid).run_ns == 0


def test_an_ocalls_answer_is_kept_over_a_stop(raw: RawHost):
    bench = Bench(raw)
    eid = raw.make("li a6, 0x100101\nli a7, 98\nli a0, 3\necall\nmv s0, a0\n" + EXIT)
    raw.start(eid)
    assert raw.enter(eid, bench.ports[0]) == (0, RunValue.OCALL)
    assert bench.call("stop", eid) == 0
    assert raw.answer(eid, port=bench.ports[0]) == (0, RunValue.TIMER), "taken, but the enclave stays stopped"
    assert raw.state(eid) is State.STOPPED
    assert raw.answer(eid).error == STATE_ERROR, "an answer counts once"
    assert bench.call("resume", eid) == 0
    assert raw.state(eid) is State.RUNNABLE
    assert raw.enter(eid, bench.ports[0]) == (0, RunValue.ENDED)
    assert raw.word(4) == 0


def test_a_resume_before_the_answer_waits_for_it(raw: RawHost):
    bench = Bench(raw)
    eid = bench.bring("OCALL")
    assert bench.call("stop", eid) == 0
    assert bench.call("resume", eid) == 0
    assert raw.state(eid) is State.OCALL
    assert raw.enter(eid, bench.ports[0]).error == STATE_ERROR
    assert raw.answer(eid).error == 0
    assert raw.state(eid) is State.RUNNABLE


@pytest.mark.parametrize("ocall", [0, 1, Ocall.SBRK, 99, 1 << 63])
def test_an_answer_to_another_ocall_is_refused(raw: RawHost, ocall: int):
    eid = Bench(raw).bring("OCALL")
    assert raw.answer(eid, ocall).error == STATE_ERROR
    assert raw.state(eid) is State.OCALL


def test_an_unknown_resume_reason_is_refused(raw: RawHost):
    eid = Bench(raw).bring("STOPPED")
    assert raw.call(HostCall.RESUME, eid, 3).error == ErrorCode.BAD_ARGUMENT
    assert raw.state(eid) is State.STOPPED


def test_ids_are_never_used_again(raw: RawHost):
    seen = set()
    for _ in range(20):
        eid = raw.make(EXIT)
        assert eid not in seen
        seen.add(eid)
        raw.call(HostCall.DESTROY, eid)


@pytest.mark.parametrize("eid", [0, 1 << 31, 1 << 32, (1 << 32) + 1, (1 << 64) - 1])
@pytest.mark.parametrize(
    "call", [HostCall.STOP, HostCall.RESUME, HostCall.DESTROY, HostCall.INFO, HostCall.SNAPSHOT_MOVE]
)
def test_a_forged_id_names_nobody(raw: RawHost, eid: int, call: HostCall):
    raw.make(EXIT)
    assert raw.call(call, eid, 1 if call is HostCall.RESUME else 0).error == GONE


@pytest.mark.parametrize("function", [0, 2, 9, 81, 82, 83, 93, 101, 1 << 63])
def test_an_unknown_function_is_not_supported(raw: RawHost, function: int):
    assert raw.call(function).error == -2
    assert raw.port.ecall(0x100102, HostCall.STOP, 1).error == -2


def test_the_record_of_an_enclave_goes_with_it_and_waits_for_no_collector(raw: RawHost):
    eid = raw.make(FOREVER)
    record = weakref.ref(raw.monitor.enclaves()[0])
    gc.disable()
    try:
        assert raw.call(HostCall.DESTROY, eid).error == 0
        assert record() is None
    finally:
        gc.enable()
