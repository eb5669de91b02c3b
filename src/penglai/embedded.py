"""The embedded host: machine, monitor and driver put together in this process.

The one place, beside the command, where the untrusted and the trusted side are seen together; nothing but
their sockets is passed across (docs/decisions/0002-rooms.md).
"""

import os
import warnings
import weakref
from collections.abc import Callable, Iterator
from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING, Final

from penglai.abi.errors import BadArgumentError, MachineError, NoSuchEnclaveError, StateError
from penglai.abi.profile import ProfileName
from penglai.debug.crash import Crashes, watcher
from penglai.debug.images import Images
from penglai.debug.probe import Debugger
from penglai.debug.recorder import Recorder, Recording
from penglai.debug.session import DebugSession
from penglai.debug.use import Use, in_use
from penglai.driver.disk import FileDisk, MemoryDisk
from penglai.driver.fault import Fault
from penglai.driver.kernellog import logged
from penglai.driver.limits import Limits
from penglai.driver.shared import SharedMemory
from penglai.driver.shield import Shield
from penglai.driver.snapshots import SnapshotDriver
from penglai.host.console import Console
from penglai.host.enclave import Enclave
from penglai.host.program import HostProgram
from penglai.machine.board import Board
from penglai.machine.clock import Clock
from penglai.machine.context import RunRecord
from penglai.machine.engine import Core, choose
from penglai.machine.memory import parse_size
from penglai.machine.ratelimit import ENCLAVES
from penglai.machine.store import Store
from penglai.monitor.monitor import Monitor
from penglai.monitor.profiles import make
from penglai.sdk.images import find_image
from penglai.toolchain.places import state_dir
from penglai.tracing.strace import Strace
from penglai.tracing.trace import Activity, Trace

if TYPE_CHECKING:
    from penglai.debug.coverage import Coverage
    from penglai.debug.profile import TimeProfile

DISK = "disk.img"


class UserState(Enum):
    """Type of USER_STATE."""

    OWN = "own"

    def __repr__(self) -> str:
        return "penglai.USER_STATE"


USER_STATE: Final = UserState.OWN
"""The state directory of the user: $PENGLAI_STATE, or ~/.local/state/penglai."""


