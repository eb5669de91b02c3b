"""The tracer: stands between host and monitor while it is on, and reads what passes.

It is of the machine's owner, like a debugger: it sees what neither the host nor other enclaves see.  What
enters a hart and leaves it, and every call of the host, pass by it as SBI calls; calls of servers, which
stay inside the monitor, the registry reports.  While no trace is on, nothing of this is there.

Several threads come by at once, and not in the order in which the monitor served them.  So a state is never
worked out from calls: it is read from the monitor's record after each, and the last one to come by has it
right.
"""

import os
import threading
from collections.abc import Callable, Iterable
from types import TracebackType
from typing import NamedTuple, Self

from penglai.abi import sbi
from penglai.abi.ecall import Ocall
from penglai.abi.errors import BadArgumentError, StorageError
from penglai.abi.sbi import HostCall, ResumeReason, RunValue, SbiResult
from penglai.abi.state import State
from penglai.driver.shield import Shield
from penglai.machine.board import Board, Firmware
from penglai.machine.hart import Hart
from penglai.monitor.lifecycle import LIVE
from penglai.monitor.monitor import Monitor
from penglai.tracing.life import Life, Visit, at_rest
from penglai.tracing.writer import Track, Writer

NAMES = {int(call): call.name.lower().replace("_", " ") for call in HostCall}
CREATES = {HostCall.CREATE, HostCall.CREATE_SERVER, HostCall.CREATE_SHADOW}
BY_EID = {
    HostCall.ATTEST,
    HostCall.ATTEST_SHADOW,
    HostCall.RUN,
    HostCall.RUN_SHADOW,
    HostCall.STOP,
    HostCall.RESUME,
    HostCall.DESTROY,
    HostCall.DESTROY_SERVER,
    HostCall.DESTROY_SHADOW,
    HostCall.INFO,
}
"""Calls whose first argument is an eid."""

ENTERS = {HostCall.RUN, HostCall.RESUME}
"""Calls that enter the enclave of the first argument, if they come from a hart."""

LEFT: dict[int, str] = {
    RunValue.ENDED: "exited",
    RunValue.TIMER: "preempted",
    RunValue.YIELD: "yield",
    RunValue.FAULTED: "faulted",
}
RESUMES: dict[int, str] = {
    ResumeReason.TIMER: "enter",
    ResumeReason.STOP: "resume",
    ResumeReason.OCALL: "answer ocall",
}
HARTS, HOST = 0, 1_000_000_000
"""Numbers of groups.  Those of enclaves are their eids, which viewers show behind their names."""

OCALLS = {int(ocall): f"ocall {ocall.name.lower().replace('_', ' ')}" for ocall in Ocall}


class Activity(NamedTuple):
    """A function that an enclave was executing, or that had called it, from start to end, ns."""

    eid: int
    name: str
    start: int
    end: int


