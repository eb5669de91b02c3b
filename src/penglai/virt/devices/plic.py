"""The platform-level interrupt controller: which device wants the hart.

One context, the S-mode of hart 0.  Sources are level-triggered: a source that still wants something when
its interrupt is completed is pending again.  Source: RISC-V Platform-Level Interrupt Controller
Specification 1.0.
"""

from collections.abc import Callable

SIZE = 0x600000
"""Bytes of its window."""
SOURCES = 32
"""Sources 1 to 31; there is no source 0."""

PRIORITY = 0x0
PENDING = 0x1000
ENABLE = 0x2000
THRESHOLD = 0x200000
CLAIM = 0x200004

MAX_PRIORITY = 7


class Plic:
    """output: called with True when an interrupt is to be taken, with False when none is, at each change."""

    def __init__(self, output: Callable[[bool], None]) -> None:
        self._output = output
        self._priority = [0] * SOURCES
        self._level = 0
        self._in_service = 0
        self._enabled = 0
        self._threshold = 0
        self._wanted = False

    def set_level(self, source: int, on: bool) -> None:
        """A device raises its line, or lowers it."""
        bit = 1 << source
        level = self._level | bit if on else self._level & ~bit
        if level != self._level:
            self._level = level
            self._update()

    def load(self, offset: int, size: int) -> int:
        if size != 4:
            return 0
        if offset < 4 * SOURCES:
            return self._priority[offset // 4]
        if offset == CLAIM:
            return self._claim()
        values = {PENDING: self._pending, ENABLE: self._enabled, THRESHOLD: self._threshold}
        return values.get(offset, 0)

    def store(self, offset: int, size: int, value: int) -> None:
        if size != 4:
            return
        if 4 <= offset < 4 * SOURCES:
            self._priority[offset // 4] = value & MAX_PRIORITY
        elif offset == ENABLE:
            self._enabled = value & ~1
        elif offset == THRESHOLD:
            self._threshold = value & MAX_PRIORITY
        elif offset == CLAIM and value < SOURCES:
            self._in_service &= ~(1 << value)
        self._update()

    @property
    def _pending(self) -> int:
        return self._level & ~self._in_service

    def _best(self) -> int:
        """The pending, enabled source of the highest priority above the threshold; 0 if there is none."""
        candidates = self._pending & self._enabled
        best, priority = 0, self._threshold
        source = 1
        while candidates >> source:
            if candidates >> source & 1 and self._priority[source] > priority:
                best, priority = source, self._priority[source]
            source += 1
        return best

    def _claim(self) -> int:
        source = self._best()
        if source:
            self._in_service |= 1 << source
            self._update()
        return source

    def _update(self) -> None:
        wanted = bool(self._best())
        if wanted != self._wanted:
            self._wanted = wanted
            self._output(wanted)
