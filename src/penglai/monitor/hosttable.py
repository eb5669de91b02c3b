"""Reading the page table with which the host describes an image.  Everything in it is hostile.

Each table page is checked and copied once, and only the copy is used.  What comes out is plain data:
which host page is to be copied to which address, with which permissions.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from penglai.abi import layout
from penglai.abi.riscv import PAGE_SIZE, PTE_PPN_SHIFT, PTE_RESERVED, TABLE_ENTRIES, Pte
from penglai.machine.pages import Pages
from penglai.monitor.ownership import Ownership
from penglai.monitor.pagetable import Addresses
from penglai.monitor.refusal import bad_argument, breach

VALID, RESERVED, PPN_SHIFT = np.uint64(Pte.V), np.uint64(PTE_RESERVED), np.uint64(PTE_PPN_SHIFT)
PERMISSIONS = np.uint64(Pte.R | Pte.W | Pte.X | Pte.U)
NOT_IN_POINTERS = int(Pte.R | Pte.W | Pte.X | Pte.U | Pte.A | Pte.D) | PTE_RESERVED
"""Bits that are zero in an entry that points to another table."""
USER, USABLE, WRITABLE_CODE = np.uint8(Pte.U), np.uint8(Pte.R | Pte.X), np.uint8(Pte.W | Pte.X)
"""Plain numbers, once: an operation on flags takes 5 µs."""

ROOT_OFFSET = PAGE_SIZE
"""The root of the host's table lies this far into [paddr, paddr + size)."""


@dataclass(frozen=True)
class ImagePages:
    """The pages of an image, in ascending order of address.

    addresses: virtual, n of them.  sources: numbers of the host's pages.  permissions: R, W, X, U bits.
    """

    addresses: Addresses
    sources: Pages
    permissions: NDArray[np.uint8]


def read_image(ownership: Ownership, paddr: int, size: int) -> ImagePages:
    """Walk the table whose root is at paddr + 4096 and check every page that it maps.

    The table and the pages lie in [paddr, paddr + size), of which every page is the host's when it is read.
    Raises Refusal for a table that leaves the region, is no tree, or has reserved bits, superpages or
    pages without U, that are writable and executable, or outside the text and stack regions.
    """
    walker = _Walker(ownership, paddr, size)
    parts: list[tuple[int, NDArray[np.intp], NDArray[np.uint64]]] = []
    for top, middle in walker.pointers(paddr + ROOT_OFFSET):
        for index, leaf in walker.pointers(middle):
            slots, entries = walker.leaves(leaf)
            parts.append(((top << 18 | index << 9) << 12, slots, entries))
    if not any(len(slots) for _, slots, _ in parts):
        raise bad_argument("the image has no page")
    addresses = np.concatenate(
        [np.uint64(base) + (slots.astype(np.uint64) << 12) for base, slots, _ in parts]
    )
    entries = np.concatenate([found for _, _, found in parts])
    permissions = (entries & PERMISSIONS).astype(np.uint8)
    _check_permissions(permissions)
    _check_layout(addresses)
    return ImagePages(addresses, walker.pages_of(entries), permissions)


class _Walker:
    def __init__(self, ownership: Ownership, paddr: int, size: int) -> None:
        self._ownership = ownership
        self._first = paddr >> 12
        self._count = size >> 12
        self._ram_base = ownership.ram_base >> 12
        self._seen: set[int] = set()

    def pointers(self, table: int) -> list[tuple[int, int]]:
        """(index, physical address of the next table) for each valid entry of a root or middle table."""
        found = []
        entries = self._copy(table)
        for index in np.flatnonzero(entries & VALID):
            entry = int(entries[index])
            if entry & NOT_IN_POINTERS:
                raise breach(f"entry {entry:#x} of table {table:#x} is a superpage or has reserved bits")
            found.append((int(index), entry >> PTE_PPN_SHIFT << 12))
        return found

    def leaves(self, table: int) -> tuple[NDArray[np.intp], NDArray[np.uint64]]:
        """(indices, entries) of the valid entries of a leaf table."""
        entries = self._copy(table)
        slots = np.flatnonzero(entries & VALID)
        entries = entries[slots]
        if (entries & RESERVED).any():
            raise breach(f"an entry of table {table:#x} has reserved bits")
        return slots, entries

    def pages_of(self, entries: NDArray[np.uint64]) -> Pages:
        """Page numbers in RAM of what leaf entries map; all of them lie in the region."""
        ppns = (entries >> PPN_SHIFT).astype(np.int64)
        if ((ppns < self._first) | (ppns >= self._first + self._count)).any():
            raise breach("a page of the image lies outside the region")
        return ppns - self._ram_base

    def _copy(self, table: int) -> NDArray[np.uint64]:
        ppn = table >> 12
        if not self._first <= ppn < self._first + self._count:
            raise breach(f"table {table:#x} lies outside the region")
        if ppn in self._seen:
            raise breach(f"table {table:#x} is used twice")
        self._seen.add(ppn)
        entries = np.frombuffer(self._ownership.read_host(table, PAGE_SIZE, align=PAGE_SIZE), dtype="<u8")
        assert len(entries) == TABLE_ENTRIES
        return entries


def _check_permissions(permissions: NDArray[np.uint8]) -> None:
    if not (permissions & USER).all():
        raise breach("a page of the image is not a user page")
    if not (permissions & USABLE).all():
        raise breach("a page of the image is neither readable nor executable")
    if ((permissions & WRITABLE_CODE) == WRITABLE_CODE).any():
        raise breach("a page of the image is writable and executable")


def _check_layout(addresses: Addresses) -> None:
    image = (addresses >= layout.TEXT_BASE) & (addresses < layout.HEAP_BASE)
    stack = (addresses >= layout.MMAP_TOP) & (addresses < layout.STACK_TOP)
    if not (image | stack).all():
        raise breach("a page of the image lies outside the text and stack regions")
