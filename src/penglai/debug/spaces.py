"""What recorder and replay compute alike of an enclave: its registers, what its page table shows, digests."""

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from penglai.abi.layout import ADDRESS_BITS
from penglai.abi.riscv import PAGE_SHIFT, PAGE_SIZE, PTE_PPN_SHIFT, TABLE_ENTRIES, Pte
from penglai.debug.recording import REGISTERS
from penglai.machine.context import Context
from penglai.machine.memory import PhysicalMemory

REGISTER_BYTES = 8 * REGISTERS
"""Of a `Context`: those that the enclave itself sees are its first words."""

A0, BEHIND_A0, PC = 80, 88, 8 * (REGISTERS - 1)
"""Where these are among the bytes of registers."""

LEAF = int(Pte.R | Pte.W | Pte.X)
VALID, WRITABLE = int(Pte.V), int(Pte.W)
PPN_MASK = (1 << 44) - 1
LEVELS = 3
CANONICAL = (0, (1 << 65 - ADDRESS_BITS) - 1)
"""What the upper bits of an Sv39 address are: all bit 38."""
BATCH = 256
"""Pages that are copied at once."""

Entries = NDArray[np.uint64]


def registers(context: Context) -> bytes:
    """A copy of them."""
    return bytes(context)[:REGISTER_BYTES]


def register_digest(found: bytes) -> bytes:
    """8 bytes that are others for other registers."""
    return hashlib.blake2b(found, digest_size=8).digest()


def changes(before: bytes, now: bytes) -> tuple[tuple[int, int], ...]:
    """(index, value) of each register that is another one now."""
    if before[:A0] == now[:A0] and before[BEHIND_A0:PC] == now[BEHIND_A0:PC]:  # nearly always
        a0 = (A0 // 8, int.from_bytes(now[A0:BEHIND_A0], "little"))
        pc = (PC // 8, int.from_bytes(now[PC:], "little"))
        if before[PC:] == now[PC:]:
            return (a0,)
        return (pc,) if before[A0:BEHIND_A0] == now[A0:BEHIND_A0] else (a0, pc)
    words = np.frombuffer(now, dtype="<u8")
    found = np.flatnonzero(words != np.frombuffer(before, dtype="<u8"))
    return tuple(
        (index, value) for index, value in zip(found.tolist(), words[found].tolist(), strict=True) if index
    )


def pages_of(entries: Entries, base: int) -> list[tuple[int, int]]:
    """(page, bits) of those of a table's entries that map pages."""
    leaf = (entries & np.uint64(VALID) != 0) & (entries & np.uint64(LEAF) != 0)
    return [(page_of(entry, base), entry & 0xFF) for entry in entries[leaf].tolist()]


def page_of(entry: int, base: int) -> int:
    """The number of the page that an entry shows.  base: physical address of page 0."""
    return (entry >> PTE_PPN_SHIFT & PPN_MASK) - (base >> PAGE_SHIFT)


@dataclass(frozen=True)
class Reach:
    """What a page table says: the pages that it maps, with the bits of their entries, and its own pages."""

    pages: dict[int, int]
    tables: frozenset[int]


def reach(memory: PhysicalMemory, satp: int) -> Reach:
    """What a page table says, as far as it lies in RAM."""
    tables = [(satp & PPN_MASK) - (memory.base >> PAGE_SHIFT)]
    pages: dict[int, int] = {}
    seen: set[int] = set()
    for _ in range(LEVELS):
        below: set[int] = set()
        for table in (each for each in tables if 0 <= each < memory.page_count):
            seen.add(table)
            entries = memory.words[table].copy()
            pages.update(pages_of(entries, memory.base))
            links = (entries & np.uint64(VALID) != 0) & (entries & np.uint64(LEAF) == 0)
            below.update(page_of(entry, memory.base) for entry in entries[links].tolist())
        tables = sorted(below)
    inside = {page: bits for page, bits in pages.items() if 0 <= page < memory.page_count}
    return Reach(inside, frozenset(seen))


def physical(memory: PhysicalMemory, satp: int, address: int) -> int | None:
    """The physical address that an address is mapped to, or None."""
    if address >> ADDRESS_BITS - 1 not in CANONICAL:
        return None
    table = (satp & PPN_MASK) - (memory.base >> PAGE_SHIFT)
    for shift in (30, 21, PAGE_SHIFT):
        if not 0 <= table < memory.page_count:
            return None
        entry = int(memory.words[table][address >> shift & TABLE_ENTRIES - 1])
        if not entry & VALID:
            return None
        table = page_of(entry, memory.base)
        if entry & LEAF:
            inside = shift == PAGE_SHIFT and 0 <= table < memory.page_count  # there are no larger pages
            return memory.address_of(table) + address % PAGE_SIZE if inside else None
    return None


def digest(memory: PhysicalMemory, mapped: dict[int, int], but: Iterable[int]) -> bytes:
    """16 bytes of what is on the pages that can be written, in ascending order; some are left out."""
    pages = sorted({page for page, bits in mapped.items() if bits & WRITABLE}.difference(but))
    found = hashlib.blake2b(digest_size=16)
    for first in range(0, len(pages), BATCH):
        some = pages[first : first + BATCH]
        found.update(np.array(some, dtype="<u8").tobytes())
        found.update(memory.pages[some].tobytes())
    return found.digest()
