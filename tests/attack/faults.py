"""What fails in the middle: each allocation, each line of the monitor, a hart's thread."""

import dis
import functools
import logging
import sys
import threading
from collections.abc import Callable
from contextlib import contextmanager
from pathlib import Path
from types import CodeType, FrameType
from typing import Any

import numpy as np

import penglai
import penglai.driver
import penglai.machine.memory
import penglai.monitor
import penglai.scheduler
from penglai.abi.ecall import Ocall
from penglai.abi.errors import ErrorCode, MonitorBug, PenglaiError
from penglai.abi.sbi import HostCall, RunValue, SbiResult
from penglai.monitor.invariants import check
from penglai.monitor.ownership import Ownership
from penglai.monitor.refusal import Refusal
from tests.attack.scenes import SCENES, Scene
from tests.attack.tally import Effort, Tally
from tests.attack.town import MARK
from tests.support.rawhost import RawHost
from tests.support.waiting import PATIENCE

TITLE = "memory runs out, Python raises, harts die, at each place in turn"

MONITOR = str(Path(penglai.monitor.__file__).parent)
TRUSTED = (MONITOR, penglai.machine.memory.__file__)
HARTS = (*TRUSTED, str(Path(penglai.driver.__file__).parent), penglai.scheduler.__file__)

KINDS: tuple[type[BaseException], ...] = (RuntimeError, MemoryError, KeyboardInterrupt)


class Injector:
    """Raises at the at-th event that matches, and counts the events.  For the thread that runs `armed`."""

    def __init__(self, at: int, error: BaseException, matches: Callable[[FrameType, str], bool]) -> None:
        self.at, self.error, self.matches = at, error, matches
        self.count = 0
        self.raised = False

    @contextmanager
    def armed(self) -> Any:
        before = sys.gettrace()
        sys.settrace(self.trace)
        try:
            yield
        finally:
            sys.settrace(before)

    def trace(self, frame: FrameType, event: str, _argument: object) -> Any:
        if self.matches(frame, event):
            self.count += 1
            if self.count == self.at:
                self.raised = True
                raise self.error
        return self.trace


def line_of(*places: str) -> Callable[[FrameType, str], bool]:
    """Matches lines of these files and directories."""

    def matches(frame: FrameType, event: str) -> bool:
        if event != "line" or not frame.f_code.co_filename.startswith(places):
            return False
        return frame.f_lasti not in _exits(frame.f_code)

    return matches


@functools.cache
def _exits(code: CodeType) -> frozenset[int]:
    """Where a with block calls __exit__ at its regular end.

    Tracing takes that for a line, but nothing can raise there: pushing three constants cannot fail, and
    Python looks for signals after a call.
    """
    found = list(dis.get_instructions(code))
    names = [instruction.opname for instruction in found]
    offsets = set()
    for index in range(len(found)):
        if names[index : index + 3] == ["LOAD_CONST"] * 3:
            first = index
            while first and names[first - 1] in ("SWAP", "NOP"):  # the value that is returned is put below
                first -= 1
            offsets |= {each.offset for each in found[first : index + 1]}
    return frozenset(offsets)


def call_of(code: CodeType) -> Callable[[FrameType, str], bool]:
    """Matches calls of this function."""
    return lambda frame, event: event == "call" and frame.f_code is code


def attack(effort: Effort) -> Tally:
    """Each in turn; the short form takes some lines of each call."""
    tally = Tally()
    level = logging.root.manager.disable
    logging.disable(logging.CRITICAL)  # the monitor says each time that it stops
    try:
        for part in (allocations, lines, harts):
            before = tally.tried
            part(tally, effort)
            tally.notes.append(f"{part.__name__} {tally.tried - before:,}")
    finally:
        logging.disable(level)
    return tally


# ---- memory runs out -------------------------------------------------------------------------------


def allocations(tally: Tally, effort: Effort) -> None:
    """The pool has nothing at the n-th time that it is asked: the call fails as a whole, or is made again."""
    for name, make in SCENES.items():
        expected = make().call()
        at = 0
        while True:
            at += 1
            scene = make()
            injector = no_memory(at)
            with tally.case(("no memory", name, at)):
                injector = refuse_once(scene, injector, expected)
            scene.raw.board.power_off()
            if not injector.raised:
                break


def no_memory(at: int) -> Injector:
    return Injector(at, Refusal(ErrorCode.NO_MEMORY, "injected", 1), call_of(Ownership.take.__code__))


