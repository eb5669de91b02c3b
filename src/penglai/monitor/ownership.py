"""Who owns each page: the one array that isolation rests on.

Every page of RAM has exactly one owner.  Pages move only here:

    HOST -> FREE -> HOST        extend, reclaim: whole chunks, into the pool and back
    FREE -> enclave, MONITOR    take: create, sbrk, mmap; page tables are the monitor's
    enclave, MONITOR -> FREE    release: scrubbed first
    enclave -> enclave          assign: a request or response between enclaves
    FREE -> SECURE -> FREE      take, release: memory that enclaves share
    HOST -> enclave -> HOST     adopt, hand_back: relay pages, with what is on them
    HOST <-> BUFFER             share: a kernel buffer, the host's page, mapped in one enclave
    HOST <-> SHM                attach, detach: the host's shared memory, mapped in any number of enclaves

A page in the pool is always zero.  The host's bus shows HOST, BUFFER and SHM pages and nothing else.  A
relay page remembers that it is no page of the pool: released, it is scrubbed and the host's again.  All of
it happens under the memory's lock, which the host's accesses take too, so that a page never changes
hands between a check and the copy that relies on it.  Nobody holds the lock for longer than a batch of pages
takes: what an enclave has of them may be much, and all others would wait.
"""

import numpy as np
from numpy.typing import NDArray

from penglai.abi.errors import ErrorCode, MonitorBug
from penglai.abi.riscv import CHUNK_SIZE, PAGE_SHIFT, PAGE_SIZE
from penglai.machine.memory import PhysicalMemory
from penglai.machine.pages import Pages, batches, joined, numbers_of, runs, slices, zeros
from penglai.monitor.pool import CHUNK_PAGES, Pool
from penglai.monitor.refusal import Refusal, bad_argument, breach

HOST = 0
MONITOR = -1
FREE = -2
BUFFER = -3
SHM = -4
SECURE = -5
"""Owners that are no enclave.  An enclave's eid, which is positive, is its own mark."""

VISIBLE = (HOST, BUFFER, SHM)
"""Owners whose pages the host's bus shows."""

COPY_BATCH = 256
"""Pages copied under one hold of the lock: 1 MiB, so that no other hart waits long."""
FEW_RUNS = 8
"""Pages are cleared run by run if runs are so long on average, and put back so if there are no more."""


