"""A hart: runs one context at a time, exactly, until a trap, a deadline or a request.

Nothing above this module knows which engine runs the code (engine.py).
"""

import threading

from penglai.abi.errors import MachineError
from penglai.machine.clock import Clock
from penglai.machine.context import NEVER, Context, RunRecord, Trap
from penglai.machine.engine import FOREIGN_CONTEXT, Engine, Probe, choose
from penglai.machine.memory import PhysicalMemory

MAX_STALE_RANGES = 256


class Hart:
    """One hart of the machine.

    id: its number, from 0.  engine: what executes its code; by default `choose` says.  floats: has a
    floating-point unit.  probe: a debugger's; with one the hart counts where its programs are (where.c).
    `run` and `execute` belong to the hart's own thread; every other method may be called from any thread.
    """

    def __init__(
        self,
        hart_id: int,
        memory: PhysicalMemory,
        clock: Clock,
        engine: Engine | None = None,
        *,
        floats: bool = True,
        probe: Probe | None = None,
    ) -> None:
        self.id = hart_id
        self.owner = hart_id + 1
        """What a context has as its owner while it is this hart's."""
        self.engine = engine or choose()
        self._record = RunRecord(deadline=NEVER, owner=self.owner, without_floats=not floats)
        self._record.counted = probe is not None
        self._keep = (memory, clock)  # the core holds pointers into them
        self._lock = threading.Lock()
        self._stale: list[tuple[int, int]] = []
        core = self.engine.open(memory, clock, self._record)
        self._core = core if probe is None else probe(core, self._record)
        self._core_run = self._core.run

    @property
    def deadline(self) -> int:
        """When a run ends with a timer interrupt: ns of the machine's clock."""
        return int(self._record.deadline)

    @deadline.setter
    def deadline(self, time: int) -> None:
        self._record.deadline = time

    def run(self, context: Context, *, blocks: int = 0) -> Trap:
        """`execute` a context that is nobody's, and the trap that came."""
        context.owner = self.owner
        self.execute(context, blocks)
        context.owner = 0
        return self.trap

    @property
    def trap(self) -> Trap:
        """What ended the last run."""
        record = self._record
        return Trap(record.cause, record.epc, record.tval)

    def execute(self, context: Context, blocks: int = 0) -> int:
        """Run context until a trap, whose cause it returns; the context is then exact.

        A context that is not the hart's, or that somebody is about to take away by `interrupt`, is left
        alone: the cause is an M-mode software interrupt.

        blocks: if not 0, a timer interrupt comes after that many basic blocks instead of at
        `deadline`: tests preempt exactly.  Raises MachineError if the engine gives up.
        """
        if self._stale:
            self._drop_stale()
        record = self._record
        if blocks:
            record.blocks = blocks
        error = self._core_run(context)
        if error:
            raise MachineError(f"hart {self.id}: {_complaint(error)} at {record.epc:#x}")
        return record.cause  # type: ignore[no-any-return]

    def begin_thread(self) -> None:
        """The calling thread is to execute it."""
        self._core.begin_thread()

    def interrupt(self) -> None:
        """Return when the hart executes no guest instruction and its context is saved.

        It executes none from then on until `acknowledge`: a run in between returns at once with an
        M-mode software interrupt.
        """
        self._core.interrupt()

    def acknowledge(self) -> None:
        """Take note of `interrupt`: the hart may run again."""
        self._core.acknowledge()

    def flush_tlb(self, space: int = 0, *, ended: bool = False) -> None:
        """Mappings went away: forget translated addresses before the next run.

        space: the satp of the page table that they are gone from; whatever the hart has mapped for it is as
        the table says when this returns.  ended: or is gone altogether.
        """
        self._core.flush(space, ended)

    def invalidate(self, start: int, end: int) -> None:
        """Memory at physical [start, end) changes hands: forget its translated code before the next run.

        What is of no use until then goes at once.
        """
        self._core.forget(start, end)
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
            if self._core.invalidate(start, end):
                raise MachineError(f"hart {self.id}: cannot invalidate {start:#x}..{end:#x}")

    def __repr__(self) -> str:
        return f"<Hart {self.id}>"


def _complaint(error: int) -> str:
    if error == FOREIGN_CONTEXT:
        return "its context was given to another hart while it ran,"
    return f"Unicorn gave up with error {error}"
