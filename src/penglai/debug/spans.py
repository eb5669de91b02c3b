"""Samples as a time line: which functions were under way from when to when."""

from collections.abc import Iterable, Iterator
from typing import NamedTuple

GAP = 4_000_000
"""ns without a sample after which nobody knows whether a function was still under way."""


class Seen(NamedTuple):
    """What an enclave executed from start to end, ns.  names: of functions, the outermost first."""

    start: int
    end: int
    names: list[str]


class Span(NamedTuple):
    """A function that was under way from start to end, ns."""

    name: str
    start: int
    end: int


def spans(samples: Iterable[Seen]) -> Iterator[Span]:
    """What the samples of one enclave, in the order of time, have in common one after the other."""
    open_: list[tuple[str, int]] = []
    before = 0
    for sample in samples:
        start = max(sample.start, before)
        common = 0 if start - before > GAP else _common([name for name, _ in open_], sample.names)
        yield from _closed(open_[common:], before)
        open_ = open_[:common] + [(name, start) for name in sample.names[common:]]
        before = max(sample.end, start)
    yield from _closed(open_, before)


def _common(one: list[str], other: list[str]) -> int:
    """How many names they have in common, from the outside on."""
    count = 0
    while count < min(len(one), len(other)) and one[count] == other[count]:
        count += 1
    return count


def _closed(spans_: list[tuple[str, int]], end: int) -> Iterator[Span]:
    return (Span(name, start, end) for name, start in spans_ if end > start)
