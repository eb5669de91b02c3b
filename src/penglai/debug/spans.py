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
        yield from _closed(open_, common, before)
        open_ = open_[:common] + [(name, start) for name in sample.names[common:]]
        before = max(sample.end, start)
    yield from _closed(open_, 0, before)


def _common(one: list[str], other: list[str]) -> int:
    """How many names they have in common, from the outside on."""
    count = 0
    while count < min(len(one), len(other)) and one[count] == other[count]:
        count += 1
    return count


def _closed(open_: list[tuple[str, int]], common: int, end: int) -> Iterator[Span]:
    """Those from a depth on.  Each ends a ns before what it is in: to a viewer, which adds start and length
    as fractions, some would else end behind their callers."""
    for depth, (name, start) in enumerate(open_[common:], common):
        if end - depth > start:
            yield Span(name, start, end - depth)
