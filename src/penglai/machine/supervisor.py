"""A hart in the world of the host: an operating system in S-mode on the bus that shows the host's pages.

Exceptions and interrupts go where the architecture sends them without anybody here knowing (supervisor.c).
What comes back are calls of the firmware, and accesses to where no RAM is: devices.
"""

import ctypes
import threading
import weakref
from collections.abc import Mapping, Sequence
from enum import IntEnum
from typing import Protocol

from penglai.abi.errors import MachineError
from penglai.abi.riscv import CHUNK_SIZE, NS_PER_TICK, PAGE_SIZE
from penglai.machine.clock import Clock
from penglai.machine.context import NEVER, Context
from penglai.machine.library import NO_HART, ExitRecord, library
from penglai.machine.memory import PhysicalMemory

SLABS = 64
"""RAM is mapped in about this many pieces: with more, a change of the bus gets slow (docs/engine.md)."""


class Exit(IntEnum):
    """Why `Supervisor.run` came back."""

    REQUEST = 0
    """Somebody asked for the hart: `request` or `interrupt`."""
    CALL = 1
    """A call to the firmware: a0..a7 in `exit.a`; results go into a[0] and a[1]."""
    DEVICE = 2
    """An access to exit.address: exit.bytes, exit.store, exit.value; `no_device` if there is none."""
    BREAK = 3
    """It stands at an address of `break_at`.  Only its watcher sees that."""


class Watcher(Protocol):
    """Who stands before and behind each run: a debugger."""

    def before(self) -> bool:
        """On the hart's thread, like all that is between runs.  False: it has to look around, not to run."""

    def after(self, reason: Exit) -> bool:
        """True if the end of a run was the watcher's own, and the next one is to follow."""

    def requested(self) -> None:
        """Somebody wants the hart, and `before` is not to make it wait.  From any thread."""


