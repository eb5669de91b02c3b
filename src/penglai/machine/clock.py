"""The machine's clock: nanoseconds since it was made, the same for Python and for the C below."""

import threading
import time

from penglai.abi.riscv import NS_PER_TICK
from penglai.machine.library import ClockRecord


class Clock:
    """Follows CLOCK_MONOTONIC."""

    def __init__(self) -> None:
        self.record = ClockRecord(origin=time.monotonic_ns(), manual=0)
        self._lock = threading.Lock()
        self._origin: int = self.record.origin
        self._wall_ns = time.time_ns() - time.monotonic_ns()

    def now(self) -> int:
        """Nanoseconds since the clock was made."""
        return time.monotonic_ns() - self._origin

    def ticks(self) -> int:
        """The time CSR: units of 100 ns."""
        return self.now() // NS_PER_TICK

    def wall_ns(self) -> int:
        """The time of day, ns since 1970-01-01 UTC; it never goes backwards."""
        return self._wall_ns + time.monotonic_ns()

    def skip_to(self, ns: int) -> None:
        """From now on it is at least so late, ns, for whoever brings a time along that was here once.

        The time of day stays what it is.
        """
        with self._lock:
            self._origin -= max(0, ns - self.now())
            self.record.origin = self._origin  # modulo 2^64, as the C below reckons


class ManualClock(Clock):
    """Stands still until it is told to advance: for tests, which then depend on no real time."""

    def __init__(self) -> None:
        super().__init__()
        self._started = time.time_ns()
        self.record.manual = 1

    def now(self) -> int:
        """What it was told, ns."""
        return int(self.record.manual) - 1

    def wall_ns(self) -> int:
        """The time of day when it was made, and what it was told since."""
        return self._started + self.now()

    def skip_to(self, ns: int) -> None:
        """It is told to be at ns, unless it is later."""
        with self._lock:
            self.record.manual = max(self.record.manual, ns + 1)

    def advance(self, ns: int) -> None:
        """Move the time on by ns nanoseconds (not negative)."""
        if ns < 0:
            raise ValueError("time does not go backwards")
        with self._lock:
            self.record.manual += ns
