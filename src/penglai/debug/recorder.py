"""Records what enclaves execute: before each run what has reached the enclave since its last one, behind it
the place where it ended.

It sits between hart and engine, below a debugger's probe.  What happens above, in the monitor and the host,
it does not record, only what becomes of the enclave's registers and pages by it.  Pages change in four ways:
they are mapped anew, and then all of them is recorded; the host shares them, and then they are compared; the
monitor writes by an enclave's pointers, which passes through `PhysicalMemory.write`; or they are page tables.
"""

import ctypes
import os
import threading
from collections import deque
from types import TracebackType
from typing import Self

import numpy as np

from penglai.abi import ecall
from penglai.abi.ecall import EnclaveCall
from penglai.abi.errors import RecordingError
from penglai.abi.riscv import INTERRUPT, PAGE_SIZE, Cause
from penglai.debug.recording import MOST_TIMES, Digest, Ended, Page, Run, Space, Write, Writer, Zeros
from penglai.debug.spaces import REGISTER_BYTES, changes, digest, pages_of, register_digest, registers
from penglai.machine.board import Board
from penglai.machine.context import Context, RunRecord
from penglai.machine.engine import Core, CoreAround
from penglai.monitor.enclave import Enclave
from penglai.monitor.monitor import Monitor
from penglai.monitor.ownership import BUFFER, SHM

ZERO_PAGE = bytes(PAGE_SIZE)
DIGEST_NS = 250_000_000
"""Between two digests of an enclave's pages, at least."""
DIGEST_SHARE = 20
"""And so many times as long as the last one took."""
EXIT = int(EnclaveCall.EXIT)


class Recorded:
    """What the recording knows of an enclave.

    tables: the pages of its page table as they were recorded, when it had been changed so often as
    `table_changes` says.  mapped: the pages that it reaches, with the bits of their entries.  shared: those
    of them that the host can write to.  changes: to the registers, before the run under way.  digest_due:
    when its pages are looked at again, ns.
    """

    def __init__(self, number: int, enclave: Enclave, due: int) -> None:
        self.number = number
        self.enclave = enclave
        self.satp = enclave.table.satp
        self.registers = bytes(REGISTER_BYTES)
        self.table_changes = 0
        self.tables: dict[int, bytes] = {}
        self.mapped: dict[int, int] = {}
        self.shared: set[int] = set()
        self.changes: tuple[tuple[int, int], ...] = ()
        self.digest_due = due


class Recorder:
    """What stands between a machine's hart and its engine; it does something while `recording` is there."""

    def __init__(self) -> None:
        self.recording: Recording | None = None

    def probe(self, core: Core, record: RunRecord) -> Core:
        """A core that records what this one runs."""
        return RecordingCore(self, core, record)


class RecordingCore(CoreAround):
    """A core, of which a recording is made now and then."""

    def __init__(self, recorder: Recorder, core: Core, record: RunRecord) -> None:
        super().__init__(core)
        self._recorder = recorder
        self._record = record
        self._times = (ctypes.c_uint64 * MOST_TIMES)()

    def run(self, context: Context, /) -> int:
        """Run a context, with what the recording wants to know of it before and behind."""
        recording = self._recorder.recording
        if recording is None:
            return self._core.run(context)
        space = recording.before(context)
        record = self._record
        record.times, record.times_room = ctypes.addressof(self._times), MOST_TIMES
        record.times_known = record.times_read = 0
        error = self._core.run(context)
        record.times = 0
        if space is not None and not error:
            known = record.times_known
            recording.after(space, context, record, tuple(self._times[:known]) if known else ())
        return error

    def flush(self, space: int, ended: bool, /) -> None:
        """Mappings went away; if an address space has ended, so does what is recorded of it."""
        recording = self._recorder.recording
        if recording is not None and ended:
            recording.forget(space)
        self._core.flush(space, ended)


