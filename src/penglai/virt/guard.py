"""The page-table guard: page tables of the host's kernel, which it may read, and has written for it.

Penglai-TVM isolates by it: its monitor allows no entry that shows a private page.  Here the bus of the host
shows no such page, whatever an entry says, and nothing rests on the guard.  It is there for kernels that were
made for it, and is the host's own: it sees what the host sees, and writes there alone.

Source: docs/compatibility.md, "The page-table guard".
"""

import ctypes
import logging
from bisect import bisect_right
from collections.abc import Callable, Iterator
from typing import NamedTuple

from penglai.abi.errors import AccessFault, BadArgumentError, ErrorCode
from penglai.abi.guard import MAX_RECORDS, GuardCall, Record, Write
from penglai.abi.riscv import CHUNK_SIZE, PAGE_SIZE, PTE_PPN_SHIFT, TABLE_ENTRIES, Pte
from penglai.abi.sbi import CreateParam, SbiResult
from penglai.machine.memory import HostMemory

log = logging.getLogger(__name__)

OK = SbiResult(ErrorCode.OK, 0)
ENTRY_BYTES = 8
ROOT, MIDDLE, LAST = range(3)
"""Levels of a table, and parts of the area."""
SPAN = {ROOT: PAGE_SIZE * TABLE_ENTRIES**2, MIDDLE: CHUNK_SIZE, LAST: PAGE_SIZE}
"""Bytes that a leaf entry of a level maps."""
LEAF = int(Pte.R | Pte.W | Pte.X)
VALID = int(Pte.V)
FLAGS = (1 << PTE_PPN_SHIFT) - 1
PPN_MASK = (1 << 44) - 1

FREE_LIST_BYTES = 32
RECORD_BYTES = ctypes.sizeof(Record)


class Area(NamedTuple):
    """[start, start + size), physical."""

    start: int
    size: int

    @property
    def sound(self) -> bool:
        """True if it is a power of two of bytes, at least a page, at a multiple of itself."""
        size = self.size
        return size >= PAGE_SIZE and not size & (size - 1) and not self.start % size

    def has(self, address: int, size: int) -> bool:
        """True if it has all of [address, address + size)."""
        return self.start <= address and address + size <= self.start + self.size

    def overlaps(self, other: "Area") -> bool:
        """True if they have a byte in common."""
        return self.start < other.start + other.size and other.start < self.start + self.size

    def check_entries(self, pa: int, size: int) -> None:
        """Raise BadArgumentError unless [pa, pa + size) are whole entries in it."""
        if not self.has(pa, size) or pa % ENTRY_BYTES or size % ENTRY_BYTES:
            raise BadArgumentError(f"[{pa:#x}, +{size:#x}) are no entries in the area of page tables")


NO_AREA = Area(0, 0)


