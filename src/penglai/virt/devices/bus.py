"""The host's bus below RAM: which device answers where."""

from bisect import bisect_right
from typing import NamedTuple, Protocol


class Registers(Protocol):
    """A device as the bus sees it.  offset: bytes from its base.  size: 1, 2, 4 or 8 bytes, aligned."""

    def load(self, offset: int, size: int) -> int:
        """What a load of these bytes finds.  A register that is not there reads as zero."""

    def store(self, offset: int, size: int, value: int) -> None:
        """Take a store.  One to a register that is not there does nothing."""


class Window(NamedTuple):
    """Where a device answers."""

    base: int
    size: int
    device: Registers


class Bus:
    """Windows that do not overlap, by address."""

    def __init__(self) -> None:
        self._bases: list[int] = []
        self._windows: list[Window] = []

    def add(self, base: int, size: int, device: Registers) -> None:
        """Put a device into a gap."""
        index = bisect_right(self._bases, base)
        self._bases.insert(index, base)
        self._windows.insert(index, Window(base, size, device))

    def find(self, address: int, size: int) -> Window | None:
        """The window that holds all of [address, address + size), or None."""
        index = bisect_right(self._bases, address) - 1
        if index < 0:
            return None
        window = self._windows[index]
        return window if address + size <= window.base + window.size else None
