"""An enclave's page table: Sv39, written by the monitor alone, in pages that the monitor owns."""

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from penglai.abi.errors import MonitorBug
from penglai.abi.riscv import PAGE_SIZE, PTE_PPN_SHIFT, TABLE_ENTRIES, Pte
from penglai.machine.context import make_satp
from penglai.machine.memory import PhysicalMemory
from penglai.machine.pages import Pages
from penglai.machine.sv39 import PAGE_NUMBER_MASK, TABLE_BITS, TablePlan

Addresses = NDArray[np.uint64]
"""Virtual addresses of pages, bits 38..12 (bits above are a copy of bit 38)."""

Entries = NDArray[np.uint64]
"""Entries of page tables."""

LEAF_SHIFT = 21
"""A leaf table maps this many bits of address."""

OFFSET_MASK = PAGE_SIZE - 1
PREFIX_MASK = PAGE_NUMBER_MASK >> TABLE_BITS

VALID, WRITABLE, ACCESSED, DIRTY = int(Pte.V), int(Pte.W), int(Pte.A), int(Pte.D)
"""As plain numbers: they are used at every pointer of an enclave."""

PIECE = TABLE_ENTRIES // 2
"""Entries that are dealt with at once.  For more than 500 items numpy lets other threads run meanwhile: where
they want Python's lock too, getting it back takes far longer than the entries do."""


class PageTable:
    """A three-level table.  It never asks for memory: who maps brings the table pages along.

    tables: numbers of the pages that hold the table, root first.  changes: how often it was changed.
    """

    def __init__(self, memory: PhysicalMemory, plan: TablePlan, tables: Pages, words: Entries) -> None:
        """Fill zeroed pages of the monitor, as many as the plan says.

        words: the entry of each of the plan's pages, at its place among the words of all tables; the entries
        that point to tables are added to it here.
        """
        self._memory = memory
        self._words = memory.flat_words
        self._ppn_base = memory.base >> 12
        self.changes = 1
        self.tables: list[int] = tables.tolist()
        self.satp = make_satp(memory.address_of(self.tables[0]))
        """What makes a hart translate through this table."""
        self._middle: dict[int, int] = {prefix: self.tables[number] for prefix, number in plan.middle.items()}
        self._leaf: dict[int, int] = {prefix: self.tables[number] for prefix, number in plan.leaf.items()}
        words[plan.links] = make_entries(memory, tables[1:], VALID)
        if np.count_nonzero(words) != len(plan.slots) + len(plan.links):
            raise MonitorBug("mapping a page over another")
        memory.words[tables] = words.reshape(plan.tables, TABLE_ENTRIES)

    # ---- ranges: consecutive pages, which is all that changes once an enclave runs -----------------

    def missing_tables_for(self, start: int, count: int) -> int:
        """How many table pages `map_range` of count pages from start on needs beyond those there are."""
        leaves = {prefix for prefix, *_ in _runs(start, count)} - self._leaf.keys()
        if not leaves:
            return 0
        return len(leaves) + len({prefix >> TABLE_BITS for prefix in leaves} - self._middle.keys())

    def map_range(self, start: int, pages: Pages, permissions: int, spare: Pages) -> None:
        """Map consecutive addresses from start on to pages, all with these R, W, X and U bits.

        spare: zeroed pages of the monitor for new tables, as many as `missing_tables_for` said.
        """
        runs = _runs(start, len(pages))
        self.changes += 1
        if len(spare):
            self._add_leaves({prefix for prefix, *_ in runs}, spare)
        entries = make_entries(self._memory, pages, entry_flags(permissions))
        for prefix, slot, first, last in runs:
            place = self._memory.words[self._leaf[prefix], slot : slot + last - first]
            if np.count_nonzero(place):
                raise MonitorBug("mapping a page over another")
            place[:] = entries[first:last]

    def unmap_range(self, start: int, count: int) -> None:
        """Take count mappings from start on away.  The harts' TLBs are the caller's to flush."""
        self.changes += 1
        for prefix, slot, first, last in _runs(start, count):
            place = self._memory.words[self._leaf[prefix], slot : slot + last - first]
            if np.count_nonzero(place) != last - first:
                raise MonitorBug("unmapping a page that is not mapped")
            place[:] = 0

    def take_over(self, start: int, other: "PageTable", old: int, count: int, spare: Pages) -> None:
        """Map from start on what another table maps from old on, with the same permissions, and it no more.

        spare: as for `map_range`.  The harts' TLBs are the caller's to flush.
        """
        self.changes += 1
        other.changes += 1
        if len(spare):
            self._add_leaves({prefix for prefix, *_ in _runs(start, count)}, spare)
        done = 0
        while done < count:
            here, there = (start >> 12) + done, (old >> 12) + done
            slot, old_slot = here % TABLE_ENTRIES, there % TABLE_ENTRIES
            size = min(count - done, PIECE - max(slot % PIECE, old_slot % PIECE))
            table, old_table = self._leaf_of(here), other._leaf_of(there)
            place = self._memory.words[table, slot : slot + size]
            source = self._memory.words[old_table, old_slot : old_slot + size]
            if np.count_nonzero(place):
                raise MonitorBug("mapping a page over another")
            if np.count_nonzero(source) != size:
                raise MonitorBug("moving a page that is not mapped")
            place[:] = source
            source[:] = 0
            done += size

    def pages_at(self, start: int, count: int) -> Pages:
        """The pages that count mappings from start on show, which are all there."""
        numbers = np.empty(count, dtype=np.uint64)
        shift = np.uint64(PTE_PPN_SHIFT)
        for prefix, slot, first, last in _runs(start, count):
            entries = self._memory.words[self._leaf[prefix], slot : slot + last - first]
            np.right_shift(entries, shift, out=numbers[first:last])
        if np.count_nonzero(numbers) != count:
            raise MonitorBug("looking for a page that is not mapped")
        pages = numbers.view(np.int64)
        pages -= self._ppn_base
        return pages

    # ---- single pages ------------------------------------------------------------------------------

    def reach(self, address: int, need: int) -> int | None:
        """The physical address that address is mapped to with all of these R, W, X bits, or None."""
        table = self._leaf.get(address >> LEAF_SHIFT & PREFIX_MASK)
        if table is None:
            return None
        pte = self._words[table * TABLE_ENTRIES + (address >> 12 & (TABLE_ENTRIES - 1))]
        need |= VALID
        return (pte >> PTE_PPN_SHIFT << 12) | (address & OFFSET_MASK) if pte & need == need else None

    def redirect(self, address: int, page: int) -> None:
        """Let a mapped address show another page, with the same permissions."""
        self.changes += 1
        table = self._leaf[address >> LEAF_SHIFT & PREFIX_MASK]
        place = table * TABLE_ENTRIES + (address >> 12 & (TABLE_ENTRIES - 1))
        flags = self._words[place] & ((1 << PTE_PPN_SHIFT) - 1)
        self._words[place] = (page + self._ppn_base) << PTE_PPN_SHIFT | flags

    def leaves(self) -> tuple[NDArray[np.int64], Pages, Entries]:
        """Every mapping, read back from memory: addresses (bits 38..0), ascending, pages, and entries."""
        prefixes = sorted(self._leaf)
        words = self._memory.words[[self._leaf[prefix] for prefix in prefixes]]
        places, slots = np.nonzero(words)
        entries = words[places, slots]
        addresses = np.array(prefixes, dtype=np.int64)[places] << LEAF_SHIFT | slots << 12
        pages = (entries >> np.uint64(PTE_PPN_SHIFT)).astype(np.int64) - self._ppn_base
        return addresses, pages, entries

    def mappings(self) -> Iterator[tuple[int, int, int]]:
        """The same one by one: (address, page number, entry)."""
        yield from zip(*(numbers.tolist() for numbers in self.leaves()), strict=True)

    def _leaf_of(self, number: int) -> int:
        """The leaf table for a page number, which has one."""
        return self._leaf[number >> TABLE_BITS & PREFIX_MASK]

    def _add_leaves(self, prefixes: set[int], spare: Pages) -> None:
        unused = iter(spare.tolist())
        for prefix in sorted(prefixes - self._leaf.keys()):
            middle = self._middle.get(prefix >> TABLE_BITS)
            if middle is None:
                middle = self._add_table(self.tables[0], prefix >> TABLE_BITS, unused)
                self._middle[prefix >> TABLE_BITS] = middle
            self._leaf[prefix] = self._add_table(middle, prefix % TABLE_ENTRIES, unused)
        if next(unused, None) is not None:
            raise MonitorBug("more table pages than the mapping needs")

    def _add_table(self, parent: int, slot: int, unused: Iterator[int]) -> int:
        page = next(unused)
        self.tables.append(page)
        self._words[parent * TABLE_ENTRIES + slot] = (page + self._ppn_base) << PTE_PPN_SHIFT | VALID
        return page