class Machine(HostProgram):
    """A RISC-V machine with the secure monitor and a host, in this process.

    memory: bytes, or text like "256M"; a multiple of 2 MiB.  harts: how many enclaves run at once.
    on_output: called as on_output(eid, text) for each write of an enclave, on a thread of its own; the
    enclave waits until it returns.  clock: another clock, for tests.  state: the directory of what outlives
    a restart, the device's keys and its disk; by default the user's own ($PENGLAI_STATE, or
    ~/.local/state/penglai: penglai.USER_STATE); None: nothing outlives this machine.  limits: how far
    enclaves can make things grow; that of log messages is the whole process's.  engine: the name of what
    executes the harts' code; by default $PENGLAI_ENGINE says, or else it is the best that there is here.
    profile: "native", or "tvm" for a machine that behaves as Penglai-TVM's own (docs/guides/hardware.md).
    coverage: what is executed is counted, on Unicorn (`coverage`).  sampling: where time goes is sampled
    (`time_profile`).
    debug: `debug` and `record` work; reports of its enclaves say so, and their keys are others
    (docs/guides/debug.md).

    A context manager; leaving it destroys all enclaves and switches the machine off.  The machine is
    itself a host program; `program` makes others.

    Raises BadArgumentError for sizes that make no machine and engines that there are not, ToolchainError
    if the engine cannot be built.
    """

    def __init__(  # noqa: PLR0913 - the machine's parts, nearly all by name
        self,
        memory: int | str = "256M",
        harts: int = 2,
        *,
        on_output: Callable[[int, bytes], None] | None = None,
        clock: Clock | None = None,
        state: str | os.PathLike[str] | UserState | None = USER_STATE,
        limits: Limits | None = None,
        engine: str | None = None,
        profile: str = "native",
        debug: bool = False,
        coverage: bool = False,
        sampling: bool = False,
    ) -> None:
        limits = limits or Limits()
        console = Console(on_output, limits.console_bytes)
        directory = _directory(state)
        behaviour = ProfileName.named(profile)
        tvm = behaviour is ProfileName.TVM
        self._debugger = Debugger() if debug else None
        self._recorder = Recorder()
        probe = self._probe if debug else None
        store = Store(directory)
        self._images = Images()
        self._coverage = _coverage(self._images, engine) if coverage else None
        counting = self._coverage.engine if self._coverage is not None else engine
        executes = choose(counting, code_cache=limits.code_bytes)
        self._time_profile = _time_profile(self._images) if sampling else None
        if self._time_profile is not None:
            executes = self._time_profile.sampled(executes)
        self._board = Board(parse_size(memory), harts, clock, store, executes, floats=not tvm, probe=probe)
        if self._debugger is not None:
            self._debugger.clock = self._board.clock
        self._monitor = Monitor(self._board, make(behaviour))
        self._disk_bytes = size = limits.disk_bytes
        disk = MemoryDisk(size) if directory is None else FileDisk(directory / DISK, size)
        ENCLAVES.lines = limits.log_lines
        self._driver = SnapshotDriver(self._board.host_memory(), self._board.host_port(), console, disk)
        self._driver.set_limits(limits)
        if tvm:
            self._driver.ocalls.shown = logged
        self._crashes = Crashes(self._images)
        if self._coverage is not None:
            self._coverage.owners.monitor = self._monitor
        if self._time_profile is not None:
            self._time_profile.samples.owners.monitor = self._monitor
        self._monitor.platform.registry.watch_faults = watcher(self._board.memory, self._crashes)
        super().__init__(self._driver, console, find_image, self._crashes)
        try:
            self._board.power_on(self._driver.hart_main)
        except BaseException:
            _switch_off(self._driver, self._board, harts, os.getpid())
            raise
        self._trace: Trace | None = None
        self._recording: Recording | None = None
        self._off = weakref.finalize(self, _switch_off, self._driver, self._board, harts, os.getpid())

    @property
    def on_output(self) -> Callable[[int, bytes], None] | None:
        """The function that gets what enclaves write, or None."""
        return self.console.listener

    @on_output.setter
    def on_output(self, listener: Callable[[int, bytes], None] | None) -> None:
        self.console.listener = listener

    @property
    def engine(self) -> str:
        """What executes the harts' code, in which form."""
        return self._board.engine.describe()

    @property
    def engine_counts(self) -> dict[str, int]:
        """What the engine of this machine has counted, by name, since it was switched on."""
        return self._board.engine.counts()

    @property
    def device_key(self) -> bytes:
        """The device's public key, 64 bytes: what a verifier of its reports has to know beforehand."""
        return self._monitor.platform.keys.device_key

    def use_disk(
        self, memory: SharedMemory | None = None, *, file: str | os.PathLike[str] | None = None
    ) -> None:
        """Say how enclaves move sectors, and where these are kept.

        memory: sectors of 4,096 bytes pass at its start from now on, as file servers of Penglai-TVM's want
        it; it cannot be closed any more.  Before that only those pass that enclaves move by
        `eapp_read_sector` and `eapp_write_sector`.  file: all are kept there from now on; it is made when
        one is written.
        """
        if memory is not None:
            self._driver.ocalls.sector_memory = memoryview(memory)
        if file is not None:
            self._driver.ocalls.disk = FileDisk(Path(file), self._disk_bytes)

    def program(self) -> HostProgram:
        """Another host process on this machine, with enclaves of its own."""
        return HostProgram(self._driver, self.console, find_image, self._crashes)

    def server_faults(self, enclave: Enclave) -> list[Fault]:
        """Faults of servers that an enclave has called: they are gone, and its calls have failed.

        Of the latest 32 faults of the machine.
        """
        return self._crashes.of_servers(enclave.eid)

    @property
    def faults(self) -> list[Fault]:
        """The latest 32 faults of enclaves and servers, the oldest first, whoever has been told of them."""
        return self._crashes.latest()

    @property
    def coverage(self) -> "Coverage":
        """What has been executed so far.  Raises StateError unless it was made with coverage=True."""
        if self._coverage is None:
            raise StateError("this machine counts nothing; make it so: Machine(coverage=True)")
        return self._coverage

    @property
    def time_profile(self) -> "TimeProfile":
        """Where time went so far.  Raises StateError unless it was made with sampling=True."""
        if self._time_profile is None:
            raise StateError("this machine takes no samples; make it so: Machine(sampling=True)")
        return self._time_profile

    def in_use(self) -> Use:
        """What enclaves have at this moment: for tests that look for what is left behind.

        Raises MachineError if the machine is switched off.
        """
        if not self._off.alive:
            raise MachineError("the machine is switched off")
        return in_use(self._monitor)

    def debug(
        self, enclave: Enclave, place: int | os.PathLike[str] = 0, *, attached: bool = True
    ) -> DebugSession:
        """Halt an enclave, and wait for a gdb that looks at it and lets it go on.

        place: a port of the loopback, 0 for any that is free, or the path of a socket that is made.  The
        session's `address` is what gdb's command `target remote` takes.  attached: gdb lets the enclave live
        when it quits.

        Raises StateError on a machine that was not made with debug=True, and for an enclave that is being
        debugged; NoSuchEnclaveError; BadArgumentError for a place where nobody can wait.
        """
        if self._debugger is None:
            raise StateError("this machine cannot be debugged; make it so: Machine(debug=True)")
        record = self._monitor.platform.registry.find(enclave.eid)
        if record is None:
            raise NoSuchEnclaveError(f"enclave {enclave.eid} has ended")
        where = place if isinstance(place, int) else Path(place)
        memory = self._board.memory
        session = DebugSession(self._debugger, record, memory, enclave.destroy, where, attached=attached)
        enclave.when_ended().add_done_callback(lambda _: _tell_end(session, enclave))
        return session

    def _probe(self, core: Core, record: RunRecord) -> Core:
        assert self._debugger is not None
        return self._debugger.probe(self._recorder.probe(core, record), record)

    def record(self, path: str | os.PathLike[str]) -> Recording:
        """Record what enclaves execute, until the recording is closed: with machine.record(path).

        `penglai.Replay` and `penglai replay` execute it again.  A file of that name is written over.

        Raises StateError on a machine that was not made with debug=True, and while there is another
        recording; RecordingError for a machine of more than one hart; BadArgumentError if the file cannot be
        written; MachineError if the machine is switched off.
        """
        if not self._off.alive:
            raise MachineError("the machine is switched off")
        if self._debugger is None:
            raise StateError("this machine cannot be recorded; make it so: Machine(harts=1, debug=True)")
        if self._recording is not None and self._recording.open:
            raise StateError("this machine is being recorded; close that recording first")
        with Shield():
            self._recording = Recording(path, self._board, self._monitor, self._recorder)
        return self._recording

    def trace(self, path: str | os.PathLike[str]) -> Trace:
        """Write into a file what runs where and when, until the trace is closed: with machine.trace(path).

        It is in the trace event format, which ui.perfetto.dev shows.  A file of that name
        is written over.  With Machine(sampling=True) it has functions, too.

        Raises BadArgumentError if the file cannot be written, StateError while there is another trace,
        MachineError if the machine is switched off.
        """
        if not self._off.alive:
            raise MachineError("the machine is switched off")
        if self._trace is not None and self._trace.open:
            raise StateError("a trace of this machine is being written; close it first")
        with Shield():
            self._trace = Trace(path, self._board, self._monitor, self._activities)
        return self._trace

    def _activities(self, since: int) -> Iterator[Activity]:
        profile = self._time_profile
        for eid, (name, start, end) in profile.spans(since) if profile is not None else ():
            yield Activity(eid, name, start, end)

    def strace(self, tell: Callable[[str], None]) -> Strace:
        """Watch the system calls of Linux programs, as strace shows them: with machine.strace(print).

        tell: called with each line, when the call has a result, on a hart's thread, which waits.

        Raises StateError while they are watched already.
        """
        return Strace(self._monitor, tell)

    def close(self) -> None:
        """Destroy all enclaves and switch off; a trace is complete then.  More than once does nothing."""
        super().close()
        self._off()
        if self._trace is not None:
            self._trace.close()
        if self._recording is not None:
            self._recording.close()

    def __del__(self) -> None:
        if (off := getattr(self, "_off", None)) is not None and off.alive:
            warnings.warn(f"{self!r} was never closed; use it in a with block", ResourceWarning, stacklevel=2)
            off()

    def __repr__(self) -> str:
        memory = self._board.memory
        power = "on" if self._off.alive else "off"
        return f"<Machine {power} {memory.size >> 20} MiB {len(self.enclaves)} enclaves>"


