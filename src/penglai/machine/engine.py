"""The contract between a hart and what executes its code, and the choice among engines.

A hart knows no more of its engine than `Core` says (docs/engine.md); a test may bring an engine of its own.
"""

import ctypes
import functools
import os
import weakref
from collections.abc import Callable, Sequence
from typing import Protocol

from penglai.abi.errors import BadArgumentError, MachineError
from penglai.abi.limits import CODE_BYTES
from penglai.machine.clock import Clock
from penglai.machine.context import Context, RunRecord
from penglai.machine.library import NO_HART, library
from penglai.machine.memory import MIN_MEMORY, PhysicalMemory

ENGINE_VARIABLE = "PENGLAI_ENGINE"
"""Environment variable that names the engine of machines that are not given one."""

MOST_BREAKS = 1024
"""Addresses of one `Core.break_at`; hart.h has the same."""

Probe = Callable[["Core", RunRecord], "Core"]
"""What a debugger puts between a hart and its core, given both, when the hart is made.

A hart that has one can be looked into: its machine says so (`Board.debuggable`).
"""

FOREIGN_CONTEXT = -1
"""A run's error: somebody gave the context to another hart without an interrupt."""


class Core(Protocol):
    """What executes the code of one hart.

    `run` and `begin_thread` are called by the hart's own thread, the others by any.
    """

    def run(self, context: Context, /) -> int:
        """Run context until a trap, which it leaves in the record, until its deadline, or until `interrupt`.

        The context is exact then.  A context whose owner is not the record's is left alone: the trap is an
        M-mode software interrupt.  Returns 0, or the error of an engine that cannot go on.
        """

    def interrupt(self) -> None:
        """Return when no guest instruction is executed; none is, until `acknowledge`.

        A run in between returns at once with an M-mode software interrupt.
        """

    def acknowledge(self) -> None:
        """It may run again."""

    def break_at(self, addresses: Sequence[int]) -> None:
        """Between runs: end them with DEBUG before an instruction at any of these addresses, and only these.

        Of any context: a debugger sets them for each.  At most MOST_BREAKS.  Raises MachineError.
        """

    def flush(self, space: int, ended: bool, /) -> None:
        """Mappings went away: forget translated addresses before the next run.

        space: the satp that they were mapped by; nothing of the engine's own that shows them is left when
        this returns.  ended: none of its mappings is used any more.  0: of any.
        """

    def invalidate(self, start: int, end: int) -> int:
        """Between runs: forget the code of physical [start, end).  Returns 0, or an error."""

    def forget(self, start: int, end: int, /) -> None:
        """Physical [start, end) changes hands: of its code, keep at once nothing that waits to be used again.

        What is in use is `invalidate`'s.
        """

    def begin_thread(self) -> None:
        """The calling thread is the one that will execute."""


class Engine(Protocol):
    """A way to execute the code of harts."""

    @property
    def name(self) -> str:
        """What PENGLAI_ENGINE calls it."""

    def open(self, memory: PhysicalMemory, clock: Clock, record: RunRecord) -> Core:
        """A core on this memory and clock; it keeps none of them alive.  Raises MachineError."""

    def describe(self) -> str:
        """One line for people: which engine it is, and in which form it runs here."""

    def extensions(self) -> str:
        """What programs can use on it."""

    def counts(self) -> dict[str, int]:
        """What its cores have counted so far, by name; nothing, if it counts nothing."""


class CoreAround:
    """A core in front of another one, which does all that a subclass does not do itself."""

    def __init__(self, core: Core) -> None:
        self._core = core

    def run(self, context: Context, /) -> int:
        return self._core.run(context)

    def interrupt(self) -> None:
        self._core.interrupt()

    def acknowledge(self) -> None:
        self._core.acknowledge()

    def break_at(self, addresses: Sequence[int]) -> None:
        self._core.break_at(addresses)

    def flush(self, space: int, ended: bool, /) -> None:
        self._core.flush(space, ended)

    def invalidate(self, start: int, end: int) -> int:
        return self._core.invalidate(start, end)

    def forget(self, start: int, end: int, /) -> None:
        self._core.forget(start, end)

    def begin_thread(self) -> None:
        self._core.begin_thread()


