"""Harts that count what they execute: an engine for a machine whose owner wants to know.

It is Unicorn, since that tells of each block when it is executed.  The native engine translates ahead of what
is executed, and does not tell.
"""

import ctypes
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from penglai.abi.errors import MachineError
from penglai.machine.clock import Clock
from penglai.machine.context import Context, RunRecord
from penglai.machine.engine import Core, CoreAround, LibraryCore, Unicorn
from penglai.machine.library import library
from penglai.machine.memory import PhysicalMemory

HALFWORD = 2

Counts = NDArray[np.int64]


class _Record(ctypes.Structure):
    """struct coverage of hart.h."""

    _fields_ = (
        ("start", ctypes.c_uint64),
        ("bytes", ctypes.c_uint64),
        ("changes", ctypes.c_void_p),
        ("passed", ctypes.c_void_p),
        ("jumped", ctypes.c_void_p),
        ("fresh", ctypes.c_uint64),
    )


class Counters:
    """How often one hart has executed each halfword of a text: virtual addresses [start, end).

    passed, jumped: for the last halfword of each block, how often what stands behind it came next, and how
    often something else.  Read at quiet moments; while the hart runs they are a block behind.
    """

    def __init__(self, start: int, end: int) -> None:
        size = (end - start) // HALFWORD
        self._changes: Counts = np.zeros(size + 1, np.int64)
        self.passed: Counts = np.zeros(size, np.int64)
        self.jumped: Counts = np.zeros(size, np.int64)
        arrays = [each.ctypes.data for each in (self._changes, self.passed, self.jumped)]
        self.record = _Record(start, size * HALFWORD, *arrays, 0)

    @property
    def executed(self) -> Counts:
        """How often each halfword was executed."""
        return np.cumsum(self._changes[:-1])

    @property
    def fresh(self) -> int:
        """It grows when something is executed for the first time, a block or a way out of one."""
        return int(self.record.fresh)


Choice = Callable[[int, Context], Counters | None]
"""Where a hart, by its owner's number, counts what it executes of a context, if that is to be known."""


class Counting(Unicorn):
    """Unicorn, on harts that count.  choice: asked before each run, on the hart's thread."""

    def __init__(self, choice: Choice) -> None:
        self._choice = choice

    def open(self, memory: PhysicalMemory, clock: Clock, record: RunRecord) -> Core:
        """See Engine.  Raises MachineError if Unicorn refuses."""
        core = LibraryCore(memory, clock, record)
        if error := library().calls.hart_count(core.address):
            raise MachineError(f"the hart cannot count what it executes: Unicorn says {error}")
        return CountingCore(core, record, self._choice)

    def describe(self) -> str:
        """And that it counts."""
        return f"{super().describe()}, which counts what it executes"


class CountingCore(CoreAround):
    """A core that counts where it is told to."""

    def __init__(self, core: LibraryCore, record: RunRecord, choice: Choice) -> None:
        super().__init__(core)
        self._address = core.address
        self._record = record
        self._choice = choice
        self._current: Counters | None = None
        self._set = library().quick.hart_count_in

    def run(self, context: Context, /) -> int:
        """See Core; what it executes is counted where the choice says."""
        wanted = self._choice(int(self._record.owner), context)
        if wanted is not self._current:
            self._current = wanted
            self._set(self._address, ctypes.byref(wanted.record) if wanted is not None else None)
        return self._core.run(context)