class Supervisor:
    """One hart in S-mode.

    memory: whose visible pages are on its bus.  entry: where it begins, without translation.  registers: x
    registers at that moment, by number; the others are zero.

    `run` and the methods that say so belong to the hart's own thread; the others may be called from any.
    """

    def __init__(
        self, memory: PhysicalMemory, clock: Clock, entry: int, registers: Mapping[int, int] | None = None
    ) -> None:
        self.timer_ns = NEVER
        """When the timer interrupt comes, ns of the machine's clock."""
        self.exit = ExitRecord()
        """The exit under way: read it, write the answer, run again."""
        self.watcher: Watcher | None = None
        """Set before the first run."""
        self._library = library()
        self._calls, self._quick = self._library.calls, self._library.quick
        self._keep = (memory, clock)  # supervisor.c points into them
        self._lock = threading.Lock()
        self._stale: list[tuple[int, int]] = [(0, memory.page_count - 1)]
        self._thread: int | None = None
        self._pointer = self._calls.supervisor_open(
            memory.address,
            memory.base,
            memory.size,
            ctypes.byref(clock.record),
            memory.hidden_address,
            memory.protected_address,
            _slab_bytes(memory.size),
            entry,
        )
        if not self._pointer:
            raise MachineError(NO_HART)
        weakref.finalize(self, self._calls.supervisor_close, self._pointer).atexit = False
        for number, value in (registers or {}).items():
            self._quick.supervisor_set_x(self._pointer, number, value)
        memory.watch(self._view_changed)

    # ---- on the hart's own thread --------------------------------------------------------------

    def run(self) -> Exit:
        """Execute until there is something for Python.  Raises MachineError if the engine gives up."""
        self._thread = threading.get_ident()
        watcher = self.watcher
        while True:
            if watcher is not None and not watcher.before():
                return Exit.REQUEST
            if self._stale:
                self._update_view()
            error = self._calls.supervisor_run(self._pointer, self.exit)
            if error:
                raise MachineError(f"the host's hart: Unicorn gave up ({error}) at {self.exit.address:#x}")
            reason = Exit(self.exit.reason)
            if watcher is None or not watcher.after(reason):
                return reason

    def no_device(self) -> None:
        """Nothing answers the access under way: an access fault."""
        self.exit.bytes = 0

    def set_timer(self, ticks: int) -> None:
        """The timer interrupt comes when the time CSR has reached ticks, and is not pending until then."""
        self.timer_ns = min(ticks * NS_PER_TICK, NEVER)
        self._quick.supervisor_set_timer(self._pointer, self.timer_ns)

    def written(self, pa: int, size: int) -> None:
        """A device has written to memory: code that was translated from there is forgotten."""
        for address in range(pa & -PAGE_SIZE, pa + size, PAGE_SIZE):
            self._quick.supervisor_written(self._pointer, address)

    def flush(self) -> None:
        """Forget all translated addresses."""
        self._quick.supervisor_flush(self._pointer)

    def registers(self) -> list[int]:
        """x0 to x31, then pc: for those who look into the machine."""
        context = self.save()
        return [*context.x, context.pc]

    # ---- the same, for debuggers -----------------------------------------------------------------

    def settle(self) -> None:
        """Do what the answer to the last exit means: the registers are those before the next instruction."""
        self._quick.supervisor_settle(self._pointer, self.exit)

    def save(self) -> Context:
        """The registers, but for satp."""
        context = Context()
        self._quick.supervisor_save(self._pointer, context)
        return context

    def load(self, context: Context) -> None:
        """Change x, f, fcsr and pc."""
        self._quick.supervisor_load(self._pointer, context)

    def break_at(self, addresses: Sequence[int]) -> None:
        """Let runs end with BREAK before an instruction at any of these virtual addresses.

        Raises MachineError for more than engine.MOST_BREAKS.
        """
        array = (ctypes.c_uint64 * len(addresses))(*addresses)
        error = self._calls.supervisor_break(self._pointer, array, len(addresses))
        if error:
            raise MachineError(f"the host's hart cannot stop at {len(addresses)} addresses ({error})")

    def translate(self, address: int) -> int | None:
        """The physical address of a virtual one, as S-mode sees it now, pages of its programs included."""
        found = ctypes.c_uint64()
        return found.value if self._quick.supervisor_translate(self._pointer, address, found) else None

    @property
    def returns_to(self) -> int:
        """Where an sret would lead."""
        return int(self._quick.supervisor_return(self._pointer))

    # ---- from any thread -----------------------------------------------------------------------

    def raise_software_interrupt(self) -> None:
        """Set sip.SSIP, which the guest clears."""
        self._quick.supervisor_raise(self._pointer)

    def hold_external_interrupt(self, on: bool) -> None:
        """Hold the external interrupt up, or let it go."""
        self._quick.supervisor_hold(self._pointer, on)

    def request(self) -> None:
        """Let the run under way, or the next one, come back with REQUEST."""
        self._quick.supervisor_request(self._pointer)
        if self.watcher is not None:
            self.watcher.requested()

    def interrupt(self) -> None:
        """`request`, and wait until the hart executes nothing.  Not from the hart's own thread."""
        self._calls.supervisor_interrupt(self._pointer)

    def wake(self) -> None:
        """A clock that is set by hand has moved: look at the timer."""
        self._quick.supervisor_kick(self._pointer)

    # ---- the bus -------------------------------------------------------------------------------

    def _view_changed(self, first: int, last: int) -> None:
        with self._lock:
            self._stale.append((first, last))
        if self._thread is not None and threading.get_ident() != self._thread:
            self.interrupt()  # the next run begins with the new view

    def _update_view(self) -> None:
        with self._lock:
            stale, self._stale = self._stale, []
        for first, last in stale:
            error = self._calls.supervisor_show(self._pointer, first, last)
            if error:
                raise MachineError(f"the host's bus: Unicorn cannot show pages {first} to {last} ({error})")

    def __repr__(self) -> str:
        return f"<Supervisor pc {self.registers()[-1]:#x}>"


def _slab_bytes(size: int) -> int:
    """A power of two, at least a chunk, of which RAM has at most SLABS."""
    slab = CHUNK_SIZE
    while slab * SLABS < size:
        slab *= 2
    return slab