class Trace:
    """A trace that is being written; made by `Machine.trace`.

    functions: what enclaves were executing since a time of the clock, ns, if somebody knows.
    A context manager; leaving it, or `close`, completes the file.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        board: Board,
        monitor: Monitor,
        functions: Callable[[int], Iterable[Activity]] | None = None,
    ) -> None:
        self._board = board
        self._monitor = monitor
        self._now = board.clock.now
        self._firmware: Firmware = monitor.handle
        self._lock = threading.Lock()
        self._functions = functions
        self._began = self._now()
        self._free = -1
        try:
            self._writer = Writer(path)
        except OSError as error:
            raise BadArgumentError(f"cannot write {os.fspath(path)}: {error.strerror}") from error
        self._open = True
        self._lives: dict[int, Life] = {}
        self._met: set[int] = set()
        self._threads: dict[int, Track] = {}
        harts = self._writer.group("harts", HARTS, 1)
        self._harts = [self._writer.track(harts, f"hart {hart.id}", "hart") for hart in board.harts]
        self._host = self._writer.group("host", HOST, 2)
        for record in monitor.enclaves():
            self._meet(record.eid)
        monitor.platform.registry.watch_calls = self._server_call
        board.install(self._pass)

    @property
    def open(self) -> bool:
        """True until it is closed."""
        return self._open

    @property
    def events(self) -> int:
        """How many events it has so far."""
        return self._writer.events

    def close(self) -> None:
        """Complete the file.  More than once does nothing.

        Raises StorageError if not all of it could be written.
        """
        with Shield(), self._lock:
            if not self._open:
                return
            self._open = False
            self._board.install(self._firmware)
            self._monitor.platform.registry.watch_calls = None
            now = self._now()
            for life in self._lives.values():
                self._show_open(life, now)
            self._lives.clear()
            self._show_functions()
            self._writer.close()
        failure = self._writer.failure
        if failure is not None:
            raise StorageError(f"the trace is not complete: {failure.strerror}") from failure

    def _show_open(self, life: Life, now: int) -> None:
        if life.settle(now):
            life.end_visit(now, "end of the trace")
            life.end_calls(now)
            self._writer.slice(life.states, life.state.name, life.since, now)

    def _show_functions(self) -> None:
        """What enclaves were executing, on a track of each that the trace has met."""
        tracks: dict[int, Track] = {}
        for each in self._functions(self._began) if self._functions is not None else ():
            if each.eid in self._met:
                if each.eid not in tracks:
                    tracks[each.eid] = self._writer.track(each.eid, "functions", "function")
                self._writer.slice(tracks[each.eid], each.name, each.start, each.end)

    # ---- what passes ---------------------------------------------------------------------------

    def _pass(
        self, hart: Hart | None, extension: int, function: int, arguments: tuple[int, ...]
    ) -> SbiResult:
        """Hand a call to the monitor, and its answer back."""
        if extension != sbi.EXTENSION:
            return self._firmware(hart, extension, function, arguments)
        start = self._now()
        life, visit = self._before(hart, function, arguments)
        result = self._firmware(hart, extension, function, arguments)
        with self._lock:
            if self._open:
                self._after(life, visit, result)
                if hart is None:
                    self._host_call(function, arguments, start, result)
        return result

    def _before(
        self, hart: Hart | None, function: int, arguments: tuple[int, ...]
    ) -> tuple[Life | None, Visit | None]:
        eid = arguments[0] if arguments and function in BY_EID else 0
        with self._lock:
            life = self._meet(eid) if self._open and eid else None
            if life is None:
                return None, None
            start = self._now()
            if function == HostCall.RESUME and arguments[1:2] == (ResumeReason.OCALL,):
                life.end_call(0, start)
            if hart is None or function not in ENTERS:
                return life, None
            if life.visit is not None:
                life.end_visit(start, "taken away")  # its hart is on the way here
            account = life.record.account
            life.visit = Visit(hart.id, self._harts[hart.id], start, account.run_ns, account.preemptions)
            return life, life.visit

    def _after(self, life: Life | None, visit: Visit | None, result: SbiResult) -> None:
        self._count_free()
        if life is None:
            return
        now = self._now()
        why = self._why(life, result)
        if visit is not None and visit is life.visit:
            life.end_visit(now, why)
        if visit is not None and why in OCALLS.values():
            life.begin_call(why, now)
        for eid in life.left:
            self._settle(eid, now)
        life.left.clear()
        self._settle(life.record.eid, now, "FAULTED" if visit is not None and why == "faulted" else "")

    def _count_free(self) -> None:
        free = self._monitor.platform.ownership.free_pages
        if free != self._free:
            self._free = free
            self._writer.counter(HOST, "free pages", self._now(), free)

    def _why(self, life: Life, result: SbiResult) -> str:
        """Why a hart that was in the enclave has left it."""
        if not result.error and result.value == RunValue.OCALL:
            return OCALLS.get(life.record.ocall or 0, "ocall")
        if result.error or (result.value == RunValue.TIMER and life.record.state is State.STOPPED):
            return life.record.state.name.lower()
        return LEFT.get(result.value, "")

    def _host_call(self, function: int, arguments: tuple[int, ...], start: int, result: SbiResult) -> None:
        """A call of the host's that enters no hart: how long it took, on the track of its thread."""
        if function == HostCall.INFO or function not in NAMES:
            return
        name = NAMES[function]
        if function == HostCall.RESUME:
            name = RESUMES.get(arguments[1] if len(arguments) > 1 else 0, name)
        details: dict[str, object] = {"error": result.error} if result.error else {}
        if function in CREATES and not result.error:
            self._meet(result.value)
            details["eid"] = result.value
        elif function in BY_EID and arguments:
            details["eid"] = arguments[0]
        self._writer.slice(self._thread(), name, start, self._now(), **details)

    def _server_call(self, run: int, server: int, state: State) -> None:
        """A server begins its part in the calls of an enclave, being BUSY, or has ended it."""
        with self._lock:
            life = self._lives.get(run)
            if not self._open or life is None:
                return
            now = self._now()
            called = self._meet(server)
            if state is State.BUSY:
                name = f"call {called.record.name if called else server}"
                life.begin_call(name, now, server, called.states if called else None)
            else:
                life.end_call(server, now)
                life.left.add(server)
            if called is not None:
                called.change(state, now, **({} if state is State.BUSY else {"for": run}))

    # ---- who is who ----------------------------------------------------------------------------

    def _meet(self, eid: int) -> Life | None:
        """The enclave with this id, shown from now on if it was not; None if it is not alive."""
        life = self._lives.get(eid)
        if life is None:
            record = self._monitor.platform.registry.find(eid)
            if record is None or (state := at_rest(record)) not in LIVE:
                return None
            life = self._lives[eid] = Life(self._writer, record, state, self._now())
            self._met.add(eid)
        return life

    def _settle(self, eid: int, now: int, end: str = "") -> None:
        life = self._lives.get(eid)
        if life is not None and not life.settle(now, end):
            del self._lives[eid]

    def _thread(self) -> Track:
        """The track of the host's thread that this is."""
        thread = threading.current_thread()
        number = threading.get_ident()
        if number not in self._threads:
            self._threads[number] = self._writer.track(self._host, thread.name, "host")
        return self._threads[number]

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            self.close()
        except StorageError:
            if error is None:
                raise
