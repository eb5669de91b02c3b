"""The host's hart in a debugger: Linux's kernel, and whatever runs under it.

Breakpoints are virtual addresses, of whichever program runs.  Interrupts are taken as ever, also under a
step, which ends where the instruction leads once they have been served.
"""

from collections.abc import Callable
from pathlib import Path
from threading import Condition

from penglai.abi.errors import AccessFault
from penglai.abi.riscv import PAGE_SIZE
from penglai.debug import stepping
from penglai.debug.session import Session
from penglai.debug.target import Signal
from penglai.machine.memory import HostMemory
from penglai.machine.supervisor import Exit, Supervisor

SRET = 0x10200073
HART = 1
"""What gdb calls the hart: threads are from 1 up."""


class KernelTarget:
    """A supervisor in a debugger.  It is halted at first.

    lock: guards it; `Supervisor.request` must not be called under it.  on_stop: called with the signal, under
    the lock, on the hart's thread; it must not wait.
    """

    def __init__(
        self, supervisor: Supervisor, memory: HostMemory, lock: Condition, on_stop: Callable[[Signal], None]
    ) -> None:
        self.halted = True
        self.breakpoints: set[int] = set()
        self.context = supervisor.save()
        """The registers, while it is halted."""
        self._supervisor = supervisor
        self._memory = memory
        self._lock = lock
        self._on_stop = on_stop
        self._wanted = self._asked = self._changed = False
        self._armed: tuple[int, ...] = ()
        self._step: set[int] = set()
        self._step_from: int | None = None
        self._then_run = False

    alive, thread, title = True, HART, "the host's hart"
    attended = False

    # ---- what the debugger wants -----------------------------------------------------------------

    def halt(self) -> None:
        """Stop it before what it executes next."""
        if not self.halted:
            self._wanted = True
            self._supervisor.request()

    def let_go(self) -> None:
        """Nobody debugs it any more."""
        with self._lock:
            self.breakpoints.clear()
            self._wanted = False
            if self.halted:
                self.resume(step=False, deliver=False)
            self._lock.notify_all()

    def resume(self, *, step: bool, deliver: bool) -> None:  # noqa: ARG002 - its traps are its own
        """Let it run, or one instruction of it.  Under the lock; the caller tells who waits for it."""
        pc = int(self.context.pc)
        self._step, self._step_from, self._then_run = set(), None, not step
        if step or pc in self.breakpoints:
            self._step = self._ways(pc) - {pc}
            self._step_from = pc
        self.halted, self._changed = False, True

    def _ways(self, pc: int) -> set[int]:
        if stepping.read(self._fetch, pc) == SRET:
            return {self._supervisor.returns_to}
        return stepping.after(self._fetch, pc, tuple(self.context.x))

    # ---- what the hart asks: a Watcher ---------------------------------------------------------

    def before(self) -> bool:
        with self._lock:
            if self._wanted:
                self._stop(Signal.INT)
            while self.halted:
                if self._asked:
                    self._asked = False
                    return False
                self._lock.wait()
            if self._changed:
                self._changed = False
                self._supervisor.load(self.context)
            self._arm()
            return True

    def after(self, reason: Exit) -> bool:
        if reason is not Exit.BREAK:
            return False
        with self._lock:
            pc = self._supervisor.save().pc
            stepped = pc in self._step
            self._step, self._step_from = set(), None
            if pc in self.breakpoints or (stepped and not self._then_run):
                self._stop(Signal.TRAP)
            return True

    def requested(self) -> None:
        with self._lock:
            self._asked = True
            self._lock.notify_all()

    def _stop(self, signal: Signal) -> None:
        self.halted, self._wanted = True, False
        self._step, self._step_from = set(), None
        self._supervisor.settle()
        self.context = self._supervisor.save()
        self._on_stop(signal)

    def _arm(self) -> None:
        exits = tuple(sorted(self._step | (self.breakpoints - {self._step_from})))
        if exits != self._armed:
            self._supervisor.break_at(exits)
            self._armed = exits

    # ---- memory ----------------------------------------------------------------------------------

    def read(self, address: int, size: int) -> bytes:
        """What is at an address, as far as there is something that the host may see."""
        found = bytearray()
        while len(found) < size:
            piece = min(PAGE_SIZE - address % PAGE_SIZE, size - len(found))
            place = self._supervisor.translate(address)
            if place is None or not self._memory.owns(place, piece):
                break
            found += self._memory.read(place, piece)
            address += piece
        return bytes(found)

    def write(self, address: int, data: bytes) -> bool:
        """Write to the host's memory; False, and nothing is written, if some of it is not there."""
        pieces, done = [], 0
        while done < len(data):
            at = address + done
            piece = min(PAGE_SIZE - at % PAGE_SIZE, len(data) - done)
            place = self._supervisor.translate(at)
            if place is None or not self._memory.owns(place, piece):
                return False
            pieces.append((place, data[done : done + piece]))
            done += piece
        try:
            for place, part in pieces:
                self._memory.write(place, part)
                self._supervisor.written(place, len(part))
        except AccessFault:  # it was given away meanwhile
            return False
        return True

    def _fetch(self, address: int) -> int | None:
        found = self.read(address, 2)
        return int.from_bytes(found, "little") if len(found) == 2 else None


class KernelSession(Session):
    """Debugs the hart of a host that is an operating system, from its first instruction.

    A context manager; leaving it, or `close`, lets it run on.
    """

    def __init__(
        self, supervisor: Supervisor, memory: HostMemory, off: Callable[[], None], place: int | Path
    ) -> None:
        """supervisor: has not run yet.  off: switches the machine off.  place: a port, or a new file.

        Raises BadArgumentError for a place where nobody can wait.
        """
        lock = Condition()
        self._kernel = KernelTarget(supervisor, memory, lock, self.on_stop)
        super().__init__(self._kernel, lock, off, place, attached=True)
        supervisor.watcher = self._kernel
        self.start()

    def let_go(self) -> None:
        self._kernel.let_go()