class Recording:
    """A recording under way, until it is closed; made by `Machine.record`.

    A context manager.  Raises RecordingError for a machine of more than one hart.
    """

    def __init__(
        self, path: str | os.PathLike[str], board: Board, monitor: Monitor, recorder: Recorder
    ) -> None:
        if len(board.harts) > 1:
            raise RecordingError(
                "what two harts do to one memory at once cannot be recorded; make the machine with harts=1"
            )
        self._memory = board.memory
        self._clock = board.clock
        self._ownership = monitor.platform.ownership
        self._registry = monitor.platform.registry
        self._recorder = recorder
        self._lock = threading.Lock()
        self._spaces: dict[int, Recorded] = {}
        self._number = 0
        self._known: dict[int, bytes] = {}
        self._tracked: dict[int, int] = {}
        self._written: deque[Write] = deque()
        self._writer = Writer(path, board.memory.size, without_floats=not board.floats)
        self._write = board.memory.write
        board.memory.write = self._note_write  # type: ignore[method-assign]
        recorder.recording = self

    @property
    def open(self) -> bool:
        """Whether it goes on."""
        return self._recorder.recording is self

    @property
    def runs(self) -> int:
        """How often an enclave has run on the hart."""
        return self._writer.runs

    @property
    def size(self) -> int:
        """What the file has by now."""
        return self._writer.bytes

    @property
    def full(self) -> bool:
        """Whether the file has become as large as it may, and the rest is missing."""
        return self._writer.full

    def close(self) -> None:
        """Complete the file.  More than once does nothing.

        Raises StorageError if it could not be written.
        """
        if self.open:
            self._recorder.recording = None
            self._memory.write = self._write  # type: ignore[method-assign]
        self._writer.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    # ---- what the core tells -------------------------------------------------------------------

    def before(self, context: Context) -> Recorded | None:
        """The context is about to run: record what has changed since it ran last."""
        with self._lock:
            while self._written:
                self._writer.add(self._written.popleft())
            space = self._find(context)
            if space is None:
                return None
            self._look_at_tables(space)
            for page in space.shared:
                self._compare(page)
        now = registers(context)
        space.changes = changes(space.registers, now) if now != space.registers else ()
        return space

    def after(self, space: Recorded, context: Context, record: RunRecord, times: tuple[int, ...]) -> None:
        """The context has run."""
        found, cause = registers(context), record.cause
        tval = 0 if cause & INTERRUPT else record.tval
        if cause & INTERRUPT and not space.changes and not record.jumps and found == space.registers:
            return  # it has executed nothing
        space.registers = found
        signature = register_digest(found)
        end = Run(
            *(space.number, cause, tval, record.jumps, context.pc, signature, space.changes, times),
        )
        self._writer.add(end)
        if self._clock.now() >= space.digest_due or _ends(cause, context):
            self._digest(space)

    def forget(self, satp: int) -> None:
        """An address space has ended."""
        with self._lock:
            space = self._spaces.pop(satp, None)
            if space is None:
                return
            for page in space.mapped:
                self._untrack(page)
            self._writer.add(Ended(space.number))

    def _note_write(self, pa: int, data: bytes | memoryview) -> None:
        """Stands for the memory's `write`.  A page that is not mapped yet is recorded when it is."""
        self._write(pa, data)
        if self._memory.page_of(pa) in self._tracked:
            self._written.append(Write(pa, bytes(data)))

    # ---- enclaves ------------------------------------------------------------------------------

    def _find(self, context: Context) -> Recorded | None:
        space = self._spaces.get(context.satp)
        if space is not None and space.enclave.context is context:
            return space
        enclave = next((each for each in self._registry.enclaves() if each.context is context), None)
        if enclave is None:
            return None  # it has just ended
        space = self._spaces[context.satp] = Recorded(self._number, enclave, self._clock.now() + DIGEST_NS)
        self._number += 1
        self._writer.add(Space(enclave.eid, enclave.kind, space.satp, enclave.name))
        return space

    def _look_at_tables(self, space: Recorded) -> None:
        memory, known, table = self._memory, space.tables, space.enclave.table
        if space.table_changes == table.changes:
            return
        space.table_changes = table.changes
        gone: list[tuple[int, int]] = []
        new: list[tuple[int, int]] = []
        for page in table.tables:
            before, now = known.get(page), memory.read(memory.address_of(page), PAGE_SIZE)
            if before == now:
                continue
            known[page] = now
            self._record_change(page, before, now)
            words, old = np.frombuffer(now, "<u8"), np.frombuffer(before or ZERO_PAGE, "<u8")
            different = words != old
            gone += pages_of(old[different], memory.base)
            new += pages_of(words[different], memory.base)
        if gone or new:
            self._map(space, gone, new)

    def _map(self, space: Recorded, gone: list[tuple[int, int]], new: list[tuple[int, int]]) -> None:
        """The space reaches some pages no more, and others instead: of those all is recorded."""
        for page, _ in gone:
            space.mapped.pop(page, None)
            space.shared.discard(page)
            self._untrack(page)
        for page, bits in new:
            space.mapped[page] = bits
            self._tracked[page] = self._tracked.get(page, 0) + 1
        pages = sorted(page for page, _ in new)
        for page, owner in zip(pages, self._ownership.owners(pages), strict=True):
            if owner in (BUFFER, SHM):
                space.shared.add(page)
                self._known.setdefault(page, b"")
        self._record_pages(pages)

    def _untrack(self, page: int) -> None:
        count = self._tracked.pop(page) - 1
        if count:
            self._tracked[page] = count
        else:
            self._known.pop(page, None)

    def _record_pages(self, pages: list[int]) -> None:
        zeros: list[list[int]] = []
        for page in pages:
            data = self._memory.read(self._memory.address_of(page), PAGE_SIZE)
            if page in self._known:
                self._known[page] = data
            if data != ZERO_PAGE:
                self._writer.add(Page(page, data))
            elif zeros and sum(zeros[-1]) == page:
                zeros[-1][1] += 1
            else:
                zeros.append([page, 1])
        for first, count in zeros:
            self._writer.add(Zeros(first, count))

    def _compare(self, page: int) -> None:
        """Record of a page that the host sees too what is there now, if that is not what was there last."""
        before, now = self._known[page], self._memory.read(self._memory.address_of(page), PAGE_SIZE)
        if before != now:
            self._known[page] = now
            self._record_change(page, before, now)

    def _record_change(self, page: int, before: bytes | None, now: bytes) -> None:
        """A page has become another: record it, or the bytes from the first one that did to the last."""
        if not before:
            self._writer.add(Page(page, now))
            return
        different = np.flatnonzero(np.frombuffer(before, "u1") != np.frombuffer(now, "u1"))
        first, end = int(different[0]), int(different[-1]) + 1
        self._writer.add(Write(self._memory.address_of(page) + first, now[first:end]))

    def _digest(self, space: Recorded) -> None:
        start = self._clock.now()
        found = digest(self._memory, space.mapped, space.shared)
        end = self._clock.now()
        space.digest_due = end + max(DIGEST_NS, DIGEST_SHARE * (end - start))
        with self._lock:
            if self._spaces.get(space.satp) is space:  # else it is being cleared by who has ended it
                self._writer.add(Digest(space.number, found, tuple(sorted(space.shared))))


def _ends(cause: int, context: Context) -> bool:
    """Whether what a run ended with may be the enclave's end."""
    if cause == Cause.ECALL_U:
        return bool(context.a6 == ecall.EXTENSION and context.a7 == EXIT)
    return not cause & INTERRUPT
