"""Data as a row of choices: what a target does with each byte is decided by the target."""

from collections.abc import Sequence
from typing import TypeVar

T = TypeVar("T")

CROOKED = (0, 1, 2, 7, 8, 0x7F, 0xFF, 0xFFF, 0x1000, 0x1001, 0xFFFF, 1 << 20, (1 << 31) - 1, 1 << 31)
CROOKED += ((1 << 32) - 1, 1 << 32, 1 << 38, 1 << 39, 1 << 55, 1 << 62, (1 << 63) - 1, 1 << 63, (1 << 64) - 1)
"""Numbers at which programs break."""


def says_why(error: Exception) -> None:
    """A refusal has a reason."""
    assert str(error), repr(error)


class Choices:
    """Reads data from its beginning; when it has come to the end, all choices are the first one."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._at = 0

    @property
    def left(self) -> int:
        """Bytes that were not read."""
        return max(0, len(self._data) - self._at)

    def take(self, size: int) -> bytes:
        """The next bytes, size of them or fewer."""
        self._at += size
        return self._data[self._at - size : self._at]

    def number(self, size: int) -> int:
        """A number of size bytes."""
        return int.from_bytes(self.take(size), "little")

    def below(self, limit: int) -> int:
        """0 to limit - 1."""
        return self.number(1 if limit <= 256 else 2) % limit

    def rarely(self, of: int) -> bool:
        """True once in so many times, and never where the data has ended."""
        return self.below(of) == 1

    def pick(self, values: Sequence[T]) -> T:
        """One of them."""
        return values[self.below(len(values))]

    def word(self, good: Sequence[int] = ()) -> int:
        """64 bits: one of the good ones, most of the time, or near one, or crooked, or anything."""
        kind = self.below(16)
        if kind < 10 and good:
            return self.pick(good)
        if kind < 12 and good:
            return (self.pick(good) + self.number(1) - 128) % (1 << 64)
        if kind < 14:
            return self.pick(CROOKED)
        return self.number(8)

    def text(self) -> bytes:
        """A few bytes: their number, then they."""
        return self.take(self.below(24))
