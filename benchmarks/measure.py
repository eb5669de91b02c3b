"""Collecting times and showing their distribution."""

import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass, field


@dataclass
class Series:
    """Times of one call, in ns."""

    name: str
    times: list[int] = field(default_factory=list)

    def time(self, call: Callable[[], object]) -> None:
        """Call it once and note how long it took."""
        started = time.perf_counter_ns()
        call()
        self.times.append(time.perf_counter_ns() - started)

    def percentile(self, share: float) -> float:
        """In µs."""
        ordered = sorted(self.times)
        return ordered[min(len(ordered) - 1, int(share * len(ordered)))] / 1000

    def summary(self) -> dict[str, float]:
        """Percentiles and mean in µs."""
        return {
            "n": len(self.times),
            "p10": self.percentile(0.10),
            "median": self.percentile(0.50),
            "p90": self.percentile(0.90),
            "p99": self.percentile(0.99),
            "max": max(self.times) / 1000,
            "mean": statistics.fmean(self.times) / 1000,
        }
