"""Laying out an image: pages, and the page table that describes them to the monitor (docs/abi.md, section 2).

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
from penglai.driver.elf import Program, Segment, parse
from penglai.machine.sv39 import plan_tables

MAX_STACK_SIZE = layout.STACK_TOP - layout.MMAP_TOP
SMALL_IMAGE = 4 << 20
SMALL_TEMPLATES_KEPT = 16
"""So many images of up to 4 MiB, and the latest larger one, stay laid out: creating one again is fast."""


@dataclass(frozen=True)
class Template:
    """An image laid out at physical address 0: `head` moves it.

    addresses, permissions, sources: of each page that the enclave gets, in ascending order, stack included:
    where it lies, its R, W, X and U bits, and its number among the pages with content, from 1, or 0.
    content: the pages with content, one after the other; they lie behind the head.
    """

    entry: int
    addresses: NDArray[np.uint64]
    permissions: NDArray[np.uint8]
    sources: NDArray[np.int64]
    tables: NDArray[np.uint64]
    content: bytes

    @property
    def pages(self) -> int:
        """How many pages the enclave gets, stack included."""
        return len(self.addresses)

    @property
    def head_size(self) -> int:
        """Bytes before the content."""
        return PAGE_SIZE * (1 + len(self.tables))

    @property
    def size(self) -> int:
        """Bytes of the region that the image needs in the host's memory."""
        return self.head_size + len(self.content)

    def head(self, paddr: int) -> bytes:
        """The page of zeros and the tables, for a region that begins at physical address paddr."""
        base = np.uint64(paddr >> 12 << PTE_PPN_SHIFT)
        moved = np.where(self.tables != 0, self.tables + base, np.uint64(0))
        return bytes(PAGE_SIZE) + moved.tobytes()

    def read(self, which: slice) -> bytes:
        """The content of a range of the pages, by their index."""
        pages = np.zeros((len(self.sources[which]), PAGE_SIZE), dtype=np.uint8)
        filled = np.flatnonzero(self.sources[which])
        content = np.frombuffer(self.content, dtype=np.uint8).reshape(-1, PAGE_SIZE)
        pages[filled] = content[self.sources[which][filled] - 1]
        return pages.tobytes()


@dataclass(frozen=True)
class Stretch:
    """Consecutive pages from address on, with the permissions of each; the first of them have content."""

    address: int
    permissions: NDArray[np.uint8]
    content: bytes


def make_template(data: bytes, stack_size: int | None, what: str, memory_pages: int) -> Template:
    """Parse and lay out an ELF.

    stack_size: bytes, rounded up to pages; None for an image without a stack, which a shadow template is.

    Raises ImageError, BadArgumentError for a stack that the address space has no room for, NoMemoryError
    if the image needs more than memory_pages pages.
    """
    if stack_size is not None and not 0 < stack_size <= MAX_STACK_SIZE:
        raise BadArgumentError(
            f"a stack of {stack_size} bytes: it must have 1 to {MAX_STACK_SIZE:#x} bytes; 65536 is usual"
        )
    build = _build_small if len(data) <= SMALL_IMAGE else _build_large
    return build(data, stack_size, what, memory_pages)


def _build(data: bytes, stack_size: int | None, what: str, memory_pages: int) -> Template:
    program = parse(data, what)
    stack_pages = -(-(stack_size or 0) // PAGE_SIZE)
    count = stack_pages + sum(-(-segment.size // PAGE_SIZE) for segment in program.segments)
    if count > memory_pages:
        raise NoMemoryError(
            f"{what} needs {count * PAGE_SIZE >> 20} MiB with its stack, and the machine has "
            f"{memory_pages * PAGE_SIZE >> 20} MiB; start it with more memory"
        )
    stack = np.full(stack_pages, Pte.R | Pte.W, dtype=np.uint8)
    stretches = [
        *_stretches(program, what),
        Stretch(layout.STACK_TOP - stack_pages * PAGE_SIZE, stack, b""),
    ]
    addresses = np.concatenate(
        [stretch.address + PAGE_SIZE * np.arange(len(stretch.permissions)) for stretch in stretches]
    )
    permissions = np.concatenate([stretch.permissions for stretch in stretches]) | np.uint8(Pte.U)
    sources = _sources(stretches)
    return Template(
        entry=program.entry,
        addresses=addresses.astype(np.uint64),
        permissions=permissions,
        sources=sources,
        tables=_make_tables(addresses >> 12, permissions.astype(np.uint64), sources),
        content=b"".join(stretch.content for stretch in stretches),
    )


_build_small = functools.lru_cache(maxsize=SMALL_TEMPLATES_KEPT)(_build)
_build_large = functools.lru_cache(maxsize=1)(_build)


def _stretches(program: Program, what: str) -> list[Stretch]:
    """The program's segments as stretches of pages; those that share pages become one."""
    groups: list[list[Segment]] = []
    for segment in sorted(program.segments, key=lambda segment: segment.address):
        if groups and segment.address & -PAGE_SIZE < max(other.end for other in groups[-1]):
            groups[-1].append(segment)
        else:
            groups.append([segment])
    return [_stretch(group, what) for group in groups]


def _stretch(segments: list[Segment], what: str) -> Stretch:
    start = segments[0].address & -PAGE_SIZE
    page_count = -(-(max(segment.end for segment in segments) - start) // PAGE_SIZE)
    ends = [segment.address + len(segment.data) - start for segment in segments if len(segment.data)]
    permissions = np.zeros(page_count, dtype=np.uint8)
    content = bytearray(-(-max(ends, default=0) // PAGE_SIZE) * PAGE_SIZE)
    for segment in segments:
        offset = segment.address - start
        last = -(-(segment.end - start) // PAGE_SIZE)
        permissions[offset // PAGE_SIZE : last] |= np.uint8(segment.permissions)
        content[offset : offset + len(segment.data)] = segment.data
    both = np.flatnonzero((permissions & (Pte.W | Pte.X)) == (Pte.W | Pte.X))
    if len(both):
        page = start + int(both[0]) * PAGE_SIZE
        raise ImageError(f"{what}: code and data share the page {page:#x}; align segments to 4096")
    return Stretch(start, permissions, bytes(content))


def _sources(stretches: list[Stretch]) -> NDArray[np.int64]:
    """For each page, its number among the pages with content, from 1; 0 if it has none."""
    sources = []
    used = 0
    for stretch in stretches:
        filled = len(stretch.content) // PAGE_SIZE
        own = np.zeros(len(stretch.permissions), dtype=np.int64)
        own[:filled] = used + 1 + np.arange(filled)
        sources.append(own)
        used += filled
    return np.concatenate(sources)


def _make_tables(
    pages: NDArray[np.int64], flags: NDArray[np.uint64], sources: NDArray[np.int64]
) -> NDArray[np.uint64]:
    """The Sv39 table, root first, for a region at physical address 0.

    pages: virtual page numbers, ascending.  sources: 0 for the page of zeros, n for the n-th of content.
    """
    plan = plan_tables(pages)
    words = np.zeros(plan.tables * TABLE_ENTRIES, dtype=np.uint64)
    shift, valid = np.uint64(PTE_PPN_SHIFT), np.uint64(Pte.V)
    words[plan.links] = np.arange(2, 1 + plan.tables, dtype=np.uint64) << shift | valid  # table 0 is page 1
    ppns = np.where(sources == 0, 0, sources + plan.tables).astype(np.uint64)
    words[plan.slots] = ppns << shift | flags | valid
    return words.reshape(plan.tables, TABLE_ENTRIES)
