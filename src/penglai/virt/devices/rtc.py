"""The time of day: the "google,goldfish-rtc" device, without its alarm."""

from collections.abc import Callable

SIZE = 0x1000
TIME_LOW = 0x0
TIME_HIGH = 0x4


class Rtc:
    """wall_ns: the time of day in ns since 1970."""

    def __init__(self, wall_ns: Callable[[], int]) -> None:
        self._wall_ns = wall_ns
        self._latched = 0

    def load(self, offset: int, _size: int) -> int:
        """See Registers.  The low half latches the high one."""
        if offset == TIME_LOW:
            self._latched = self._wall_ns()
            return self._latched & 0xFFFF_FFFF
        return self._latched >> 32 if offset == TIME_HIGH else 0

    def store(self, _offset: int, _size: int, _value: int) -> None:
        """See Registers.  The clock cannot be set."""
