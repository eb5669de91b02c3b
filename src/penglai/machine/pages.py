"""Page numbers, as arrays.

In a module of its own: what boots an operating system has no use for numpy, and would wait for it.
"""

import mmap
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


def zeros(count: int, item: type[Item]) -> NDArray[Item]:
    """An array with an item for each of count pages.

    What is never touched costs nothing, neither memory nor time: numpy.zeros clears what the heap has kept.
    """
    return np.frombuffer(mmap.mmap(-1, count * np.dtype(item).itemsize), dtype=item)
