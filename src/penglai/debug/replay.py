"""Executes a recording again: the same code of the enclaves, with what reached them from outside.

There is no monitor and no host: what they did to registers and pages is in the recording.  After each run
registers and place are compared with the recorded ones, and pages now and then: a replay is the same bit by
bit, or it ends with an error that says where it was another one.
"""

import contextlib
import ctypes
import os
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass
from typing import NoReturn

from penglai.abi import ecall, layout
from penglai.abi.ecall import EnclaveCall, Ocall
from penglai.abi.errors import BadArgumentError, RecordingError
from penglai.abi.riscv import INTERRUPT, PAGE_SIZE, Cause
from penglai.debug.recording import MOST_TIMES, Digest, Ended, Event, Page, Reader, Run, Space, Write, Zeros
from penglai.debug.spaces import Reach, digest, physical, reach, register_digest, registers
from penglai.machine.clock import Clock
from penglai.machine.context import NEVER, Context, RunRecord, cause_name
from penglai.machine.engine import Core, choose
from penglai.machine.hart import Hart
from penglai.machine.memory import PhysicalMemory

FLOATS, FCSR = 32, 64
"""Indices of f0 and fcsr among a recording's registers; pc is the last one."""

BEYOND = 1 << 16
"""Jumps back after which a run is stopped that should have ended with a trap by then."""
NOWHERE = 1
"""A pc that no instruction has."""


class Interrupted(Exception):  # noqa: N818 - nothing went wrong
    """Somebody has stopped the replay."""


@dataclass(eq=False)
class Replayed:
    """An enclave in a replay.

    runs: how often it has run by now.  pages: what it reaches; None when that has to be looked up.
    """

    space: Space
    context: Context
    runs: int = 0
    reach: Reach | None = None

    @property
    def label(self) -> str:
        """How messages call it."""
        return f"enclave {self.space.eid} {self.space.name}".rstrip()


@dataclass(frozen=True)
class Summary:
    """What a replay has executed: runs of enclaves on the hart.

    digests: how often their pages were compared.
    """

    enclaves: int
    runs: int
    digests: int


