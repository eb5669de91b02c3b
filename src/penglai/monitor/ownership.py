"""Who owns each page: the one array that isolation rests on.

Every page of RAM has exactly one owner.  Pages move only here:

    HOST -> FREE          extend: the host gives whole chunks to the pool
    FREE -> enclave, MONITOR    take: create, sbrk; page tables are the monitor's
    enclave, MONITOR -> FREE    release: scrubbed first
    HOST <-> SHARED       a kernel buffer: the host's page, mapped in one enclave

A page in the pool is always zero.  The host's bus shows HOST and SHARED pages and nothing else.  All of
it happens under the memory's lock, which the host's accesses take too, so that a page never changes
hands between a check and the copy that relies on it.
"""

import numpy as np
from numpy.typing import NDArray

from penglai.abi.errors import ErrorCode, MonitorBug
from penglai.abi.riscv import CHUNK_SIZE, PAGE_SIZE
from penglai.machine.memory import Pages, PhysicalMemory
from penglai.monitor.refusal import Refusal, bad_argument, breach

HOST = 0
MONITOR = -1
FREE = -2
SHARED = -3
"""Owners that are no enclave.  An enclave's eid, which is positive, is its own mark."""

COPY_BATCH = 256
"""Pages copied under one hold of the lock: 1 MiB, so that no other hart waits long."""


class Ownership:
    """The owner of each page, the pool, and the monitor's checked access to the host's memory."""

    def __init__(self, memory: PhysicalMemory) -> None:
        self._memory = memory
        self._lock = memory.lock
        self._owner: NDArray[np.int32] = np.full(memory.page_count, HOST, dtype=np.int32)
        self._pool: NDArray[np.int64] = np.empty(memory.page_count, dtype=np.int64)
        self._free = 0

    @property
    def ram_base(self) -> int:
        """Physical address of page 0."""
        return self._memory.base

    @property
    def free_pages(self) -> int:
        """Pages in the pool."""
        return self._free

    def snapshot(self) -> NDArray[np.int32]:
        """A copy of the owner array, indexed by page number."""
        with self._lock:
            return self._owner.copy()

    # ---- the pool ------------------------------------------------------------------------------

    def extend(self, pa: int, size: int) -> None:
        """Take the host's chunks [pa, pa + size) into the pool, scrubbed.

        Raises Refusal: not whole chunks of RAM (bad argument), not all the host's (security).
        """
        if size <= 0 or pa % CHUNK_SIZE or size % CHUNK_SIZE:
            raise bad_argument(f"extend by [{pa:#x}, +{size:#x}): not whole 2 MiB chunks")
        if not self._memory.contains(pa, size):
            raise breach(f"extend by [{pa:#x}, +{size:#x}): outside RAM")
        pages = np.arange(self._memory.page_of(pa), self._memory.page_of(pa + size), dtype=np.int64)
        with self._lock:
            if (self._owner[pages] != HOST).any():
                raise breach(f"extend by [{pa:#x}, +{size:#x}): not all of it is the host's")
            self._owner[pages] = MONITOR
            self._memory.host_visible[pages] = False
        self.release(pages, MONITOR)

    def take(self, count: int, owner: int) -> Pages:
        """Give count zeroed pages of the pool to owner, in ascending order.

        Raises Refusal (no memory) with the number of missing pages.
        """
        with self._lock:
            missing = count - self._free
            if missing > 0:
                raise Refusal(ErrorCode.NO_MEMORY, f"{missing} of {count} pages are missing", missing)
            self._free -= count
            pages = np.sort(self._pool[self._free : self._free + count])
            self._owner[pages] = owner
        return pages

    def assign(self, pages: Pages, before: int, after: int) -> None:
        """Hand pages from one owner inside secure memory to another."""
        with self._lock:
            if (self._owner[pages] != before).any():
                raise MonitorBug(f"assigning pages of {before} that it does not own")
            self._owner[pages] = after

    def release(self, pages: Pages, owner: int) -> None:
        """Scrub owner's pages and put them into the pool."""
        if (self._owner[pages] != owner).any():
            raise MonitorBug(f"releasing pages of {owner} that it does not own")
        self._memory.pages[pages] = 0
        with self._lock:
            self._owner[pages] = FREE
            self._pool[self._free : self._free + len(pages)] = pages[::-1]
            self._free += len(pages)

    # ---- pages that stay the host's ------------------------------------------------------------

    def share(self, pa: int) -> int:
        """Mark one page of the host as shared with an enclave; returns its number.

        Raises Refusal if it is not a whole page of the host's, or is shared already.
        """
        self._check_host_range(pa, PAGE_SIZE, align=PAGE_SIZE)
        page = self._memory.page_of(pa)
        with self._lock:
            if self._owner[page] != HOST:
                raise breach(f"page {pa:#x} is not the host's to share")
            self._owner[page] = SHARED
        return page

    def unshare(self, page: int) -> None:
        """The page is the host's alone again."""
        with self._lock:
            if self._owner[page] != SHARED:
                raise MonitorBug(f"page {page} is not shared")
            self._owner[page] = HOST

    # ---- the host's memory, checked and copied once --------------------------------------------

    def read_host(self, pa: int, size: int, *, align: int = 8) -> bytes:
        """Copy of size bytes of the host's memory.  Raises Refusal if they are not all the host's."""
        self._check_host_range(pa, size, align)
        with self._lock:
            self._check_host_owned(pa, size)
            return self._memory.read(pa, size)

    def write_host(self, pa: int, data: bytes, *, align: int = 8) -> None:
        """Write to the host's memory.  Raises Refusal if it is not all the host's."""
        self._check_host_range(pa, len(data), align)
        with self._lock:
            self._check_host_owned(pa, len(data))
            self._memory.write(pa, data)

    def check_host(self, pa: int, size: int, *, align: int = 8) -> None:
        """Raise Refusal unless [pa, pa + size) is the host's.  It may stop being so at any time."""
        self._check_host_range(pa, size, align)
        with self._lock:
            self._check_host_owned(pa, size)

    def copy_from_host(self, sources: Pages, targets: Pages) -> None:
        """Copy pages of the host into pages of the monitor's choice.

        Raises Refusal if a source is not the host's at the moment of its copy.
        """
        pages = self._memory.pages
        for start in range(0, len(sources), COPY_BATCH):
            source = sources[start : start + COPY_BATCH]
            with self._lock:
                if (self._owner[source] != HOST).any():
                    raise breach("a page of the image is not the host's")
                pages[targets[start : start + COPY_BATCH]] = pages[source]

    def _check_host_range(self, pa: int, size: int, align: int) -> None:
        if pa % align:
            raise bad_argument(f"physical address {pa:#x} is not aligned to {align}")
        if not self._memory.contains(pa, size):
            raise breach(f"[{pa:#x}, +{size:#x}) is outside RAM")

    def _check_host_owned(self, pa: int, size: int) -> None:
        first, last = self._memory.page_of(pa), self._memory.page_of(pa + size - 1)
        if (self._owner[first : last + 1] != HOST).any():
            raise breach(f"[{pa:#x}, +{size:#x}) is not the host's")