class LibraryCore:
    """A core of run.c.  What may take long is called without Python's lock."""

    def __init__(self, memory: PhysicalMemory, clock: Clock, record: RunRecord) -> None:
        calls, self._quick = library().calls, library().quick
        core = calls.hart_open(
            memory.address, memory.base, memory.size, ctypes.byref(clock.record), ctypes.byref(record)
        )
        if not core:
            raise MachineError(NO_HART)
        self._record = record
        self.run: Callable[[Context], int] = functools.partial(calls.hart_run, core)
        self.interrupt: Callable[[], None] = functools.partial(calls.hart_interrupt, core)
        self.acknowledge: Callable[[], None] = functools.partial(self._quick.hart_acknowledge, core)
        self.invalidate: Callable[[int, int], int] = functools.partial(calls.hart_invalidate, core)
        # Not before the last reference is gone: a call under way on another thread holds one.
        weakref.finalize(self, calls.hart_close, core).atexit = False
        self.address: int = core

    def flush(self, _space: int, _ended: bool, /) -> None:
        self._record.stale = 1

    def forget(self, _start: int, _end: int, /) -> None:
        """It keeps none."""

    def break_at(self, addresses: Sequence[int]) -> None:
        words = (ctypes.c_uint64 * len(addresses))(*addresses)
        if error := library().calls.hart_break(self.address, words, len(words)):
            raise MachineError(f"the hart takes no {len(words)} breakpoints: Unicorn says {error}")

    def begin_thread(self) -> None:
        """Ask the system for short turns on this thread, and for cores soon."""
        self._quick.hart_thread()


class NativeCore(LibraryCore):
    """One that has native/ beside it."""

    def __init__(self, memory: PhysicalMemory, clock: Clock, record: RunRecord, cache: int) -> None:
        super().__init__(memory, clock, record)
        if not library().calls.native_open(self.address, memory.fd, cache):
            raise MachineError("the native engine could not make a hart; is the process short of memory?")
        quick, calls, address = self._quick, library().calls, self.address
        self._revoke = functools.partial(quick.native_revoke, address)
        self._revoke_patiently = functools.partial(calls.native_revoke, address)
        self._end = functools.partial(quick.native_end, address)
        self._end_patiently = functools.partial(calls.native_end, address)
        self._forget = functools.partial(quick.native_forget, address)
        self._forget_patiently = functools.partial(calls.native_forget, address)

    def flush(self, space: int, ended: bool, /) -> None:
        self._record.stale = 1
        if ended:
            self._end(space, False) or self._end_patiently(space, True)
        elif not self._revoke(space, False):
            self._revoke_patiently(space, True)

    def forget(self, start: int, end: int, /) -> None:
        if not self._forget(start, end, False):
            self._forget_patiently(start, end, True)


def _has_shortcuts() -> bool:
    """Whether this process has them: the first hart finds out."""
    LibraryCore(PhysicalMemory(MIN_MEMORY), Clock(), RunRecord())
    return bool(library().quick.shortcuts_in_effect())


class Unicorn:
    """The engine that runs on every machine: hart.c over Unicorn."""

    name = "unicorn"

    def open(self, memory: PhysicalMemory, clock: Clock, record: RunRecord) -> Core:
        return LibraryCore(memory, clock, record)

    def describe(self) -> str:
        """With the hart's own shortcuts, or without: Unicorn was loaded before, for the whole process."""
        shortcuts = "with" if _has_shortcuts() else "without"
        return f"unicorn, {shortcuts} shortcuts"

    def extensions(self) -> str:
        base = "rv64imafdc, Zicsr, Zifencei"
        if _has_shortcuts():
            return f"{base}; Zcb and rdtime by trap, at 0.2 µs each"
        return f"{base}; rdtime by trap, at 0.2 µs each; no Zcb: its instructions do nothing"

    def counts(self) -> dict[str, int]:
        """Nothing."""
        return {}