class Player:
    """The machine of a replay: memory, a hart, and the enclaves as far as they have come.

    Raises RecordingError for a recording that this computer has no memory for.
    """

    def __init__(self, reader: Reader, engine: str | None = None) -> None:
        try:
            self.memory = PhysicalMemory(reader.memory)
        except BadArgumentError as error:
            raise RecordingError(f"{reader.path} cannot be replayed: {error}") from error
        self.spaces: list[Replayed] = []
        self.digests = 0
        self.on_text: Callable[[bytes], None] | None = None
        """Called with what enclaves write."""
        self._uninterrupted = False
        self._breaks: tuple[int, ...] = ()
        self._path = reader.path
        self._stopped = False
        self._times = (ctypes.c_uint64 * MOST_TIMES)()
        self.record = RunRecord()
        self.hart = Hart(
            0, self.memory, Clock(), choose(engine), floats=not reader.without_floats, probe=self._probe
        )
        self.hart.deadline = NEVER

    def _probe(self, core: Core, record: RunRecord) -> Core:
        self._core, self.record = core, record
        return core

    def close(self) -> None:
        """Give the memory back."""
        self.memory.close()

    @contextlib.contextmanager
    def uninterrupted(self) -> Iterator[None]:
        """What is executed in here is executed to its end; `Interrupted` comes behind it."""
        self._uninterrupted = True
        try:
            yield
        finally:
            self._uninterrupted = False
        if self._stopped:
            self._end_stop()

    def restore(self, pages: dict[int, bytes], spaces: list[tuple[bytes, int]]) -> None:
        """Let pages and enclaves be what they were: of each its context and how often it had run."""
        memory = self.memory
        for page, data in pages.items():
            if memory.read(memory.address_of(page), PAGE_SIZE) != data:
                self._forget(page, 1)
                memory.write(memory.address_of(page), data)
        del self.spaces[len(spaces) :]
        for each, (context, runs) in zip(self.spaces, spaces, strict=True):
            each.reach = None
            each.runs = runs
            ctypes.memmove(ctypes.addressof(each.context), context, len(context))

    def break_at(self, addresses: Collection[int]) -> None:
        """What is executed stops before instructions at these addresses, and no others."""
        wanted = tuple(sorted(addresses))
        if wanted != self._breaks:
            self._core.break_at(wanted)
            self._breaks = wanted

    def stop(self) -> None:
        """From any thread: what is executed ends with `Interrupted`."""
        self._stopped = True
        self.hart.interrupt()

    @property
    def summary(self) -> Summary:
        """What has been executed by now."""
        return Summary(len(self.spaces), sum(each.runs for each in self.spaces), self.digests)

    # ---- events --------------------------------------------------------------------------------

    def apply(self, event: Event) -> None:
        """Do what an event says.  Raises RecordingError if a run, or pages, are not what they were."""
        if isinstance(event, Run):
            self._run(event)
        elif isinstance(event, Write):
            page = self.memory.page_of(event.address)
            if any(each.reach is None or page in each.reach.tables for each in self.spaces):
                self._forget(page, 1)
            self.memory.write(event.address, event.data)
        elif isinstance(event, Page):
            self._forget(event.number, 1)
            self.memory.write(self.memory.address_of(event.number), event.data)
        elif isinstance(event, Zeros):
            self._forget(event.first, event.count)
            self.memory.clear(slice(event.first, event.first + event.count))
        elif isinstance(event, Space):
            self.spaces.append(Replayed(event, Context(satp=event.satp)))
        elif isinstance(event, Ended):
            self.hart.flush_tlb(self.spaces[event.space].space.satp, ended=True)
        else:
            self._compare(event)

    def _forget(self, first: int, count: int) -> None:
        """Pages change: tables may be among them, and code."""
        for each in self.spaces:
            each.reach = None
        self.hart.invalidate(self.memory.address_of(first), self.memory.address_of(first + count))

    def _compare(self, event: Digest) -> None:
        space = self.spaces[event.space]
        self.digests += 1
        if digest(self.memory, self.reach(space).pages, event.but) != event.digest:
            raise self._different(space, "its pages are not what they were")

    def reach(self, space: Replayed) -> Reach:
        """What an enclave reaches."""
        if space.reach is None:
            space.reach = reach(self.memory, space.space.satp)
        return space.reach

    # ---- runs ----------------------------------------------------------------------------------

    def begin(self, event: Run) -> Replayed:
        """Let an enclave be as it was when this run began."""
        space = self.spaces[event.space]
        context = space.context
        for index, value in event.changes:
            if index < FLOATS:
                context.x[index] = value
            elif index < FCSR:
                context.f[index - FLOATS] = value
            elif index == FCSR:
                context.fcsr = value
            else:
                context.pc = value
        if space.reach is None:
            self.hart.flush_tlb(space.space.satp)
            self.reach(space)
        self._times[: len(event.times)] = list(event.times)
        record = self.record
        record.times = ctypes.addressof(self._times)
        record.times_known = record.times_room = len(event.times)
        record.times_read = 0
        return space

    def execute(self, space: Replayed, jumps: int, pc: int = NOWHERE) -> int:
        """Execute until a trap, a breakpoint, or this place, counted from here; the cause.

        Raises Interrupted.
        """
        record, done = self.record, 0
        while True:
            record.bounded, record.until_jumps, record.until_pc = 1, jumps - done, pc
            cause = self.hart.run(space.context).cause
            done += record.jumps
            if cause != Cause.M_SOFTWARE_INTERRUPT or not self._uninterrupted:
                break
            self.hart.acknowledge()
        record.jumps = done
        if self._stopped and not self._uninterrupted:
            self._end_stop()
        return cause

    def _end_stop(self) -> NoReturn:
        self._stopped = False
        self.hart.acknowledge()
        raise Interrupted

    def _run(self, event: Run) -> None:
        space = self.begin(event)
        if event.cause & INTERRUPT:
            cause = self.execute(space, event.jumps, event.pc)
        else:
            cause = self.execute(space, event.jumps + BEYOND)
        self.finish(space, event, cause, self.record.jumps)

    def finish(self, space: Replayed, event: Run, cause: int, jumps: int) -> None:
        """A run is over.  Raises RecordingError if it was another one than in the recording."""
        space.runs += 1
        pc, trap = space.context.pc, self.hart.trap
        expected = Cause.DEBUG if event.cause & INTERRUPT else event.cause
        tval = event.tval if cause == expected and event.cause & INTERRUPT == 0 else trap.tval
        if (cause, jumps, pc, trap.tval) != (expected, event.jumps, event.pc, tval):
            raise self._different(
                space,
                f"it ends with {cause_name(cause)} at pc {pc:#x}, after {jumps} jumps back, "
                f"not with {cause_name(event.cause)} at pc {event.pc:#x}, after {event.jumps}",
            )
        if self.on_text is not None and _writes(event.cause, space.context):
            self.on_text(self._text(space))
        if register_digest(registers(space.context)) != event.digest:
            raise self._different(space, f"its registers at pc {pc:#x} are not what they were")

    def _text(self, space: Replayed) -> bytes:
        """What is in its kernel buffer, up to the NUL."""
        place = physical(self.memory, space.space.satp, layout.KERNEL_BUFFER)
        return b"" if place is None else self.memory.read(place, PAGE_SIZE).partition(b"\0")[0]

    def _different(self, space: Replayed, what: str) -> RecordingError:
        return RecordingError(f"{self._path}, run {space.runs} of {space.label}: {what}")


def _writes(cause: int, context: Context) -> bool:
    call = (context.a6, context.a7, context.a0)
    return cause == Cause.ECALL_U and call == (ecall.EXTENSION, EnclaveCall.OCALL, Ocall.WRITE)


def replay(path: str | os.PathLike[str], *, engine: str | None = None) -> Summary:
    """Execute a recording again, and compare; what has been executed.

    engine: the name of what executes it, as for Machine; it need not be the one that it was recorded on.
    Raises RecordingError if the file is none or is damaged, or if something is another than it was.
    """
    reader = Reader(path)
    player = Player(reader, engine)
    try:
        play(player, reader)
        return player.summary
    finally:
        player.close()


def play(player: Player, reader: Reader) -> None:
    """Execute all of it.  Raises RecordingError, Interrupted."""
    for event in reader:
        player.apply(event)