def page_numbers(addresses: Addresses) -> NDArray[np.int64]:
    """The virtual page numbers of addresses."""
    return (addresses.astype(np.int64) >> 12) & PAGE_NUMBER_MASK


def make_entries(memory: PhysicalMemory, pages: Pages, flags: "int | Entries") -> Entries:
    """Entries that show these pages.  flags: the lower bits, of all of them or of each."""
    entries = pages.astype(np.uint64)
    entries += np.uint64(memory.base >> 12)
    entries <<= np.uint64(PTE_PPN_SHIFT)
    entries |= np.uint64(flags) if isinstance(flags, int) else flags
    return entries


def entry_flags(permissions: int) -> int:
    """The lower bits of an entry with these R, W, X and U bits.  A hart never has to write to a table."""
    return permissions | VALID | ACCESSED | (DIRTY if permissions & WRITABLE else 0)


FLAGS = np.array([entry_flags(permissions) for permissions in range(256)], dtype=np.uint64)
"""`entry_flags` of every number, for arrays."""


def _runs(start: int, count: int) -> list[tuple[int, int, int, int]]:
    """For each piece of a leaf table of count pages from start on: the table's prefix, the first slot, and
    which of the pages, from first to last."""
    page = start >> 12
    found = []
    first = 0
    while first < count:
        slot = (page + first) % TABLE_ENTRIES
        last = min(count, first + PIECE - slot % PIECE)
        found.append(((page + first) >> TABLE_BITS & PREFIX_MASK, slot, first, last))
        first = last
    return found