CORE_COUNTS = ("entries", "elsewhere", "faults", "maps", "misses", "validations", "windows")
"""In native/dispatch.c's order."""
CACHE_COUNTS = ("texts", "text bytes", "code bytes", "cache bytes")
"""In native/cache.c's order."""


class Native:
    """Enclaves as code of the host: native/, which leaves what it does not translate to Unicorn.

    code_cache: bytes that the texts of its enclaves, their tables and their code may take; what finds no room
    runs on Unicorn.  Raises BadArgumentError.
    """

    name = "native"

    def __init__(self, code_cache: int = CODE_BYTES) -> None:
        if not 0 <= code_cache < 1 << 63:
            raise BadArgumentError(f"a code cache of {code_cache} bytes")
        self._limit = code_cache
        self._cache: int | None = None
        self._cores: weakref.WeakSet[NativeCore] = weakref.WeakSet()

    @property
    def cache(self) -> int:
        """The library's record of what its cores have translated.  Raises MachineError."""
        if self._cache is None:
            calls = library().calls
            self._cache = calls.native_cache(self._limit)
            if self._cache is None:
                raise MachineError("the native engine got no memory for its records")
            weakref.finalize(self, calls.native_cache_close, self._cache).atexit = False
        return self._cache

    def open(self, memory: PhysicalMemory, clock: Clock, record: RunRecord) -> Core:
        """See Engine.  Raises MachineError where there is no such engine."""
        if obstacle := self.obstacle():
            raise MachineError(f"there is no native engine: {obstacle}; take PENGLAI_ENGINE=unicorn")
        core = NativeCore(memory, clock, record, self.cache)
        self._cores.add(core)
        return core

    @staticmethod
    def obstacle() -> str | None:
        """Why this process has none, or None.  Raises ToolchainError."""
        found = library().calls.native_obstacle()
        return None if found is None else found.decode()

    def describe(self) -> str:
        """And what it leaves code to."""
        return f"native, and {Unicorn().describe()}"

    def extensions(self) -> str:
        return "rv64imafdc, Zicsr, Zifencei, Zcb, rdtime"

    def counts(self) -> dict[str, int]:
        """What it has run and mapped, and what its code takes: CORE_COUNTS, CACHE_COUNTS."""
        calls, total = library().calls, dict.fromkeys(CORE_COUNTS, 0)
        for core in self._cores:
            values = (ctypes.c_uint64 * len(CORE_COUNTS))()
            calls.native_counts(core.address, values)
            for name, value in zip(CORE_COUNTS, values, strict=True):
                total[name] += value
        values = (ctypes.c_uint64 * len(CACHE_COUNTS))()
        calls.native_cache_counts(self.cache, values)
        return total | dict(zip(CACHE_COUNTS, values, strict=True))


ENGINES = ("native", "unicorn")
"""The names that PENGLAI_ENGINE has for them, the best first."""


def choose(engine: Engine | str | None = None, *, code_cache: int = CODE_BYTES) -> Engine:
    """The engine of this name; PENGLAI_ENGINE's if there is none; or else the best that there is here.

    code_cache: see Native; nothing to the others.  Raises BadArgumentError, ToolchainError.
    """
    if engine is not None and not isinstance(engine, str):
        return engine
    name = engine or os.environ.get(ENGINE_VARIABLE) or ("unicorn" if Native.obstacle() else "native")
    if name not in ENGINES:
        raise BadArgumentError(f"there is no engine {name!r}; take one of: {', '.join(ENGINES)}")
    return Native(code_cache) if name == "native" else Unicorn()


def chosen_by() -> str:
    """Why machines that are not given an engine get theirs.  Raises ToolchainError."""
    why = f"{ENGINE_VARIABLE} says so" if os.environ.get(ENGINE_VARIABLE) else "the default"
    obstacle = Native.obstacle()
    return f"{why}; not native, since {obstacle}" if obstacle else why
