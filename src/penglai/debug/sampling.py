"""Where the time of enclaves goes: on each hart a sample each time that it has executed for a while.

A run ends a little earlier for it, as at the end of a turn, and goes on at once: nobody above takes notice.
A sample is a copy of registers and stack; what led there is worked out when somebody asks.
"""

import threading
from typing import NamedTuple

from penglai.abi.riscv import Cause
from penglai.debug.copies import snapshot
from penglai.debug.owners import Owners
from penglai.debug.stack import Snapshot
from penglai.machine.clock import Clock
from penglai.machine.context import Context, RunRecord
from penglai.machine.engine import Core, CoreAround, Engine
from penglai.machine.memory import PhysicalMemory

INTERVAL = 2_000_000
"""ns of execution from one sample to the next, at first."""

STACK_BYTES = 16 << 10
"""Of each stack, at most: what was called before that is not seen."""

MOST_BYTES = 64 << 20
"""Of samples that are kept."""

SAMPLE_BYTES = 1024
"""What a sample takes beside the copies of stacks, about."""


class Sample(NamedTuple):
    """What a hart was doing.

    enclaves: the innermost first, then its callers.  eid: of the last one, whose turn it is.  time: the
    machine's clock, ns.  weight: ns of execution that it stands for.
    """

    eid: int
    time: int
    weight: int
    hart: int
    enclaves: tuple[Snapshot, ...]


class Samples:
    """What was sampled so far.  When it is too much, every other sample is given up, and fewer are taken.

    interval: ns of execution between two of them, at least.
    """

    def __init__(self) -> None:
        self.owners = Owners()
        self.interval = INTERVAL
        self._lock = threading.Lock()
        self._kept: list[Sample] = []
        self._bytes = 0

    def take(self, memory: PhysicalMemory, time: int, weight: int, hart: int, context: Context) -> None:
        """A sample of who runs with this context on a hart; on its thread."""
        chain = self.owners.chain(context)
        copies = tuple(snapshot(memory, each, STACK_BYTES) for each in chain)
        with self._lock:
            self._kept.append(Sample(chain[-1].eid if chain else 0, time, weight, hart, copies))
            self._bytes += _size(copies)
            if self._bytes > MOST_BYTES:
                self._thin()

    def kept(self) -> list[Sample]:
        """All of them in the order of time."""
        with self._lock:
            return sorted(self._kept, key=lambda each: each.time)

    def _thin(self) -> None:
        self._kept = [each._replace(weight=2 * each.weight) for each in self._kept[1::2]]
        self._bytes = sum(_size(each.enclaves) for each in self._kept)
        self.interval *= 2


def _size(copies: tuple[Snapshot, ...]) -> int:
    return sum(len(each.stack.data) + SAMPLE_BYTES for each in copies)


class Sampling:
    """Another engine, whose harts are sampled."""

    def __init__(self, engine: Engine, samples: Samples) -> None:
        self.name = engine.name
        self._engine = engine
        self._samples = samples
        self.describe = engine.describe
        self.extensions = engine.extensions
        self.counts = engine.counts

    def open(self, memory: PhysicalMemory, clock: Clock, record: RunRecord) -> Core:
        """See Engine.  Raises MachineError."""
        core = self._engine.open(memory, clock, record)
        return SampledCore(core, memory, clock, record, self._samples)


class SampledCore(CoreAround):
    """A core that is sampled."""

    def __init__(
        self, core: Core, memory: PhysicalMemory, clock: Clock, record: RunRecord, samples: Samples
    ) -> None:
        super().__init__(core)
        self._memory = memory
        self._clock = clock
        self._record = record
        self._samples = samples
        self._used = 0

    def run(self, context: Context, /) -> int:
        """As Core says; it is sampled meanwhile."""
        record, turn = self._record, self._record.deadline
        while True:
            start = self._clock.now()
            record.deadline = min(turn, start + max(self._samples.interval - self._used, 0))
            error = self._core.run(context)
            record.deadline = turn
            now = self._clock.now()
            self._used += now - start
            due = self._used >= self._samples.interval
            if due:
                self._samples.take(self._memory, now, self._used, int(record.owner) - 1, context)
                self._used = 0
            if error or not due or record.cause != Cause.M_TIMER_INTERRUPT or now >= turn:
                return error
