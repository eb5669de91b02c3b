"""An enclave in a debugger: whether it may run, where it stops, what is on its pages.

All of it is under the debugger's lock, but for what only reads.
"""

from collections.abc import Callable
from enum import IntEnum
from typing import Protocol

from penglai.abi.riscv import INTERRUPT, PAGE_SIZE, Cause, Pte
from penglai.debug.stepping import after
from penglai.machine.context import Context, RunRecord, Trap
from penglai.machine.engine import MOST_BREAKS
from penglai.machine.memory import PhysicalMemory
from penglai.monitor.enclave import Enclave
from penglai.monitor.lifecycle import LIVE

MOST_BREAKPOINTS = MOST_BREAKS - 32
"""The rest is for a step: where it may lead."""


class Signal(IntEnum):
    """Why it stopped, in the numbers of gdb's protocol."""

    INT = 2
    ILL = 4
    TRAP = 5
    KILL = 9
    BUS = 10
    SEGV = 11


SIGNALS = {
    Cause.BREAKPOINT: Signal.TRAP,
    Cause.ILLEGAL_INSTRUCTION: Signal.ILL,
    Cause.FETCH_MISALIGNED: Signal.BUS,
    Cause.LOAD_MISALIGNED: Signal.BUS,
    Cause.STORE_MISALIGNED: Signal.BUS,
}
"""Of all other faults it is SEGV."""

VALID, WRITABLE = int(Pte.V), int(Pte.W)


class Pausable(Protocol):
    """A core on which a target runs."""

    def pause(self) -> None:
        """Take it out of the guest, and return when it is."""


