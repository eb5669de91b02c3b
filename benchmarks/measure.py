"""Collecting times, and what is made of them: rows, and bars that they have to keep."""

import time
from collections.abc import Callable
from dataclasses import dataclass, field

PATIENCE = 1800.0
"""Seconds after which a program that does not answer hangs; it is not a measure of anything."""


@dataclass
class Series:
    """Times of one call, in ns."""

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

    @property
    def p50(self) -> float:
        """The median, in µs."""
        return self.percentile(0.50)

    @property
    def p99(self) -> float:
        """In µs; of fewer than 100 times, the longest."""
        return self.percentile(0.99)


@dataclass(frozen=True)
class Row:
    """A figure.  p99: None where it is one number.  peer: the figure of `peer_name` in the same run."""

    what: str
    p50: float
    p99: float | None = None
    count: int = 1
    unit: str = "µs"
    peer: float | None = None
    peer_name: str = ""

    @property
    def ratio(self) -> float | None:
        """To the peer."""
        return self.p50 / self.peer if self.peer else None


@dataclass(frozen=True)
class Bar:
    """What is measured must be at most the limit, or at least where `least` says so."""

    what: str
    measured: float
    limit: float
    unit: str = "µs"
    least: bool = False

    @property
    def kept(self) -> bool:
        """True if the bar holds."""
        return self.measured >= self.limit if self.least else self.measured <= self.limit


@dataclass
class Report:
    """What a run has found."""

    rows: list[Row] = field(default_factory=list)
    bars: list[Bar] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def times(self, what: str, series: Series, peer: Series | None = None, peer_name: str = "") -> None:
        """A row of times, with the peer's median."""
        there = peer.p50 if peer is not None else None
        row = Row(what, series.p50, series.p99, len(series.times), "µs", there, peer_name)
        self.rows.append(row)

    def figure(
        self, what: str, value: float, unit: str, peer: float | None = None, peer_name: str = ""
    ) -> None:
        """A row of one number."""
        self.rows.append(Row(what, value, None, 1, unit, peer, peer_name))

    def bar(self, what: str, measured: float, limit: float, unit: str = "µs", *, least: bool = False) -> None:
        """A bar of the table."""
        self.bars.append(Bar(what, measured, limit, unit, least))


@dataclass(frozen=True)
class Effort:
    """How long to measure.  quick: only enough to see that it works."""

    quick: bool = False

    def rounds(self, full: int, quick: int = 3) -> int:
        """How many."""
        return quick if self.quick else full
