"""What an operation cannot do without, measured in the same run: bars are multiples of these.

A machine may be slow at all of it, or at one: an interpreter that was built without profile-guided
optimization takes a third longer for each call, a virtual machine wakes threads slowly.  A multiple says the
same everywhere.
"""

import queue
import struct
import threading
import time

from benchmarks.measure import PATIENCE, Series
from penglai.abi.riscv import PTE_PPN_SHIFT, TABLE_ENTRIES, Pte
from penglai.machine import Board, Context, make_satp

ECALL_FOR_EVER = struct.pack("<2I", 0x00000073, 0xFFDFF06F)
"""ecall, and a jump back to it."""
ECALL_BYTES = 4
BATCH = 200
"""Rounds that are timed together: reading the clock takes long beside one."""


class Round:
    """Empty rounds from a program to Python and back: calls that do nothing, on a hart without a monitor."""

    def __init__(self) -> None:
        self._board = Board(16 << 20, 1)
        memory = self._board.memory
        root, middle, leaf, text = (memory.address_of(page) for page in range(1, 5))
        for table, entry in ((root, middle), (middle, leaf)):
            memory.write(table, struct.pack("<Q", entry >> 12 << PTE_PPN_SHIFT | Pte.V))
        rights = Pte.V | Pte.R | Pte.X | Pte.U | Pte.A
        memory.write(leaf + 8 * (TABLE_ENTRIES - 1), struct.pack("<Q", text >> 12 << PTE_PPN_SHIFT | rights))
        memory.write(text, ECALL_FOR_EVER)
        self._hart = self._board.harts[0]
        start = (TABLE_ENTRIES - 1) << 12
        self._context = Context(pc=start, satp=make_satp(root), priv=0, owner=self._hart.owner)
        self.times = Series()
        self.measure()
        self.times.times.clear()

    def measure(self) -> None:
        """Some more of them."""
        execute, context = self._hart.execute, self._context
        begun = time.perf_counter_ns()
        for _ in range(BATCH):
            execute(context)
            context.pc += ECALL_BYTES
        self.times.times.append((time.perf_counter_ns() - begun) // BATCH)

    def close(self) -> None:
        """No more of them."""
        self._board.power_off()


class WakeUp:
    """A thread that sleeps, from the call that wakes it to its first line of Python."""

    def __init__(self) -> None:
        self.times = Series()
        self._asked: queue.SimpleQueue[int] = queue.SimpleQueue()
        self._answered: queue.SimpleQueue[int] = queue.SimpleQueue()
        threading.Thread(target=self._main, daemon=True).start()

    def _main(self) -> None:
        while begun := self._asked.get():
            self._answered.put(time.monotonic_ns() - begun)

    def measure(self) -> None:
        """Once more."""
        self._asked.put(time.monotonic_ns())
        self.times.times.append(self._answered.get(timeout=PATIENCE))

    def close(self) -> None:
        """No more of them."""
        self._asked.put(0)
