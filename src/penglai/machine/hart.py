"""A hart: runs one context at a time, exactly, until a trap, a deadline or a request.

Nothing above this module knows which engine runs the code (engine.py, hart.c).
"""

import ctypes
import threading
import weakref

from penglai.abi.errors import MachineError
from penglai.machine.clock import Clock
from penglai.machine.context import NEVER, Context, RunRecord, Trap
from penglai.machine.engine import engine
from penglai.machine.memory import PhysicalMemory

MAX_STALE_RANGES = 256


class Hart:
    """One hart of the machine.

    id: its number, from 0.  `run` and `execute` belong to the hart's own thread; every other method may be
    called from any thread.
    """

    def __init__(self, hart_id: int, memory: PhysicalMemory, clock: Clock) -> None:
        self.id = hart_id
        self._engine = engine()
        self._record = RunRecord(deadline=NEVER)
        self._keep = (memory, clock, self._record)  # hart.c holds pointers into all of them
        self._lock = threading.Lock()
        self._stale: list[tuple[int, int]] = []
        self._hart = self._engine.calls.hart_open(
            memory.address, memory.base, memory.size, ctypes.byref(clock.record), self._record
        )
        self._hart_run = self._engine.calls.hart_run
        if not self._hart:
            raise MachineError("Unicorn could not make a hart; is the process short of memory?")
        # Not before the last reference is gone: a call under way on another thread holds one.
        weakref.finalize(self, self._engine.calls.hart_close, self._hart).atexit = False

    @property
    def deadline(self) -> int:
        """When a run ends with a timer interrupt: ns of the machine's clock."""
        return int(self._record.deadline)

    @deadline.setter
    def deadline(self, time: int) -> None:
        self._record.deadline = time

    def run(self, context: Context, *, blocks: int = 0) -> Trap:
        """`execute`, and the trap that came."""
        self.execute(context, blocks)
        return self.trap

    @property
    def trap(self) -> Trap:
        """What ended the last run."""
        record = self._record
        return Trap(record.cause, record.epc, record.tval)

    def execute(self, context: Context, blocks: int = 0) -> int:
        """Run context until a trap, whose cause it returns; the context is then exact.

        blocks: if not 0, a timer interrupt comes after that many basic blocks instead of at
        `deadline`: tests preempt exactly.  Raises MachineError if the engine gives up.
        """
        if self._stale:
            self._drop_stale()
        record = self._record
        if blocks:
            record.blocks = blocks
        error = self._hart_run(self._hart, context)
        if error:
            raise MachineError(f"hart {self.id}: Unicorn gave up with error {error} at {record.epc:#x}")
        return record.cause  # type: ignore[no-any-return]

    def begin_thread(self) -> None:
        """The calling thread is to execute it: it asks the system for short turns, and for cores soon."""
        self._engine.quick.hart_thread()

    def interrupt(self) -> None:
        """Return when the hart executes no guest instruction and its context is saved.

        It executes none from then on until `acknowledge`: a run in between returns at once with an
        M-mode software interrupt.
        """
        self._engine.calls.hart_interrupt(self._hart)

    def acknowledge(self) -> None:
        """Take note of `interrupt`: the hart may run again."""
        self._engine.quick.hart_acknowledge(self._hart)

    def flush_tlb(self) -> None:
        """Page tables changed: forget translated addresses before the next run."""
        self._record.stale = 1

    def invalidate(self, start: int, end: int) -> None:
        """Memory at physical [start, end) changes hands: forget its translated code before the next run."""
        with self._lock:
            if len(self._stale) >= MAX_STALE_RANGES:
                start = min(start, *(first for first, _ in self._stale))
                end = max(end, *(last for _, last in self._stale))
                self._stale.clear()
            self._stale.append((start, end))

    def _drop_stale(self) -> None:
        with self._lock:
            stale, self._stale = self._stale, []
        for start, end in stale:
            if self._engine.calls.hart_invalidate(self._hart, start, end):
                raise MachineError(f"hart {self.id}: cannot invalidate {start:#x}..{end:#x}")

    def __repr__(self) -> str:
        return f"<Hart {self.id}>"
