"""Physical memory, and what the host's bus shows of it."""

import ctypes
import functools
import mmap
import os
import re
import threading
import weakref
from collections.abc import Callable
from operator import index
from types import ModuleType
from typing import TYPE_CHECKING, TypeVar

from penglai.abi.errors import AccessFault, BadArgumentError
from penglai.abi.riscv import CHUNK_SIZE, PAGE_SHIFT, PAGE_SIZE, RAM_BASE
from penglai.machine.mapped import Mapped, Record

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from penglai.machine.pages import Pages

MIN_MEMORY = 2 * CHUNK_SIZE

_UNITS = {"": 1, "k": 1 << 10, "m": 1 << 20, "g": 1 << 30}


def parse_size(size: int | str) -> int:
    """Bytes of a size such as 268435456, "256M", "256 MiB" or "1G" (powers of 1024).

    Raises BadArgumentError if it is no size.
    """
    if isinstance(size, int) and not isinstance(size, bool):
        return size
    match = re.fullmatch(
        r"([0-9]{1,30})(?: ?(?=[a-z])([kmg]?)(?:i?b)?)?", str(size), re.IGNORECASE | re.ASCII
    )
    if not match:
        raise BadArgumentError(f"{size!r} is not a size; write it like 256M or 1G")
    return int(match[1]) * _UNITS[(match[2] or "").lower()]


def check_size(size: int) -> int:
    """The size.  Raises BadArgumentError if no machine can have so much memory."""
    if size < MIN_MEMORY or size % CHUNK_SIZE:
        raise BadArgumentError(
            f"memory of {size:#x} bytes: it must be a multiple of 2 MiB and at least 4 MiB"
        )
    return size


