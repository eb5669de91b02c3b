"""What an enclave has mapped beside its image, its stack and its heap: regions of whole pages.

An enclave may cut its memory into as many regions as it has pages.  So each is three numbers here and no
object, and what is done to many of them is done to arrays.
"""

from array import array
from bisect import bisect_left, bisect_right
from collections.abc import Iterator
from enum import IntEnum
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from penglai.abi.riscv import PAGE_SIZE

WORD = (1 << 64) - 1

Numbers = NDArray[np.int64]
"""Addresses of user space, which are below 2^38, and the like."""


class Source(IntEnum):
    """Where the pages of a region come from."""

    POOL = 0
    """From the pool: mmap, or another enclave's mmap that was passed on."""
    HOST = 1
    """Relay pages of the host: they go back to it when the enclave lets them go."""
    SECURE_SHM = 2
    """Shared between enclaves; the enclave owns none of it."""


SOURCE_MASK, LENT, GRANTED_SHIFT = 3, 4, 3
"""Bits of the number that says what a region is: its source, whether it is lent, and above to whom granted.
"""

GRANTED_MASK = WORD & -1 << GRANTED_SHIFT
SOURCES = tuple(Source)


class Region(NamedTuple):
    """[start, end), whole pages; which ones, the page table says.

    lent: the enclave is a server and has them for the length of a call; they are its caller's.  granted:
    eid of the enclave whose run got relay pages from the host, whoever has them now; else 0.
    """

    start: int
    end: int
    source: Source
    lent: bool = False
    granted: int = 0

    @property
    def size(self) -> int:
        """Bytes."""
        return self.end - self.start

    @property
    def page_count(self) -> int:
        """Pages."""
        return (self.end - self.start) // PAGE_SIZE

    @property
    def kind(self) -> int:
        """What it is beside its place, as a number."""
        return self.source | (LENT if self.lent else 0) | self.granted << GRANTED_SHIFT

    def part(self, start: int, end: int) -> "Region":
        """The part from address start to end, both at pages of the region."""
        return self._replace(start=start, end=end)

    def moved(self, start: int, *, lent: bool = False) -> "Region":
        """The same pages at another address."""
        return self._replace(start=start, end=start + self.size, lent=lent)


class _Full(NamedTuple):
    """What the last search from above has found: no gap of size bytes in [start, end)."""

    start: int
    end: int
    size: int


