"""Page numbers, as arrays.

In a module of its own: what boots an operating system has no use for numpy, and would wait for it.
"""

import mmap
from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

Item = TypeVar("Item", bound=np.generic)

Pages = NDArray[np.int64]
"""Page numbers: 0 is the first page of RAM."""


def runs(pages: Pages, at_most: int) -> list[slice] | None:
    """The stretches of consecutive numbers that pages is made of, in its order; None if there are more."""
    cuts = np.flatnonzero(pages[1:] - pages[:-1] != 1)
    if len(cuts) >= at_most:
        return None
    edges = (-1, *cuts.tolist(), len(pages) - 1)
    return [slice(int(pages[a + 1]), int(pages[b]) + 1) for a, b in pairwise(edges) if b > a]


def all_runs(pages: Pages) -> list[slice]:
    """The stretches of consecutive numbers that pages is made of, in its order, however many they are."""
    return runs(pages, len(pages) + 1) or []


BATCH = 500
"""Pages in one batch: what is done to them takes less than a millisecond, and no other thread runs meanwhile.

With more items than that numpy releases Python's lock, and its caller, who may hold a lock that others wait
for, gets it back only when they have had their turn."""

LONG_BATCH = 4096
"""The same of pages that are consecutive, where each costs next to nothing."""


def batches(pages: Pages) -> Iterator[Pages]:
    """pages in parts of at most BATCH."""
    return (pages[start : start + BATCH] for start in range(0, len(pages), BATCH))


def slices(run: slice) -> Iterator[slice]:
    """A run in parts of at most LONG_BATCH."""
    return (
        slice(start, min(start + LONG_BATCH, run.stop)) for start in range(run.start, run.stop, LONG_BATCH)
    )


def numbers_of(runs: "list[range]") -> Pages:
    """The numbers that runs are made of, ascending; the runs have none in common."""
    if len(runs) == 1:
        return np.arange(runs[0].start, runs[0].stop, dtype=np.int64)
    ordered = sorted(runs, key=lambda run: run.start)
    return np.concatenate([np.empty(0, np.int64), *(np.arange(run.start, run.stop) for run in ordered)])


def joined(parts: Sequence[Pages]) -> Pages:
    """The numbers of all parts, one after the other.

    In steps: numpy lets no other thread run while it puts arrays together, and there may be many.
    """
    if len(parts) == 1:
        return parts[0]
    steps = [np.concatenate(parts[start : start + BATCH]) for start in range(0, len(parts), BATCH)]
    return np.concatenate(steps) if steps else np.empty(0, dtype=np.int64)


def zeros(count: int, item: type[Item]) -> NDArray[Item]:
    """An array with an item for each of count pages.

    What is never touched costs nothing, neither memory nor time: numpy.zeros clears what the heap has kept.
    """
    return np.frombuffer(mmap.mmap(-1, count * np.dtype(item).itemsize), dtype=item)