class PhysicalMemory:
    """RAM: one shared mapping of a memfd, from RAM_BASE on.

    size: bytes, a multiple of 2 MiB.  Raises BadArgumentError for another size.

    `raw`, `pages` and `words` show all of it as arrays, `host_hidden` which pages the host's bus does
    not show, `mapped` which ones are in mappings of the host's programs.

    `lock` orders what the bus does with what the bus shows: whoever changes the ownership of pages holds
    it, and so does every access of the host while it checks and copies.
    """

    def __init__(self, size: int) -> None:
        self.base = RAM_BASE
        self.size = check_size(size)
        self.page_count = size >> PAGE_SHIFT
        self.fd = os.memfd_create("penglai-ram", os.MFD_CLOEXEC)
        try:
            os.ftruncate(self.fd, size)
            self._mapping = mmap.mmap(self.fd, size)
        except (OSError, OverflowError, ValueError) as error:
            os.close(self.fd)
            raise BadArgumentError(f"the system gives no memory of {size:#x} bytes: {error}") from error
        self.lock = threading.Lock()
        self._hidden = mmap.mmap(-1, self.page_count)  # zeros, which cost nothing until they are touched
        self._protected = mmap.mmap(-1, self.page_count)
        self._watchers: list[Callable[[int, int], None]] = []
        self.mapped = Mapped(self.fd, self.page_count)

    @functools.cached_property
    def raw(self) -> "NDArray[np.uint8]":
        """RAM, byte by byte."""
        found: NDArray[np.uint8] = _arrays().frombuffer(self._mapping, dtype="u1")
        return found

    @functools.cached_property
    def pages(self) -> "NDArray[np.uint8]":
        """RAM, a row of 4096 bytes for each page."""
        return self.raw.reshape(self.page_count, PAGE_SIZE)

    @functools.cached_property
    def words(self) -> "NDArray[np.uint64]":
        """RAM, a row of 512 words for each page."""
        return self.raw.view("<u8").reshape(self.page_count, -1)

    @functools.cached_property
    def flat_words(self) -> "memoryview[int]":
        """RAM, word by word: for one of them numpy takes several times as long."""
        return memoryview(self._mapping).cast("Q")

    @functools.cached_property
    def host_hidden(self) -> "NDArray[np.bool_]":
        """For each page, whether the host's bus does not show it."""
        found: NDArray[np.bool_] = _arrays().frombuffer(self._hidden, dtype="?")
        return found

    @property
    def host_visible(self) -> "NDArray[np.bool_]":
        """The contrary, a copy."""
        return ~self.host_hidden

    @property
    def address(self) -> int:
        """Where RAM lies in this process: for the engine."""
        return _address(self._mapping)

    @property
    def hidden_address(self) -> int:
        """Where `host_hidden` lies in this process, a byte for each page: for the engine."""
        return _address(self._hidden)

    @property
    def protected_address(self) -> int:
        """Where, a byte for each page, lies what `protect` has said: for the engine."""
        return _address(self._protected)

    def close(self) -> None:
        """Give the memory back to the system.

        The mapping itself goes when the last array that shows it does; until then it reads as zeros.
        """
        if self.fd >= 0:
            self._mapping.madvise(mmap.MADV_REMOVE)
            os.close(self.fd)
            self.fd = -1

    def contains(self, pa: int, size: int) -> bool:
        """True if [pa, pa + size) is RAM.  Never wraps: Python's integers do not."""
        return self.base <= pa and size >= 0 and pa + size <= self.base + self.size

    def page_of(self, pa: int) -> int:
        """Number of the page that holds pa.  pa must be in RAM."""
        return (pa - self.base) >> PAGE_SHIFT

    def address_of(self, page: int) -> int:
        """Physical address of a page."""
        return self.base + (page << PAGE_SHIFT)

    def read(self, pa: int, size: int) -> bytes:
        """Copy of size bytes at pa, which must be RAM."""
        start = pa - self.base
        return self._mapping[start : start + size]

    def write(self, pa: int, data: bytes | memoryview) -> None:
        """Write data at pa, which must be RAM."""
        start = pa - self.base
        self._mapping[start : start + len(data)] = data

    def load(self, pa: int, data: bytes | mmap.mmap) -> None:
        """Write much data at pa, which must be RAM.

        The system does: what of it nobody has touched is then neither cleared first nor faulted in.
        """
        rest, offset = memoryview(data), pa - self.base
        while rest:
            written = os.pwrite(self.fd, rest, offset)
            rest, offset = rest[written:], offset + written

    def clear(self, pages: "Pages | slice") -> None:
        """Write zeros to pages.  A slice costs what memory costs; page by page it is three times as much."""
        if isinstance(pages, slice):
            self.raw[pages.start * PAGE_SIZE : pages.stop * PAGE_SIZE].fill(0)
        else:
            self.pages[pages] = 0

    def watch(self, watcher: Callable[[int, int], None]) -> None:
        """From now on call watcher(first, last), page numbers, when the host's view of pages changes.

        It is called under `lock`, after the change; on its return the bus shows what `host_hidden` says.
        """
        self._watchers.append(watcher)

    def show(self, pages: "Pages", visible: bool) -> None:
        """Let pages appear on the host's bus, or vanish from it.  The caller holds `lock`."""
        self.host_hidden[pages] = not visible
        if self._watchers and len(pages):
            for watcher in self._watchers:
                watcher(int(pages.min()), int(pages.max()))

    def protect(self, pa: int, size: int) -> None:
        """Let no hart in the host's world write to whole pages, [pa, pa + size) of RAM, any more.

        It protects the host from itself: devices and firmware write there as before.
        """
        first, last = self.page_of(pa), self.page_of(pa + size - 1)
        with self.lock:
            self._protected[first : last + 1] = b"\1" * (last + 1 - first)
            for watcher in self._watchers:
                watcher(first, last)

    def first_hidden(self, pa: int, size: int) -> int | None:
        """The first address of [pa, pa + size) that the host may not touch, or None.

        The caller holds `lock` for as long as the answer has to stay true.
        """
        start = pa - self.base
        last = start + size - (size > 0)
        if start < 0 or last >= self.size:
            return pa if not self.contains(pa, 1) else self.base + self.size
        first, last = start >> PAGE_SHIFT, last >> PAGE_SHIFT
        if first == last and not self._hidden[first]:  # nearly always
            return None
        hidden = self._hidden.find(b"\1", first, last + 1)
        return None if hidden < 0 else max(pa, self.address_of(hidden))


def _arrays() -> ModuleType:
    """numpy.  Imported when somebody looks at pages as arrays: booting does not, nor waits for it."""
    import numpy  # noqa: PLC0415 - takes longer than anything else that booting does

    return numpy


def _address(buffer: mmap.mmap) -> int:
    return ctypes.addressof(ctypes.c_char.from_buffer(buffer))


class Mapping(mmap.mmap):
    """Pages of the host's memory, mapped in a program: bytes, a buffer for memoryview and numpy.

    While it is open its pages stay the host's.  pa: physical address.
    """

    pa: int
    _release: Callable[[], None]

    def close(self) -> None:
        """Unmap; more than once does nothing.  Raises BufferError while arrays or views of it are in use."""
        super().close()
        self._release()

    def resize(self, newsize: int) -> None:  # noqa: ARG002 - the signature is mmap's
        """Raises BufferError: other pages than those that were asked for are never part of it."""
        raise BufferError("a mapping of the host's memory keeps its size")


