"""Which pages of RAM the host's programs have in mappings of their own.

A mapping counts until the system call that ends it has returned.  The life of the Python object says nothing:
a finaliser can bring it back.  So of an object that the collector has taken it is not believed that its
mapping is gone, but looked up in /proc/self/maps when it matters: when one of its pages is to be given away.
"""

import os
from collections import deque
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from penglai.abi.riscv import PAGE_SIZE

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from penglai.machine.pages import Pages

MAPS = Path("/proc/self/maps")


class Record(NamedTuple):
    """A mapping of size pages, the first of which has number first, at this address of the process."""

    first: int
    size: int
    address: int

    @property
    def pages(self) -> slice:
        """The numbers of its pages."""
        return slice(self.first, self.first + self.size)

    @property
    def end(self) -> int:
        """The first address behind it."""
        return self.address + self.size * PAGE_SIZE


class Mapped:
    """fd: of the file that is RAM.  page_count: how many pages it has.

    `collected` may be called at any moment; the other methods under the memory's lock.
    """

    def __init__(self, fd: int, page_count: int) -> None:
        status = os.fstat(fd)
        self._file = f"{os.major(status.st_dev):02x}:{os.minor(status.st_dev):02x}", str(status.st_ino)
        self._page_count = page_count
        self._counts: NDArray[np.int32] | None = None
        self._collected: deque[Record] = deque()

    def add(self, record: Record) -> None:
        """A program of the host maps these pages."""
        if self._counts is None:
            import numpy as np  # noqa: PLC0415 - most machines never map a page, and numpy is slow to import

            self._counts = np.zeros(self._page_count, dtype="i4")
        self._counts[record.pages] += 1

    def remove(self, record: Record) -> None:
        """The mapping is gone: the system said so."""
        assert self._counts is not None
        self._counts[record.pages] -= 1

    def collected(self, record: Record) -> None:
        """The object of a mapping that nobody has closed is garbage, if nothing brings it back."""
        self._collected.append(record)

    def any(self, pages: "Pages") -> bool:
        """True if one of these pages is in a mapping."""
        if self._counts is None or not self._counts[pages].any():
            return False
        self._drop_gone()
        return bool(self._counts[pages].any())

    def _drop_gone(self) -> None:
        waiting = [self._collected.popleft() for _ in range(len(self._collected))]
        if not waiting:
            return
        present = self._present()
        for record in waiting:
            if any(start < record.end and record.address < end for start, end in present):
                self._collected.append(record)
            else:
                self.remove(record)

    def _present(self) -> list[tuple[int, int]]:
        """The addresses at which this process maps RAM, as (start, end).  Source: proc(5)."""
        found = []
        for line in MAPS.read_text(errors="replace").splitlines():
            span, _, _, device, inode, *_ = line.split(maxsplit=5)
            if (device, inode) == self._file:
                start, end = span.split("-")
                found.append((int(start, 16), int(end, 16)))
        return found
