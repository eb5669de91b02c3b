"""Laying out an image: pages, and the page table that describes them to the monitor (abi.md, section 2).

paddr            one page of zeros: every page without content is this one
paddr + 4096     root of the table, then its other pages
then             the pages with content
"""

import functools
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from penglai.abi import layout
from penglai.abi.errors import BadArgumentError, ImageError, NoMemoryError
from penglai.abi.riscv import PAGE_SIZE, PTE_PPN_SHIFT, TABLE_ENTRIES, Pte
from penglai.driver.elf import Program, parse

MAX_STACK_SIZE = layout.STACK_TOP - layout.MMAP_TOP
TEMPLATES_KEPT = 32
TEMPLATE_LIMIT = 4 << 20
"""Images up to this many bytes stay parsed, so that creating the same one again is fast."""


@dataclass(frozen=True)
class Template:
    """An image laid out at physical address 0: `place` moves it.

    pages: how many pages the enclave gets, stack included.
    """

    entry: int
    pages: int
    tables: NDArray[np.uint64]
    content: bytes

    @property
    def size(self) -> int:
        """Bytes of the region that the image needs in the host's memory."""
        return PAGE_SIZE * (1 + len(self.tables)) + len(self.content)

    def place(self, paddr: int) -> bytes:
        """The region's bytes when it begins at physical address paddr."""
        base = np.uint64(paddr >> 12 << PTE_PPN_SHIFT)
        moved = np.where(self.tables != 0, self.tables + base, np.uint64(0))
        return bytes(PAGE_SIZE) + moved.tobytes() + self.content


def make_template(data: bytes, stack_size: int, what: str, memory_pages: int) -> Template:
    """Parse and lay out an ELF.  stack_size: bytes, rounded up to pages.

    Raises ImageError, BadArgumentError for a stack that the address space has no room for, NoMemoryError
    if the image needs more than memory_pages pages.
    """
    if not 0 < stack_size <= MAX_STACK_SIZE:
        raise BadArgumentError(
            f"a stack of {stack_size} bytes: it must have 1 to {MAX_STACK_SIZE:#x} bytes; 65536 is usual"
        )
    build = _build_kept if len(data) <= TEMPLATE_LIMIT else _build
    return build(data, stack_size, what, memory_pages)


def _build(data: bytes, stack_size: int, what: str, memory_pages: int) -> Template:
    program = parse(data, what)
    stack_pages = -(-stack_size // PAGE_SIZE)
    count = stack_pages + sum(-(-segment.size // PAGE_SIZE) for segment in program.segments)
    if count > memory_pages:
        raise NoMemoryError(
            f"{what} needs {count * PAGE_SIZE >> 20} MiB with its stack, and the machine has "
            f"{memory_pages * PAGE_SIZE >> 20} MiB; start it with more memory"
        )
    permissions, content = _pages_of(program, what)
    stack_bottom = layout.STACK_TOP - stack_pages * PAGE_SIZE
    addresses = np.array(
        [*sorted(permissions), *range(stack_bottom, layout.STACK_TOP, PAGE_SIZE)], dtype=np.uint64
    )
    flags = np.full(len(addresses), Pte.R | Pte.W, dtype=np.uint64)
    flags[:-stack_pages] = [permissions[page] for page in sorted(permissions)]
    filled = sorted(content)
    sources = np.zeros(len(addresses), dtype=np.uint64)
    sources[np.searchsorted(addresses, np.array(filled, dtype=np.uint64))] = np.arange(1, len(filled) + 1)
    tables = _make_tables(addresses, flags, sources)
    return Template(program.entry, len(addresses), tables, b"".join(content[page] for page in filled))


_build_kept = functools.lru_cache(maxsize=TEMPLATES_KEPT)(_build)


def _pages_of(program: Program, what: str) -> tuple[dict[int, int], dict[int, bytearray]]:
    """Permissions of every page, and the content of those that have some, by address."""
    permissions: dict[int, int] = {}
    content: dict[int, bytearray] = {}
    for segment in program.segments:
        for page in range(segment.address & -PAGE_SIZE, segment.end, PAGE_SIZE):
            merged = permissions.get(page, 0) | segment.permissions
            if merged & Pte.W and merged & Pte.X:
                raise ImageError(f"{what}: code and data share the page {page:#x}; align segments to 4096")
            permissions[page] = int(merged)
        first = segment.address & -PAGE_SIZE
        for page in range(first, segment.address + len(segment.data), PAGE_SIZE):
            start = max(page, segment.address)
            end = min(page + PAGE_SIZE, segment.address + len(segment.data))
            target = content.setdefault(page, bytearray(PAGE_SIZE))
            target[start - page : end - page] = segment.data[start - segment.address : end - segment.address]
    return permissions, content


def _make_tables(
    addresses: NDArray[np.uint64], flags: NDArray[np.uint64], sources: NDArray[np.uint64]
) -> NDArray[np.uint64]:
    """The Sv39 table, root first, for a region at physical address 0.

    sources: 0 for the page of zeros, n for the n-th page of content.
    """
    pages = (addresses >> np.uint64(12)).astype(np.int64)
    leaves, leaf_of = np.unique(pages >> 9, return_inverse=True)
    middles, middle_of = np.unique(leaves >> 9, return_inverse=True)
    first_leaf = 1 + len(middles)
    tables = np.zeros((first_leaf + len(leaves), TABLE_ENTRIES), dtype=np.uint64)
    first_content = 1 + len(tables)
    tables[0, middles] = _pointers(1 + np.arange(len(middles)))
    tables[1 + middle_of, leaves % TABLE_ENTRIES] = _pointers(first_leaf + np.arange(len(leaves)))
    ppns = np.where(sources == 0, 0, sources.astype(np.int64) + first_content - 1).astype(np.uint64)
    bits = flags | np.uint64(Pte.V | Pte.U)
    tables[first_leaf + leaf_of, pages % TABLE_ENTRIES] = ppns << np.uint64(PTE_PPN_SHIFT) | bits
    return tables


def _pointers(table_numbers: NDArray[np.int64]) -> NDArray[np.uint64]:
    """Entries that point to tables; table 0 lies in page 1."""
    return (table_numbers + 1).astype(np.uint64) << np.uint64(PTE_PPN_SHIFT) | np.uint64(Pte.V)
