"""What an enclave has mapped beside its image, its stack and its heap: regions of whole pages."""

from bisect import bisect_left, bisect_right, insort
from collections.abc import Iterator
from enum import Enum
from typing import NamedTuple

from penglai.abi.riscv import PAGE_SIZE
from penglai.machine.pages import Pages


class Source(Enum):
    """Where the pages of a region come from."""

    POOL = "pool"
    """From the pool: mmap, or another enclave's mmap that was passed on."""
    HOST = "host"
    """Relay pages of the host: they go back to it when the enclave lets them go."""
    SECURE_SHM = "secure shm"
    """Shared between enclaves; the enclave owns none of it."""


class Region(NamedTuple):
    """Consecutive pages from address start on, in order of address.

    lent: the enclave is a server and has them for the length of a call; they are its caller's.
    """

    start: int
    pages: Pages
    source: Source
    lent: bool = False

    @property
    def size(self) -> int:
        """Bytes."""
        return len(self.pages) * PAGE_SIZE

    @property
    def end(self) -> int:
        """The first address behind it."""
        return self.start + self.size

    def part(self, start: int, end: int) -> "Region":
        """The part from address start to end, both at pages of the region."""
        first, last = (start - self.start) // PAGE_SIZE, (end - self.start) // PAGE_SIZE
        return Region(start, self.pages[first:last], self.source, self.lent)

    def moved(self, start: int, *, lent: bool = False) -> "Region":
        """The same pages at another address."""
        return Region(start, self.pages, self.source, lent)


class Regions:
    """The regions of one enclave, by address.  They never overlap."""

    def __init__(self) -> None:
        self._starts: list[int] = []
        self._by_start: dict[int, Region] = {}

    def __iter__(self) -> Iterator[Region]:
        return iter(sorted(self._by_start.values(), key=lambda region: region.start))

    def add(self, region: Region) -> None:
        """Note a region, in a gap."""
        insort(self._starts, region.start)
        self._by_start[region.start] = region

    def remove(self, region: Region) -> None:
        """Forget a region."""
        del self._by_start[region.start]
        self._starts.remove(region.start)

    def cut(self, start: int, end: int) -> list[Region]:
        """Take [start, end) out of the regions that have pages there; the parts that are gone, ascending.

        In one go: an enclave may have cut its memory into as many regions as it has pages.
        """
        found = self.within(start, end)
        kept = [
            region.part(low, high)
            for region in found
            for low, high in ((region.start, start), (end, region.end))
            if low < high
        ]
        for region in found:
            del self._by_start[region.start]
        first = bisect_left(self._starts, found[0].start) if found else 0
        self._starts[first : first + len(found)] = [region.start for region in kept]
        self._by_start |= {region.start: region for region in kept}
        return [region.part(max(region.start, start), min(region.end, end)) for region in found]

    def exactly(self, start: int, size: int) -> Region | None:
        """The region that is [start, start + size), size rounded up to pages, or None."""
        region = self._by_start.get(start)
        return region if region is not None and region.size == round_up(size) else None

    def within(self, start: int, end: int) -> list[Region]:
        """The regions that have pages in [start, end), in ascending order."""
        first = bisect_right(self._starts, start)
        if first and self._by_start[self._starts[first - 1]].end > start:
            first -= 1
        last = bisect_left(self._starts, end)
        return [self._by_start[begin] for begin in self._starts[first:last]]

    def is_free(self, start: int, end: int) -> bool:
        """True if no region has a page in [start, end)."""
        return not self.within(start, end)

    def gap_above(self, floor: int, ceiling: int, size: int, avoid: "Region | None" = None) -> int | None:
        """The lowest address of size free bytes in [floor, ceiling), also clear of avoid, or None."""
        start = floor
        taken = self.within(floor, ceiling)
        if avoid is not None:
            taken = sorted([*taken, avoid], key=lambda region: region.start)
        for region in taken:
            if region.start - start >= size:
                return start
            start = max(start, region.end)
        return start if ceiling - start >= size else None

    def gap_below(self, floor: int, ceiling: int, size: int) -> int | None:
        """The highest address of size free bytes in [floor, ceiling), or None."""
        end = ceiling
        for region in reversed(self.within(floor, ceiling)):
            if end - region.end >= size:
                return end - size
            end = min(end, region.start)
        return end - size if end - floor >= size else None


def round_up(size: int) -> int:
    """Bytes of the whole pages that hold size bytes."""
    return -(-size // PAGE_SIZE) * PAGE_SIZE