class Ownership:
    """The owner of each page, the pool, and the monitor's checked access to the host's memory."""

    def __init__(self, memory: PhysicalMemory) -> None:
        self._memory = memory
        self._put = memory.write
        self._lock = memory.lock
        self._base, self._size = memory.base, memory.size
        self._owner: NDArray[np.int32] = zeros(memory.page_count, np.int32)  # all HOST
        self._relay: NDArray[np.bool_] = zeros(memory.page_count, np.bool_)
        self._owner_of = memoryview(self._owner.data)  # one of them: a fraction of what numpy takes for it
        self._attached: NDArray[np.int32] = zeros(memory.page_count, np.int32)
        self._pool = Pool()
        self._free = 0

    @property
    def ram_base(self) -> int:
        """Physical address of page 0."""
        return self._memory.base

    @property
    def free_pages(self) -> int:
        """Pages in the pool that nobody is about to take."""
        return self._free

    def snapshot(self) -> NDArray[np.int32]:
        """A copy of the owner array, indexed by page number."""
        with self._lock:
            return self._owner.copy()

    def owners(self, pages: list[int]) -> list[int]:
        """The owner of each of these pages."""
        with self._lock:
            return [self._owner_of[page] for page in pages]

    def pages_of(self, owner: int) -> Pages:
        """Every page of an owner, which gets and loses none meanwhile."""
        return np.flatnonzero(self._owner == owner)

    # ---- the pool ------------------------------------------------------------------------------

    def extend(self, pa: int, size: int) -> None:
        """Take the host's chunks [pa, pa + size) into the pool, scrubbed.

        Raises Refusal: not whole chunks of RAM (bad argument), not all the host's (security).
        """
        if size <= 0 or pa % CHUNK_SIZE or size % CHUNK_SIZE:
            raise bad_argument(f"extend by [{pa:#x}, +{size:#x}): not whole 2 MiB chunks")
        if not self._memory.contains(pa, size):
            raise breach(f"extend by [{pa:#x}, +{size:#x}): outside RAM")
        pages = self._range(pa, size)
        with self._lock:
            self._hide(pages, MONITOR)
        self.release((pages, MONITOR))

    def reclaim(self) -> int | None:
        """Give one chunk that is all in the pool back to the host; its physical address, or None."""
        with self._lock:
            chunk = self._pool.grab_chunk() if self._free >= CHUNK_PAGES else None
            if chunk is None:
                return None
            self._free -= CHUNK_PAGES
            self._show(np.arange(chunk * CHUNK_PAGES, (chunk + 1) * CHUNK_PAGES), HOST)
        return self._memory.address_of(chunk * CHUNK_PAGES)

    def take(self, count: int, owner: int) -> Pages:
        """Give count zeroed pages of the pool to owner, in ascending order.

        Raises Refusal (no memory) with the number of missing pages.
        """
        with self._lock:
            missing = count - self._free
            if missing > 0:
                raise Refusal(ErrorCode.NO_MEMORY, f"{missing} of {count} pages are missing", missing)
            self._free -= count
            runs = self._grab(count, owner)
        left = count - sum(map(len, runs))
        while left:  # they are there: nobody else may take the last ones
            with self._lock:
                more = self._grab(left, owner)
            left -= sum(map(len, more))
            runs += more
        return numbers_of(runs)

    def _grab(self, count: int, owner: int) -> list[range]:
        runs = self._pool.grab(count) if count else []
        for run in runs:
            self._owner[run.start : run.stop] = owner
        return runs

    def assign(self, pages: Pages, before: int, after: int) -> None:
        """Hand pages from one owner inside secure memory to another."""
        for batch in batches(pages):
            with self._lock:
                if not self._all_owned(batch, before):
                    raise MonitorBug(f"assigning pages of {before} that it does not own")
                self._owner[batch] = after

    def release(self, *lots: tuple[Pages, int]) -> None:
        """Scrub lots of pages, of one owner each, and put them into the pool; relay pages go to the host."""
        for pages, owner in lots:
            if np.count_nonzero(self._owner[pages] != owner):
                raise MonitorBug(f"releasing pages of {owner} that it does not own")
        # Together they are fewer runs, cleared faster; a stable sort is quick where they are in order.
        parts = _parts(np.sort(joined([pages for pages, _ in lots]), kind="stable"))
        for part in parts:
            self._memory.clear(part)
        for part in parts:
            for batch in slices(part) if isinstance(part, slice) else batches(part):
                with self._lock:
                    self._free_or_give_back(batch)

    def _free_or_give_back(self, pages: Pages | slice) -> None:
        """Put pages into the pool; relay pages among them are the host's again.  Under the lock."""
        borrowed = np.flatnonzero(self._relay[pages])
        if len(borrowed):
            numbers = np.arange(pages.start, pages.stop) if isinstance(pages, slice) else pages
            self._show(numbers[borrowed], HOST)
            pages = np.delete(numbers, borrowed)
        self._owner[pages] = FREE
        found = [pages] if isinstance(pages, slice) else runs(pages, FEW_RUNS)
        for run in found or ():
            self._pool.put(run.start, run.stop - run.start)
            self._free += run.stop - run.start
        if found is None and not isinstance(pages, slice):
            self._pool.put_all(pages)
            self._free += len(pages)

    # ---- relay pages: they change hands with what is on them -----------------------------------

    def adopt(self, pa: int, size: int, owner: int) -> Pages:
        """Take the host's pages [pa, pa + size) for owner: from now on the host cannot touch them.

        Raises Refusal: not whole pages of RAM (bad argument), not all the host's (security).
        """
        if size <= 0 or size % PAGE_SIZE:
            raise bad_argument(f"relay pages of {size:#x} bytes: not whole pages")
        self.check_ram(pa, size, align=PAGE_SIZE)
        pages = self._range(pa, size)
        with self._lock:
            self._hide(pages, owner)
            self._relay[pages] = True
        return pages

    def hand_back(self, pages: Pages, owner: int) -> None:
        """Give owner's relay pages to the host, as they are."""
        for batch in batches(pages):
            with self._lock:
                if not (self._all_owned(batch, owner) and np.count_nonzero(self._relay[batch]) == len(batch)):
                    raise MonitorBug(f"handing back pages of {owner} that are no relay pages of its")
                self._show(batch, HOST)

    # ---- pages that stay the host's ------------------------------------------------------------

    def share(self, pa: int) -> int:
        """Make one page of the host a kernel buffer; returns its number.

        Raises Refusal if it is not a whole page of the host's, or is shared already.
        """
        self.check_ram(pa, PAGE_SIZE, align=PAGE_SIZE)
        page = self._memory.page_of(pa)
        with self._lock:
            if self._owner[page] != HOST:
                raise breach(f"page {pa:#x} is not the host's to share")
            self._owner[page] = BUFFER
        return page

    def unshare(self, page: int) -> None:
        """The page is the host's alone again."""
        with self._lock:
            if self._owner[page] != BUFFER:
                raise MonitorBug(f"page {page} is no kernel buffer")
            self._owner[page] = HOST

    def attach(self, pa: int, size: int) -> Pages:
        """Let an enclave map [pa, pa + size) of the host as shared memory; more than one enclave may.

        Raises Refusal if it is not made of whole pages that are the host's, or shared memory already.
        """
        if size % PAGE_SIZE:
            raise bad_argument(f"shared memory of {size:#x} bytes: not whole pages")
        self.check_ram(pa, size, align=PAGE_SIZE)
        pages = self._range(pa, size)
        with self._lock:
            owners = self._owner[pages]
            if np.count_nonzero(owners == HOST) + np.count_nonzero(owners == SHM) != len(pages):
                raise breach(f"[{pa:#x}, +{size:#x}) is not the host's to share")
            self._owner[pages] = SHM
            self._attached[pages] += 1
        return pages

    def detach(self, pages: Pages) -> None:
        """One enclave maps them no more."""
        for batch in batches(pages):
            with self._lock:
                if not self._all_owned(batch, SHM):
                    raise MonitorBug("detaching pages that are no shared memory")
                self._attached[batch] -= 1
                self._owner[batch[self._attached[batch] == 0]] = HOST

    # ---- the host's memory, checked and copied once --------------------------------------------

    def read_host(self, pa: int, size: int, *, align: int = 8) -> bytes:
        """Copy of size bytes of the host's memory.  Raises Refusal if they are not all the host's."""
        with self._lock:
            self._check_host(pa, size, align)
            return self._memory.read(pa, size)

    def write_host(self, pa: int, data: bytes | memoryview, *, align: int = 8) -> None:
        """Write to the host's memory.  Raises Refusal if it is not all the host's."""
        start, size = pa - self._base, len(data)
        in_one = 0 <= start < self._size and 0 < size <= PAGE_SIZE - start % PAGE_SIZE and not pa % align
        with self._lock:
            if not in_one or self._owner_of[start >> PAGE_SHIFT] != HOST:  # hardly ever
                self._check_host(pa, size, align)
            self._put(pa, data)

    def check_host(self, pa: int, size: int, *, align: int = 8) -> None:
        """Raise Refusal unless [pa, pa + size) is the host's.  It may stop being so at any time."""
        with self._lock:
            self._check_host(pa, size, align)

    def check_ram(self, pa: int, size: int, *, align: int) -> None:
        """Raise Refusal unless [pa, pa + size) is aligned (bad argument) and in RAM (security)."""
        if pa % align:
            raise bad_argument(f"physical address {pa:#x} is not aligned to {align}")
        if size < 0 or not 0 <= pa - self._base <= self._size - size:
            raise breach(f"[{pa:#x}, +{size:#x}) is outside RAM")

    def copy_from_host(self, sources: Pages, targets: Pages) -> None:
        """Copy pages of the host into pages of the monitor's choice.

        Raises Refusal if a source is not the host's at the moment of its copy.
        """
        pages = self._memory.pages
        for start in range(0, len(sources), COPY_BATCH):
            source = sources[start : start + COPY_BATCH]
            with self._lock:
                if not self._all_owned(source, HOST):
                    raise breach("a page of the image is not the host's")
                pages[targets[start : start + COPY_BATCH]] = pages[source]

    def _all_owned(self, pages: Pages, owner: int) -> bool:
        return int(np.count_nonzero(self._owner[pages] == owner)) == len(pages)

    def _range(self, pa: int, size: int) -> Pages:
        return np.arange(self._memory.page_of(pa), self._memory.page_of(pa + size), dtype=np.int64)

    def _hide(self, pages: Pages, owner: int) -> None:
        """Pages of the host leave its bus."""
        if not self._all_owned(pages, HOST):
            raise breach("a page that is to be given away is not the host's")
        if self._memory.mapped.any(pages):
            raise breach("a page that is to be given away is mapped in a program of the host")
        self._owner[pages] = owner
        self._memory.show(pages, visible=False)

    def _show(self, pages: Pages, owner: int) -> None:
        self._relay[pages] = False
        self._owner[pages] = owner
        self._memory.show(pages, visible=True)

    def _check_host(self, pa: int, size: int, align: int) -> None:
        """Raise Refusal unless it is the host's.  Under the lock."""
        start = pa - self._base
        if pa % align or size < 0 or not 0 <= start <= self._size - size:
            self.check_ram(pa, size, align=align)
        first, last = start >> PAGE_SHIFT, (start + size - 1) >> PAGE_SHIFT
        one = first == last  # nearly always: a struct, a word
        if self._owner_of[first] != HOST if one else np.count_nonzero(self._owner[first : last + 1]):
            raise breach(f"[{pa:#x}, +{size:#x}) is not the host's")


def _parts(pages: Pages) -> list[slice] | list[Pages]:
    """Indices that are these pages together: runs if these are long, which costs a third of page by page."""
    found = runs(pages, len(pages) // FEW_RUNS + 1)
    return [pages] if found is None else found