class Guard:
    """Of one machine.

    memory: what the host may name.  protect: protect(pa, size) lets these pages be read on the host's bus,
    and no longer be written by its hart.
    """

    def __init__(self, memory: HostMemory, protect: Callable[[int, int], None]) -> None:
        self._memory = memory
        self._protect = protect
        self._area = NO_AREA
        self._ends: tuple[int, int] | None = None
        """Where the root tables end, and the middle ones."""

    def answer(self, function: int, arguments: tuple[int, ...]) -> SbiResult | None:
        """Serve a call; None if it is none of the guard's, as 100 is not without an area."""
        handler = _CALLS.get(function)
        if handler is None or (function == GuardCall.START and not arguments[1]):
            return None
        try:
            if function != GuardCall.START and not self._area.size:
                raise BadArgumentError("the guard has not begun")
            handler(self, *arguments)
        except (BadArgumentError, AccessFault) as error:
            log.debug("guard: call %d%r refused: %s", function, arguments, error)
            return SbiResult(ErrorCode.GENERIC, arguments[1])
        return OK

    def created(self, param_pa: int) -> None:
        """The enclave of this create_param was made.

        After its end a driver that has begun with the guard reads in the first page of the image's region
        what else is to be freed: nothing is.
        """
        if self._area.size:
            param = CreateParam.from_buffer_copy(self._memory.read(param_pa, ctypes.sizeof(CreateParam)))
            self._memory.write(param.paddr, bytes(FREE_LIST_BYTES))

    # ---- calls ---------------------------------------------------------------------------------

    def _start(
        self, area_pa: int, area_size: int, place_pa: int, place_size: int, flag: int, *_: int
    ) -> None:
        area, place = Area(area_pa, area_size), Area(place_pa, place_size)
        if self._area.size:
            raise BadArgumentError("it begins once")
        if not (area.sound and place.sound) or area.overlaps(place):
            raise BadArgumentError("area and place are no powers of two, are not aligned, or overlap")
        for each in (area, place):
            self._memory.check(*each)
        self._memory.write(flag, (1).to_bytes(4, "little"))
        self._area = area
        self._protect(*area)

    def _divide(self, roots: int, middles: int, *_: int) -> None:
        area = self._area
        if self._ends is not None:
            raise BadArgumentError("the area is divided once")
        pages = area.size // PAGE_SIZE
        if max(roots, middles) >= pages.bit_length() or (1 << roots) + (1 << middles) >= pages:
            raise BadArgumentError(f"an area of {pages} pages cannot have 2^{roots} and 2^{middles} of them")
        root_end = area.start + (PAGE_SIZE << roots)
        ends = root_end, root_end + (PAGE_SIZE << middles)
        words = memoryview(self._memory.read(area.start, ends[MIDDLE] - area.start)).cast("Q")
        for place, entry in enumerate(words):
            if entry & VALID and not entry & LEAF:
                self._check(area.start + ENTRY_BYTES * place, entry, ends)
        self._ends = ends

    def _split(self, entry: int, page: int, *_: int) -> None:
        self._area.check_entries(entry, ENTRY_BYTES)
        self._area.check_entries(page, PAGE_SIZE)
        leaf = int.from_bytes(self._memory.read(entry, ENTRY_BYTES), "little")
        first, flags = leaf >> PTE_PPN_SHIFT & PPN_MASK, leaf & FLAGS
        words = (((first + n) << PTE_PPN_SHIFT | flags) for n in range(TABLE_ENTRIES))
        self._memory.write(page, b"".join(word.to_bytes(ENTRY_BYTES, "little") for word in words))
        self._put(entry, page >> 12 << PTE_PPN_SHIFT | VALID)

    def _write(self, reason: int, pa: int, value: int, size: int, *_: int) -> None:
        match reason:
            case Write.ONE:
                self._set(pa, value)
            case Write.CLEAR if not value:
                self._clear(pa, size)
            case Write.COPY:
                self._copy(pa, value, size)
            case Write.CLEAR_MANY:
                for where, length in self._records(pa, value):
                    self._clear(where, length)
            case Write.SET_MANY:
                for where, entry in self._records(pa, value):
                    self._set(where, entry)
            case _:
                raise BadArgumentError(f"nothing is written for reason {reason} with value {value:#x}")

    # ---- entries -------------------------------------------------------------------------------

    def _set(self, pa: int, entry: int) -> None:
        """One entry.  It is written even if what it shows is refused: the bus shows nothing of it."""
        self._area.check_entries(pa, ENTRY_BYTES)
        self._put(pa, entry)
        self._check(pa, entry, self._ends)

    def _clear(self, pa: int, size: int) -> None:
        self._area.check_entries(pa, size)
        self._memory.write(pa, bytes(size))

    def _copy(self, pa: int, source: int, size: int) -> None:
        self._area.check_entries(pa, size)
        data = self._memory.read(source, size)
        for place, entry in enumerate(memoryview(data).cast("Q")):
            self._check(pa + ENTRY_BYTES * place, entry, self._ends)
        self._memory.write(pa, data)

    def _records(self, pa: int, count: int) -> Iterator[tuple[int, int]]:
        if count > MAX_RECORDS:
            raise BadArgumentError(f"{count} records, of at most {MAX_RECORDS}")
        data = self._memory.read(pa, count * RECORD_BYTES)
        for record in (Record * count).from_buffer_copy(data):
            yield record.pa, record.value

    def _check(self, pa: int, entry: int, ends: tuple[int, int] | None) -> None:
        """Raise BadArgumentError unless an entry at pa shows the host's memory, or a table of the next level.

        ends: of the parts, or None as long as a table can lie anywhere.
        """
        if not entry & VALID:
            return
        level, target = _level(pa, ends), (entry >> PTE_PPN_SHIFT & PPN_MASK) << 12
        if entry & LEAF:
            allowed = target < self._memory.base or self._memory.owns(target, SPAN[level])
        elif self._area.has(target, PAGE_SIZE):
            allowed = ends is None or _level(target, ends) == level + 1
        else:
            allowed = False
        if not allowed:
            raise BadArgumentError(f"entry {entry:#x} at {pa:#x} shows what is private, or no table for it")

    def _put(self, pa: int, entry: int) -> None:
        self._memory.write(pa, entry.to_bytes(ENTRY_BYTES, "little"))


def _level(pa: int, ends: tuple[int, int] | None) -> int:
    """Of the table that holds pa.  Before the area is divided it is taken for a last one."""
    return LAST if ends is None else bisect_right(ends, pa)


_CALLS: dict[int, Callable[..., None]] = {
    GuardCall.START: Guard._start,
    GuardCall.DIVIDE: Guard._divide,
    GuardCall.SPLIT: Guard._split,
    GuardCall.WRITE: Guard._write,
}