class Regions:
    """The regions of one enclave, by address.  They never overlap.

    pages: how many they have, without those that are lent to the enclave; own_pages: without those that are
    shared between enclaves.
    """

    def __init__(self) -> None:
        self._starts = array("Q")
        self._ends = array("Q")
        self._kinds = array("Q")
        self._all = (self._starts, self._ends, self._kinds)
        self.pages = self.own_pages = 0
        self._full: _Full | None = None

    def __iter__(self) -> Iterator[Region]:
        return map(self._at, range(len(self._starts)))

    def __len__(self) -> int:
        return len(self._starts)

    # ---- changes -------------------------------------------------------------------------------

    def add(self, region: Region) -> None:
        """Note a region, in a gap."""
        index = bisect_left(self._starts, region.start)
        self._starts.insert(index, region.start)
        self._ends.insert(index, region.end)
        self._kinds.insert(index, region.kind)
        self._count(region.kind, region.page_count)

    def remove(self, region: Region) -> None:
        """Forget a region."""
        index = bisect_left(self._starts, region.start)
        self._forget(index, index + 1)

    def cut(self, start: int, end: int) -> None:
        """Take [start, end) out of the regions that have pages there."""
        first, last = self._span(start, end)
        if first == last:
            return
        low, high = self._at(first), self._at(last - 1)
        self._forget(first, last)
        if low.start < start:
            self.add(low.part(low.start, start))
        if end < high.end:
            self.add(high.part(end, high.end))

    def take_lent(self, start: int, end: int) -> list[Region]:
        """Forget the regions in [start, end) that are lent; they, ascending, those that adjoin as one."""
        return self._take(start, end, LENT, LENT)

    def take_granted(self, start: int, end: int, eid: int) -> list[Region]:
        """The same for those that the host has granted to this enclave."""
        return self._take(start, end, GRANTED_MASK, eid << GRANTED_SHIFT)

    def _take(self, start: int, end: int, mask: int, value: int) -> list[Region]:
        first, last = self._span(start, end)
        if first < last and self._are_one(first, last):
            if self._kinds[first] & mask != value:
                return []
            whole = _region(self._starts[first], self._ends[last - 1], self._kinds[first])
            self._forget(first, last)
            return [whole]
        numbers = [self._numbers(each, first, last) for each in self._all]
        wanted = numbers[-1] & np.uint64(mask) == np.uint64(value)
        if not np.count_nonzero(wanted):
            return []
        self._forget(first, last, None if wanted.all() else ~wanted)
        starts, ends, kinds = (each[wanted] for each in numbers)
        new = np.flatnonzero((starts[1:] != ends[:-1]) | (kinds[1:] != kinds[:-1])) + 1
        firsts, lasts = np.append(0, new), np.append(new, len(starts)) - 1
        return [
            _region(int(starts[one]), int(ends[other]), int(kinds[one]))
            for one, other in zip(firsts, lasts, strict=True)
        ]

    # ---- looking -------------------------------------------------------------------------------

    def exactly(self, start: int, size: int) -> Region | None:
        """The region that is [start, start + size), size rounded up to pages, or None."""
        index = bisect_left(self._starts, min(start, WORD))
        if index == len(self._starts) or self._starts[index] != start:
            return None
        region = self._at(index)
        return region if region.size == round_up(size) else None

    def around(self, start: int, size: int) -> Region | None:
        """The region that has all of [start, start + size), or None."""
        index = bisect_right(self._starts, min(start, WORD)) - 1
        return self._at(index) if index >= 0 and start + size <= self._ends[index] else None

    def is_free(self, start: int, end: int) -> bool:
        """True if no region has a page in [start, end)."""
        first, last = self._span(start, end)
        return first >= last

    def covers(self, start: int, end: int, *, but: Source) -> bool:
        """True if all of [start, end), at least one page, is in regions of another source."""
        first, last = self._span(start, end)
        if first == last or self._starts[first] > start or self._ends[last - 1] < end:
            return False
        starts, ends, kinds = (self._numbers(each, first, last) for each in self._all)
        whole = not np.count_nonzero(starts[1:] != ends[:-1])
        return whole and not np.count_nonzero(kinds & np.uint64(SOURCE_MASK) == np.uint64(but))

    def gap_above(self, floor: int, ceiling: int, size: int, avoid: Region | None = None) -> int | None:
        """The lowest address of size free bytes in [floor, ceiling), also clear of avoid, or None."""
        if avoid is None and self.is_free(floor, ceiling):
            return floor if ceiling - floor >= size else None
        lows, highs = self._gaps(floor, ceiling, avoid)
        found = np.flatnonzero(highs - lows >= size)
        return int(lows[found[0]]) if len(found) else None

    def gap_below(self, floor: int, ceiling: int, size: int) -> int | None:
        """The highest address of size free bytes in [floor, ceiling), or None."""
        full = self._full
        top = full.start if full is not None and full.end == ceiling and full.size <= size else ceiling
        if self.is_free(floor, top):
            return top - size if top - floor >= size else None
        lows, highs = self._gaps(floor, top, None)
        found = np.flatnonzero(highs - lows >= size)
        if not len(found):
            return None
        high = int(highs[found[-1]])
        self._full = _Full(high, ceiling, size)
        return high - size

    # ---- helpers -------------------------------------------------------------------------------

    def _gaps(self, floor: int, ceiling: int, avoid: Region | None) -> tuple[Numbers, Numbers]:
        """Where the gaps in [floor, ceiling) begin and end, ascending; some have no bytes, or less."""
        first, last = self._span(floor, ceiling)
        starts, ends = (self._numbers(each, first, last) for each in self._all[:2])
        if avoid is not None and avoid.start < ceiling and floor < avoid.end:
            place = int(np.searchsorted(starts, np.uint64(avoid.start)))
            starts = np.insert(starts, place, avoid.start)
            ends = np.insert(ends, place, avoid.end)
        lows, highs = ends.astype(np.int64), starts.astype(np.int64)
        return np.concatenate(([floor], lows)), np.concatenate((highs, [ceiling]))

    def _numbers(self, numbers: "array[int]", first: int, last: int) -> NDArray[np.uint64]:
        """A copy of the numbers with indices from first to last."""
        return np.frombuffer(numbers[first:last], dtype=np.uint64)

    def _span(self, start: int, end: int) -> tuple[int, int]:
        """Indices of the regions that have pages in [start, end)."""
        start, end = min(start, WORD), min(end, WORD)
        first = bisect_right(self._starts, start)
        if first and self._ends[first - 1] > start:
            first -= 1
        return first, max(first, bisect_left(self._starts, end))

    def _at(self, index: int) -> Region:
        return _region(self._starts[index], self._ends[index], self._kinds[index])

    def _are_one(self, first: int, last: int) -> bool:
        """True if the regions with indices from first to last adjoin and are of one kind, like one split."""
        adjoin = self._starts[first + 1 : last] == self._ends[first : last - 1]
        return adjoin and self._kinds[first + 1 : last] == self._kinds[first : last - 1]

    def _forget(self, first: int, last: int, kept: "NDArray[np.bool_] | None" = None) -> None:
        """Forget the regions with indices from first to last, but those that are kept."""
        self._full = None
        if kept is None and self._are_one(first, last):
            self._count(self._kinds[first], (self._starts[first] - self._ends[last - 1]) // PAGE_SIZE)
            for numbers in self._all:
                del numbers[first:last]
            return
        known = [self._numbers(each, first, last) for each in self._all]
        starts, ends, kinds = known
        counts = (ends - starts) // np.uint64(PAGE_SIZE)
        if kept is not None:
            counts[kept] = 0
        lent = kinds & np.uint64(LENT) != 0
        shared = kinds & np.uint64(SOURCE_MASK) == np.uint64(Source.SECURE_SHM)
        self.pages -= int(counts[~lent].sum())
        self.own_pages -= int(counts[~shared].sum())
        for numbers, old in zip(self._all, known, strict=True):
            numbers[first:last] = array("Q", b"" if kept is None else old[kept].tobytes())

    def _count(self, kind: int, pages: int) -> None:
        """So many pages of this kind come, or go."""
        if not kind & LENT:
            self.pages += pages
        if kind & SOURCE_MASK != Source.SECURE_SHM:
            self.own_pages += pages


def _region(start: int, end: int, kind: int) -> Region:
    return Region(start, end, SOURCES[kind & SOURCE_MASK], bool(kind & LENT), kind >> GRANTED_SHIFT)


def round_up(size: int) -> int:
    """Bytes of the whole pages that hold size bytes."""
    return -(-size // PAGE_SIZE) * PAGE_SIZE
