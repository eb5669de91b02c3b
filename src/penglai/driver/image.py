"""Laying out an image: pages, and the page table that describes them to the monitor (docs/abi.md, section 2).

paddr            one page of zeros: every page without content is this one
paddr + 4096     root of the table, then its other pages
then             the pages with content
"""

import functools
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from penglai.abi import layout
from penglai.abi.errors import BadArgumentError, ImageError, NoMemoryError
from penglai.abi.riscv import PAGE_SIZE, PTE_PPN_SHIFT, TABLE_ENTRIES, Pte
from penglai.driver.elf import Program, Segment, parse
from penglai.machine.sv39 import plan_tables

MAX_STACK_SIZE = layout.STACK_TOP - layout.MMAP_TOP
SMALL_IMAGE = 4 << 20
SMALL_IMAGES_KEPT = 16
"""So many images of up to 4 MiB, and the latest larger one, stay laid out: creating one again is fast."""


@dataclass(frozen=True)
class PagedImage:
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


@dataclass
class Span:
    """Consecutive pages from start on, and what lies there, by address: the next piece begins behind them."""

    start: int
    end: int = 0
    segments: list[Segment] = field(default_factory=list)
    zeros: list[Segment] = field(default_factory=list)

    @property
    def pages(self) -> int:
        """How many pages it has."""
        return -(-(self.end - self.start) // PAGE_SIZE)

    def add(self, piece: Segment, is_zeros: bool) -> None:
        """Take in the next piece by address."""
        (self.zeros if is_zeros else self.segments).append(piece)
        self.end = max(self.end, piece.end)


def paged_image(data: bytes, stack_size: int | None, what: str, memory_pages: int) -> PagedImage:
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


def _build(data: bytes, stack_size: int | None, what: str, memory_pages: int) -> PagedImage:
    program = parse(data, what)
    spans = _spans(program)
    stack_pages = -(-(stack_size or 0) // PAGE_SIZE)
    count = stack_pages + sum(span.pages for span in spans)
    if count > memory_pages:
        raise NoMemoryError(
            f"{what} needs {count * PAGE_SIZE >> 20} MiB with its stack, and the machine has "
            f"{memory_pages * PAGE_SIZE >> 20} MiB; start it with more memory"
        )
    stack = np.full(stack_pages, Pte.R | Pte.W, dtype=np.uint8)
    stretches = [
        *(_stretch(span, what) for span in spans),
        Stretch(layout.STACK_TOP - stack_pages * PAGE_SIZE, stack, b""),
    ]
    addresses = np.concatenate(
        [stretch.address + PAGE_SIZE * np.arange(len(stretch.permissions)) for stretch in stretches]
    )
    permissions = np.concatenate([stretch.permissions for stretch in stretches]) | np.uint8(Pte.U)
    sources = _sources(stretches)
    return PagedImage(
        entry=program.entry,
        addresses=addresses.astype(np.uint64),
        permissions=permissions,
        sources=sources,
        tables=_make_tables(addresses >> 12, permissions.astype(np.uint64), sources),
        content=b"".join(stretch.content for stretch in stretches),
    )


_build_small = functools.lru_cache(maxsize=SMALL_IMAGES_KEPT)(_build)
_build_large = functools.lru_cache(maxsize=1)(_build)


def _spans(program: Program) -> list[Span]:
    """The program's memory as spans: pieces that share pages are in one."""
    pieces = [(piece, False) for piece in program.segments] + [(piece, True) for piece in program.zeros]
    spans: list[Span] = []
    for piece, is_zeros in sorted(pieces, key=lambda pair: pair[0].address):
        if not spans or piece.address & -PAGE_SIZE >= spans[-1].end:
            spans.append(Span(piece.address & -PAGE_SIZE))
        spans[-1].add(piece, is_zeros)
    return spans


def _stretch(span: Span, what: str) -> Stretch:
    permissions = _permissions(span, span.segments)
    permissions = np.where(permissions == 0, _permissions(span, span.zeros), permissions)
    both = np.flatnonzero((permissions & (Pte.W | Pte.X)) == (Pte.W | Pte.X))
    if len(both):
        page = span.start + int(both[0]) * PAGE_SIZE
        raise ImageError(f"{what}: code and data share the page {page:#x}; align segments to 4096")
    ends = [piece.address + len(piece.data) - span.start for piece in span.segments if len(piece.data)]
    content = bytearray(-(-max(ends, default=0) // PAGE_SIZE) * PAGE_SIZE)
    for piece in span.segments:
        offset = piece.address - span.start
        content[offset : offset + len(piece.data)] = piece.data
    return Stretch(span.start, permissions, bytes(content))


def _permissions(span: Span, pieces: list[Segment]) -> NDArray[np.uint8]:
    """For each page of a span, all that these pieces allow there."""
    found = np.zeros(span.pages, dtype=np.uint8)
    for piece in pieces:
        first, last = (piece.address - span.start) // PAGE_SIZE, -(-(piece.end - span.start) // PAGE_SIZE)
        found[first:last] |= np.uint8(piece.permissions)
    return found


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