def refuse_once(scene: Scene, injector: Injector, expected: object) -> Injector:
    raw = scene.raw
    before = raw.snapshot()
    with injector.armed():
        result = scene.call()
    check(raw.monitor)
    if not injector.raised:
        assert result == expected
        return injector
    if result == (0, RunValue.OCALL) and raw.word(0) == Ocall.SBRK:  # an enclave's own call: it asks the host
        (running,) = (each.eid for each in raw.monitor.enclaves() if each.ocall is not None)
        port = raw.board.host_port(raw.board.harts[0])
        assert raw.answer(running, Ocall.SBRK, 1, port=port) == expected
    else:
        assert isinstance(result, SbiResult)
        assert result.error == ErrorCode.NO_MEMORY, result
        assert raw.snapshot() == before, "a call that was refused has changed something"
        assert scene.call() == expected, "made again, it succeeds"
    check(raw.monitor)
    return injector


# ---- Python raises ---------------------------------------------------------------------------------


def lines(tally: Tally, effort: Effort) -> None:
    """At the n-th line of a call: it fails with a clear message and the machine stops, or it is complete."""
    for name, make in SCENES.items():
        make().call()  # what is kept from the first time is made
        scene = make()
        scene.raw.snapshot()  # as `raise_at` does: what it is the first to ask for is not counted
        counter = Injector(0, RuntimeError(), line_of(*TRUSTED))
        with counter.armed():
            expected = scene.call()
        scene.raw.board.power_off()
        for at in effort.some(list(range(1, counter.count + 1)), 12):
            kind = KINDS[at % len(KINDS)]
            with tally.case((name, f"line {at} of {counter.count}", kind.__name__)):
                raise_at(make(), Injector(at, kind("injected"), line_of(*TRUSTED)), expected)


def raise_at(scene: Scene, injector: Injector, expected: object) -> None:
    raw = scene.raw
    before = raw.snapshot()
    records = raw.monitor.enclaves()
    outcome: object = None
    with injector.armed():
        try:
            outcome = scene.call()
        except BaseException as error:
            outcome = error
    assert injector.raised
    for lock in (raw.board.memory.lock, raw.monitor.platform.registry.lock, *(each.lock for each in records)):
        assert lock.acquire(blocking=False), "a lock is held for ever"
        lock.release()
    seen = np.unique(np.flatnonzero(raw.board.memory.words.reshape(-1) == MARK) // 512)
    secret = seen[~staged(raw, seen)]
    assert not raw.board.memory.host_visible[secret].any(), "the host sees an enclave's memory"
    if isinstance(outcome, MonitorBug) or says_that_it_stopped(raw, HostCall.DEBUG_PRINT):
        stopped(raw)
    elif isinstance(outcome, BaseException):
        assert raw.snapshot() == before, "it failed, the machine goes on, and something has changed"
        assert scene.call() == expected
    else:
        assert outcome == expected, "it was swallowed, and the call is not complete"
        check(raw.monitor)
    raw.board.power_off()


def stopped(raw: RawHost) -> None:
    """The machine has stopped: it says so at every call, and does nothing."""
    before = raw.monitor.platform.ownership.snapshot().tobytes()
    for function in (HostCall.STOP, HostCall.CREATE, HostCall.MEMORY_RECLAIM, HostCall.INFO):
        assert says_that_it_stopped(raw, function), "the machine goes on after a call that was cut in half"
    assert raw.monitor.platform.ownership.snapshot().tobytes() == before


def says_that_it_stopped(raw: RawHost, function: HostCall) -> bool:
    try:
        raw.call(function, 1, 0, 0)
    except MonitorBug as bug:
        return "the machine is stopped" in str(bug)
    return False


def staged(raw: RawHost, pages: Any) -> Any:
    """Which of these pages are where the host laid its images out: below the pool's chunk."""
    return pages < raw.board.memory.page_count // 4


# ---- a hart's thread -------------------------------------------------------------------------------


def harts(tally: Tally, effort: Effort) -> None:
    """A hart's thread raises at some line of monitor or driver: the runs end, the machine can be closed."""
    for number in range(effort.count(10, 400)):
        chance = effort.random("hart", number)
        kind = chance.choice([*KINDS, SystemExit])
        at = chance.randrange(1, 400)
        with tally.case(("a hart dies", number, at, kind.__name__)):
            hart_dies(Injector(at, kind("injected"), line_of(*HARTS)))


def hart_dies(injector: Injector) -> None:
    threading.settrace(injector.trace)
    try:
        machine = penglai.Machine("16M", 1, state=None)
    finally:
        threading.settrace(None)  # type: ignore[arg-type]
    try:
        failure = six_runs(machine)
        assert bool(failure) == injector.raised, f"{failure!r}"
        if failure:
            assert "injected" in str(failure), f"the message does not say why: {failure!r}"
            assert six_runs(machine), "it runs enclaves without a hart"
    finally:
        machine.close()


def six_runs(machine: penglai.Machine) -> PenglaiError | None:
    """Run some enclaves; what went wrong."""
    try:
        for _ in range(6):
            machine.create("hello-world").run(PATIENCE)
    except PenglaiError as error:
        return error
    return None