M = TypeVar("M", bound=Mapping)


class HostMemory:
    """RAM as the untrusted host's bus shows it: pages of the host, and pages shared with it.

    Every access to another page raises AccessFault and does nothing.  This is all that the driver ever
    holds of the memory: the object has no way to the rest.
    """

    __slots__ = ("_map", "base", "check", "read", "size", "write")

    def __init__(self, memory: PhysicalMemory) -> None:
        self.base = memory.base
        self.size = memory.size
        self.read, self.write, self.check = _bus(memory)
        """
        read(pa, size) -> a copy of size bytes at physical address pa
        write(pa, data) writes there
        check(pa, size) raises AccessFault unless all of [pa, pa + size) is the host's at this moment
        """
        self._map = _mapper(memory)

    def map(self, pa: int, size: int, kind: type[M]) -> M:
        """Map the host's whole pages [pa, pa + size) as an object of this kind of Mapping.

        Raises AccessFault if they are not the host's, BadArgumentError if they are no whole pages.
        """
        return self._map(pa, size, kind)

    def owns(self, pa: int, size: int) -> bool:
        """True if all of [pa, pa + size) is the host's at this moment."""
        try:
            self.check(pa, size)
        except AccessFault:
            return False
        return True


def _mapper(memory: PhysicalMemory) -> Callable[[int, int, type[M]], M]:
    def map_pages(pa: int, size: int, kind: type[M]) -> M:
        pa, size = index(pa), index(size)
        if size <= 0 or size % PAGE_SIZE or pa % PAGE_SIZE:
            raise BadArgumentError(f"[{pa:#x}, +{size:#x}) cannot be mapped: it is not made of whole pages")
        if not issubclass(kind, Mapping):
            raise BadArgumentError(f"{kind!r} is no kind of Mapping")
        with memory.lock:
            hidden = memory.first_hidden(pa, size)
            if hidden is not None:
                raise AccessFault(hidden)
            # Not kind(...), which would hand the file of all RAM to a class of the host's.
            mapping = mmap.mmap.__new__(kind, memory.fd, size, offset=pa - memory.base)
            record = Record(memory.page_of(pa), size >> PAGE_SHIFT, _address(mapping))
            memory.mapped.add(record)
        collected = weakref.finalize(mapping, memory.mapped.collected, record)
        collected.atexit = False
        this = weakref.ref(mapping)

        def release() -> None:
            mapped = this()
            if mapped is None:
                return
            with memory.lock:
                mmap.mmap.close(mapped)  # whoever calls this: no page is let go that can still be seen
                if collected.detach():  # the first time
                    memory.mapped.remove(record)

        mapping.pa = pa
        mapping._release = release
        return mapping

    return map_pages


Read = Callable[[int, int], bytes]
Write = Callable[[int, bytes], None]
Check = Callable[[int, int], None]


def _bus(memory: PhysicalMemory) -> tuple[Read, Write, Check]:
    """Functions, so that there is no object behind which all of RAM is."""
    lock, first_hidden, put = memory.lock, memory.first_hidden, memory.write
    base, end, ram, hides = memory.base, memory.base + memory.size, memory._mapping, memory._hidden

    # index() and bytes: whatever the host's objects say later, these are plain numbers and plain bytes

    def read(pa: int, size: int) -> bytes:
        pa, size = index(pa), index(size)
        if size < 0:
            raise BadArgumentError(f"{size} bytes cannot be read")
        start = pa - base
        in_one = base <= pa < end and 0 < size <= PAGE_SIZE - start % PAGE_SIZE  # nearly always
        with lock:
            hidden = None if in_one and not hides[start >> PAGE_SHIFT] else first_hidden(pa, size)
            if hidden is not None:
                raise AccessFault(hidden)
            return ram[start : start + size]

    def write(pa: int, data: bytes) -> None:
        pa, data = index(pa), data if type(data) is bytes else memoryview(data).tobytes()
        with lock:
            hidden = first_hidden(pa, len(data))
            if hidden is not None:
                raise AccessFault(hidden)
            put(pa, data)

    def check(pa: int, size: int) -> None:
        pa, size = index(pa), index(size)
        with lock:
            hidden = first_hidden(pa, size)
        if hidden is not None:
            raise AccessFault(hidden)

    return read, write, check
