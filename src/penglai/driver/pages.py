"""The host kernel's page allocator: which of the host's pages are in use."""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from penglai.abi.errors import NoMemoryError
from penglai.abi.riscv import CHUNK_SIZE, PAGE_SIZE


class PageAllocator:
    """Gives out physical memory of [base, base + size): first fit, pages from below, chunks from above.

    reclaim: asked when there is not enough: gives the address of a chunk that is free again, or None.
    """

    def __init__(self, base: int, size: int, reclaim: Callable[[], int | None] = lambda: None) -> None:
        self._reclaim = reclaim
        self._lock = threading.Lock()
        self._holes: list[tuple[int, int]] = [(base, base + size)]

    @property
    def free_bytes(self) -> int:
        """Bytes that are not in use."""
        with self._lock:
            return sum(end - start for start, end in self._holes)

    def allocate(self, size: int) -> int:
        """Physical address of size bytes in one piece, whole pages.  Raises NoMemoryError."""
        size = -(-size // PAGE_SIZE) * PAGE_SIZE
        while (found := self._first_fit(size)) is None:
            chunk = self._reclaim()
            if chunk is None:
                raise NoMemoryError(f"the host has no {size:#x} bytes in one piece left")
            self.free(chunk, CHUNK_SIZE)
        return found

    def _first_fit(self, size: int) -> int | None:
        with self._lock:
            for index, (start, end) in enumerate(self._holes):
                if end - start >= size:
                    self._holes[index : index + 1] = _non_empty((start + size, end))
                    return start
        return None

    def allocate_chunks(self, count: int) -> list[int]:
        """Addresses of count chunks (2 MiB, aligned).  All or nothing: raises NoMemoryError."""
        found: list[int] = []
        with self._lock:
            before = list(self._holes)
            for index in range(len(before) - 1, -1, -1):
                start, end = before[index]
                top = end & -CHUNK_SIZE
                fit = min(count - len(found), max(0, (top - start) // CHUNK_SIZE))
                if fit:
                    bottom = top - fit * CHUNK_SIZE
                    found += range(bottom, top, CHUNK_SIZE)
                    self._holes[index : index + 1] = _non_empty((start, bottom), (top, end))
                if len(found) == count:
                    return found
            self._holes = before
        raise NoMemoryError(
            f"the machine has no {count * CHUNK_SIZE >> 20} MiB left for enclaves; "
            "destroy some, or start it with more memory"
        )

    def free(self, address: int, size: int) -> None:
        """Take back what allocate gave."""
        size = -(-size // PAGE_SIZE) * PAGE_SIZE
        with self._lock:
            holes = sorted([*self._holes, (address, address + size)])
            merged = [holes[0]]
            for start, end in holes[1:]:
                if start == merged[-1][1]:
                    merged[-1] = (merged[-1][0], end)
                else:
                    merged.append((start, end))
            self._holes = merged

    @contextmanager
    def borrow(self, size: int) -> Iterator[int]:
        """Memory for the length of a with block."""
        address = self.allocate(size)
        try:
            yield address
        finally:
            self.free(address, size)


def _non_empty(*holes: tuple[int, int]) -> list[tuple[int, int]]:
    return [(start, end) for start, end in holes if end > start]