class Target:
    """An enclave in a debugger.  It is halted at first.

    enclave: the monitor's record.  on_stop: called with the signal, under the lock, on the hart's thread or
    that of who stops it; it must not wait.
    """

    def __init__(self, enclave: Enclave, memory: PhysicalMemory, on_stop: Callable[[Signal], None]) -> None:
        self.enclave = enclave
        self.satp = enclave.table.satp
        self.halted = True
        self.attended = False
        """Whether somebody looks on: otherwise it does not stop for its faults."""
        self.loops = False
        self.breakpoints: set[int] = set()
        self._memory = memory
        self._on_stop = on_stop
        self._core: Pausable | None = None
        self._wanted = False
        self._trap: Trap | None = None
        self._delivering = False
        self._gone = False
        self._step: set[int] = set()
        self._step_from = 0
        self._then_run = False

    @property
    def alive(self) -> bool:
        """Whether there still is such an enclave."""
        return self.enclave.state in LIVE

    @property
    def context(self) -> Context:
        """Its registers; exact while it is halted."""
        return self.enclave.context

    @property
    def thread(self) -> int:
        """What gdb calls it."""
        return self.enclave.eid

    @property
    def title(self) -> str:
        """What it is, for people."""
        return f"{self.enclave.kind.name.lower()} enclave {self.enclave.name}"

    # ---- what the debugger wants -----------------------------------------------------------------

    def halt(self) -> None:
        """Stop it wherever it is; what it waits for it goes on waiting for."""
        if self.halted:
            return
        if self._core is None:
            self._stop(Signal.INT)
        else:
            self._wanted = True
            self._core.pause()

    def resume(self, *, step: bool, deliver: bool) -> None:
        """Let it run, or one instruction of it.

        deliver: what it has done wrong has its consequences; otherwise it tries again.  The caller tells who
        waits for the lock.
        """
        self._delivering = deliver and self._trap is not None
        pc = self.context.pc
        self._step, self.loops = set(), False
        if step or pc in self.breakpoints:
            ways = after(self._fetch, pc, tuple(self.context.x))
            self.loops = pc in ways
            self._step, self._step_from = ways - {pc}, pc
        self._then_run = not step
        self.halted = False

    def let_go(self) -> None:
        """Nobody debugs it any more: it runs on, without looking back."""
        self._gone = True
        self.breakpoints.clear()
        self._step, self.loops = set(), False
        self.halted = self._delivering = False
        if self._core is not None:
            self._wanted = True
            self._core.pause()

    # ---- what the hart asks ----------------------------------------------------------------------

    def deliver(self, record: RunRecord, context: Context) -> bool:
        """Whether it goes on with what it has done wrong, which is now the monitor's."""
        trap, self._trap = self._trap, None
        if not self._delivering or trap is None or trap.epc != context.pc:
            return False
        self._delivering = False
        record.cause, record.epc, record.tval = trap
        return True

    def begin(self, core: Pausable, context: Context) -> tuple[int, ...]:
        """It is about to run on a core; where it has to stop."""
        self._core = core
        inside = self._step or self.loops
        exits = self.breakpoints - {self._step_from} if inside else self.breakpoints
        if inside and context.pc != self._step_from:
            self.loops = False  # the instruction is done, by the monitor: it was a call
        return tuple(sorted(self._step | exits))

    def end(self) -> bool:
        """It runs no more.  True if that may be because of `halt`."""
        self._core = None
        return self._wanted

    def consider(self, record: RunRecord, context: Context, *, wanted: bool) -> bool:
        """What the end of a run means; True if it is not for the monitor, and the run is to go on or wait.

        wanted: the monitor takes the hart away: nothing is stopped that it is not told of first.
        """
        if wanted:
            return False
        return self._consider(record, context)

    def _consider(self, record: RunRecord, context: Context) -> bool:
        cause = record.cause
        if self._gone or not (self.attended or self._wanted):
            return cause in (Cause.DEBUG, Cause.M_SOFTWARE_INTERRUPT)
        if self._wanted:
            self._stop(Signal.INT)
            return True
        if cause == Cause.DEBUG or (self.loops and cause == Cause.M_TIMER_INTERRUPT):
            self._reached(context.pc)
            return True
        if cause & INTERRUPT or cause == Cause.ECALL_U:
            return False
        self._stop(SIGNALS.get(Cause(cause), Signal.SEGV))
        self._trap = Trap(cause, record.epc, record.tval)
        return True

    def _reached(self, pc: int) -> None:
        """It stands at a breakpoint, or where a step leads."""
        stepped = self.loops or pc in self._step
        self._step, self.loops = set(), False
        if pc in self.breakpoints or (stepped and not self._then_run):
            self._stop(Signal.TRAP)

    def _stop(self, signal: Signal) -> None:
        self.halted = True
        self._wanted = False
        self._step, self.loops = set(), False
        self._on_stop(signal)

    # ---- memory ----------------------------------------------------------------------------------

    def read(self, address: int, size: int) -> bytes:
        """What is at an address, as far as there is something."""
        found = bytearray()
        while len(found) < size:
            piece = min(PAGE_SIZE - address % PAGE_SIZE, size - len(found))
            place = self._reach(address, VALID)
            if place is None:
                break
            found += self._memory.read(place, piece)
            address += piece
        return bytes(found)

    def write(self, address: int, data: bytes) -> bool:
        """Write where the enclave itself could; False, and nothing is written, if some of it could not.

        So code stays what was measured.
        """
        pieces, done = [], 0
        while done < len(data):
            piece = min(PAGE_SIZE - address % PAGE_SIZE, len(data) - done)
            place = self._reach(address, WRITABLE)
            if place is None:
                return False
            pieces.append((place, data[done : done + piece]))
            address, done = address + piece, done + piece
        for place, part in pieces:
            self._memory.write(place, part)
        return True

    def _reach(self, address: int, need: int) -> int | None:
        if not self.alive or address >> 38 not in (0, (1 << 26) - 1):
            return None
        return self.enclave.table.reach(address, need)

    def _fetch(self, address: int) -> int | None:
        found = self.read(address, 2)
        return int.from_bytes(found, "little") if len(found) == 2 else None