def _tell_end(session: DebugSession, enclave: Enclave) -> None:
    """Its run is about to be over, if there was one."""
    try:
        run = enclave.last_run
    except StateError:
        session.on_end(None)
        return
    run.add_done_callback(lambda done: session.on_end(None if done.exception() else done.result()))


def _coverage(images: Images, engine: str | None) -> "Coverage":
    from penglai.debug.coverage import Coverage  # noqa: PLC0415 - reading ELFs takes long to import

    made = Coverage(images)
    if engine not in (None, made.engine.name):
        raise BadArgumentError(f"the engine {engine!r} cannot count what it executes; leave engine= out")
    return made


def _time_profile(images: Images) -> "TimeProfile":
    from penglai.debug.profile import TimeProfile  # noqa: PLC0415 - as above

    return TimeProfile(images)


def _directory(state: str | os.PathLike[str] | UserState | None) -> Path | None:
    if isinstance(state, UserState):
        return state_dir()
    if state is not None and not os.fspath(state):
        raise BadArgumentError("state='' names no directory; leave it out for the user's own, or give None")
    return None if state is None else Path(state)


def _switch_off(driver: SnapshotDriver, board: Board, harts: int, pid: int) -> None:
    if os.getpid() != pid:
        return  # a fork of the process has the objects, but none of the harts
    driver.close(harts)
    board.power_off()
