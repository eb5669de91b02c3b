"""An enclave's page table: Sv39, written by the monitor alone, in pages that the monitor owns."""

from collections.abc import Iterator
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from penglai.abi.errors import MonitorBug
from penglai.abi.layout import ADDRESS_BITS
from penglai.abi.riscv import PTE_PPN_SHIFT, TABLE_ENTRIES, Pte
from penglai.machine.context import make_satp
from penglai.machine.memory import PhysicalMemory
from penglai.machine.pages import Pages

Addresses = NDArray[np.uint64]
"""Virtual addresses of pages, ascending, bits 38..12 (bits above are a copy of bit 38)."""

TABLE_SHIFT = 21
"""A leaf table maps this many bits of address, a middle table 9 more."""
MIDDLE_SHIFT = 30

PREFIX_MASK = (1 << (ADDRESS_BITS - TABLE_SHIFT)) - 1

VALID, WRITABLE, ACCESSED, DIRTY = int(Pte.V), int(Pte.W), int(Pte.A), int(Pte.D)
"""As plain numbers: they are used at every pointer of an enclave."""

LEAF_BITS = np.uint64(Pte.V | Pte.A)


class PageTable:
    """A three-level table.  It never asks for memory: who maps brings the table pages along.

    tables: numbers of the pages that hold the table, root first.
    """

    def __init__(self, memory: PhysicalMemory, root_page: int) -> None:
        self._memory = memory
        self._ppn_base = memory.base >> 12
        self._middle: dict[int, int] = {}
        self._leaf: dict[int, int] = {}
        self.tables: list[int] = [root_page]

    @property
    def satp(self) -> int:
        """The value of satp that makes a hart translate through this table."""
        return make_satp(self._memory.address_of(self.tables[0]))

    def missing_tables(self, addresses: Addresses) -> int:
        """How many table pages `map` of these addresses needs beyond those that are there."""
        leaves = _groups(addresses, TABLE_SHIFT) - self._leaf.keys()
        middles = {leaf >> 9 for leaf in leaves} - self._middle.keys()
        return len(leaves) + len(middles)

    def map(self, addresses: Addresses, pages: Pages, permissions: NDArray[np.uint8], spare: Pages) -> None:
        """Map each address to its page.

        permissions: R, W, X and U bits of each.  spare: zeroed pages of the monitor for new tables, as many
        as `missing_tables` said.
        """
        self._add_leaves(_groups(addresses, TABLE_SHIFT), spare)
        bits = permissions.astype(np.uint64)
        writable = np.uint64(Pte.W)
        ppns = pages.astype(np.uint64) + np.uint64(self._ppn_base)
        entries = ppns << np.uint64(PTE_PPN_SHIFT) | bits | LEAF_BITS
        entries |= np.where(bits & writable, np.uint64(Pte.D), np.uint64(0))
        for table, slots, chosen in self._slots(addresses):
            if self._memory.words[table][slots].any():
                raise MonitorBug("mapping a page over another")
            self._memory.words[table][slots] = entries[chosen]

    # ---- ranges: consecutive pages, which is all that changes once an enclave runs -----------------

    def missing_tables_for(self, start: int, count: int) -> int:
        """How many table pages `map_range` of count pages from start on needs beyond those there are."""
        leaves = [prefix for prefix, *_ in _runs(start, count) if prefix not in self._leaf]
        return len(leaves) + len({prefix >> 9 for prefix in leaves} - self._middle.keys())

    def map_range(self, start: int, pages: Pages, permissions: int, spare: Pages) -> None:
        """Map consecutive addresses from start on to pages, all with these R, W, X and U bits.

        spare: as for `map`, as many as `missing_tables_for` said.
        """
        if len(spare):
            self._add_leaves({prefix for prefix, *_ in _runs(start, len(pages))}, spare)
        flags = permissions | VALID | ACCESSED | (DIRTY if permissions & WRITABLE else 0)
        entries = pages.astype(np.uint64)
        entries += np.uint64(self._ppn_base)
        entries <<= np.uint64(PTE_PPN_SHIFT)
        entries |= np.uint64(flags)
        for prefix, slot, first, last in _runs(start, len(pages)):
            place = self._memory.words[self._leaf[prefix], slot : slot + last - first]
            if place.any():
                raise MonitorBug("mapping a page over another")
            place[:] = entries[first:last]

    def unmap_range(self, start: int, count: int) -> None:
        """Take count mappings from start on away.  The harts' TLBs are the caller's to flush."""
        for prefix, slot, first, last in _runs(start, count):
            place = self._memory.words[self._leaf[prefix], slot : slot + last - first]
            if not place.all():
                raise MonitorBug("unmapping a page that is not mapped")
            place[:] = 0

    def lookup(self, address: int) -> tuple[int, int] | None:
        """(page number, PTE) of what address is mapped to, or None."""
        table = self._leaf.get(address >> TABLE_SHIFT & PREFIX_MASK)
        if table is None:
            return None
        pte = int(self._memory.words[table, address >> 12 & (TABLE_ENTRIES - 1)])
        return ((pte >> PTE_PPN_SHIFT) - self._ppn_base, pte) if pte & VALID else None

    def redirect(self, address: int, page: int) -> None:
        """Let a mapped address show another page, with the same permissions."""
        table = self._leaf[address >> TABLE_SHIFT & PREFIX_MASK]
        slot = address >> 12 & (TABLE_ENTRIES - 1)
        flags = int(self._memory.words[table, slot]) & ((1 << PTE_PPN_SHIFT) - 1)
        self._memory.words[table, slot] = (page + self._ppn_base) << PTE_PPN_SHIFT | flags

    def mappings(self) -> Iterator[tuple[int, int, int]]:
        """Every mapping as (virtual address bits 38..0, page number, PTE), read back from memory."""
        for prefix, table in self._leaf.items():
            words = self._memory.words[table]
            for slot in np.flatnonzero(words):
                pte = int(words[slot])
                page = (pte >> PTE_PPN_SHIFT) - self._ppn_base
                yield prefix << TABLE_SHIFT | int(slot) << 12, page, pte

    def _add_leaves(self, prefixes: set[int], spare: Pages) -> None:
        unused = iter(spare.tolist())
        for prefix in sorted(prefixes - self._leaf.keys()):
            middle = self._middle.get(prefix >> 9)
            if middle is None:
                middle = self._middle[prefix >> 9] = self._add_table(self.tables[0], prefix >> 9, unused)
            self._leaf[prefix] = self._add_table(middle, prefix % TABLE_ENTRIES, unused)
        if next(unused, None) is not None:
            raise MonitorBug("more table pages than the mapping needs")

    def _add_table(self, parent: int, slot: int, unused: Iterator[int]) -> int:
        page = next(unused)
        self.tables.append(page)
        self._memory.words[parent][slot] = (page + self._ppn_base) << PTE_PPN_SHIFT | Pte.V
        return page

    def _slots(self, addresses: Addresses) -> Iterator[tuple[int, NDArray[np.intp], slice]]:
        """(table page, slots in it, which of the addresses) for each leaf table they lie in."""
        prefixes = _field(addresses, TABLE_SHIFT)
        cuts = np.flatnonzero(prefixes[1:] != prefixes[:-1]) + 1
        for start, end in pairwise([0, *cuts.tolist(), len(prefixes)] if len(prefixes) else []):
            slots = (addresses[start:end] >> np.uint64(12)).astype(np.intp) % TABLE_ENTRIES
            yield self._leaf[int(prefixes[start])], slots, slice(start, end)


def _runs(start: int, count: int) -> list[tuple[int, int, int, int]]:
    """For each leaf table of count pages from start on: its prefix, the first slot in it, and which of the
    pages, from first to last."""
    page = start >> 12
    found = []
    first = 0
    while first < count:
        slot = (page + first) % TABLE_ENTRIES
        last = min(count, first + TABLE_ENTRIES - slot)
        found.append(((page + first) >> 9 & PREFIX_MASK, slot, first, last))
        first = last
    return found


def _field(addresses: Addresses, shift: int) -> NDArray[np.int64]:
    """Bits 38..shift of each address."""
    return (addresses.astype(np.int64) >> shift) & ((1 << (39 - shift)) - 1)


def _groups(addresses: Addresses, shift: int) -> set[int]:
    return set(np.unique(_field(addresses, shift)).tolist())
