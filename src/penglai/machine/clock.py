"""The machine's clock: nanoseconds since it was made, the same for Python and for the C below."""

import threading
import time

from penglai.abi.riscv import NS_PER_TICK
from penglai.machine.library import ClockRecord


class Clock:
    """Follows CLOCK_MONOTONIC."""

    def __init__(self) -> None:
        self.record = ClockRecord(origin=time.monotonic_ns(), manual=0)
        self._origin: int = self.record.origin
        self._started = time.time_ns()

    def now(self) -> int:
        """Nanoseconds since the clock was made."""
        return time.monotonic_ns() - self._origin

    def ticks(self) -> int:
        """The time CSR: units of 100 ns."""
        return self.now() // NS_PER_TICK

    def wall_ns(self) -> int:
        """The time of day, ns since 1970-01-01 UTC; it never goes backwards."""
        return self._started + self.now()


class ManualClock(Clock):
    """Stands still until it is told to advance: for tests, which then depend on no real time."""

    def __init__(self) -> None:
        super().__init__()
        self._lock = threading.Lock()
        self.record.manual = 1

    def now(self) -> int:
        """What it was told, ns."""
        return int(self.record.manual) - 1

    def advance(self, ns: int) -> None:
        """Move the time on by ns nanoseconds (not negative)."""
        if ns < 0:
            raise ValueError("time does not go backwards")
        with self._lock:
            self.record.manual += ns
