"""Reading an enclave program: a static ELF for 64-bit RISC-V (docs/abi.md, section 2).

What is loaded is what the segments say, as on Linux.  The section table adds zeros where no segment lies, if
it has any to add; whatever else is in it, or wrong with it, changes nothing.  `sdk/module/elf.c` does alike.
"""

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

from elftools.elf.constants import P_FLAGS, SH_FLAGS

from penglai.abi import layout
from penglai.abi.errors import ImageError
from penglai.abi.riscv import PAGE_SIZE, Pte

MAGIC = b"\x7fELF"
CLASS_64, LITTLE_ENDIAN = 2, 1
EXECUTABLE = 2
RISCV = 243
MACHINES = {3: "x86", 8: "MIPS", 21: "PowerPC", 40: "ARM", 62: "x64", 183: "AArch64", RISCV: "RISC-V"}
"""e_machine of what people have on their disks."""

PT_LOAD, PT_INTERP = 1, 3
PT_RISCV_ATTRIBUTES = 0x7000_0003
SHT_NULL, SHT_NOBITS = 0, 8

MAX_PROGRAM_HEADERS_SIZE = 1 << 16
"""Bytes; Linux takes no more either."""

MAX_ZERO_SECTIONS = 64
MAX_ZERO_BYTES = 512 << 20
"""So much the section table may add: the original's driver takes no more."""


class _Header(NamedTuple):
    """The ELF header; fields are called as in the specification, without their prefix."""

    ident: bytes
    type: int
    machine: int
    version: int
    entry: int
    phoff: int
    shoff: int
    flags: int
    ehsize: int
    phentsize: int
    phnum: int
    shentsize: int
    shnum: int
    shstrndx: int


class _ProgramHeader(NamedTuple):
    """A segment."""

    type: int
    flags: int
    offset: int
    vaddr: int
    paddr: int
    filesz: int
    memsz: int
    align: int


class _SectionHeader(NamedTuple):
    """A section."""

    name: int
    type: int
    flags: int
    addr: int
    offset: int
    size: int
    link: int
    info: int
    addralign: int
    entsize: int


HEADER = struct.Struct("<16sHHIQQQIHHHHHH")
PROGRAM_HEADER = struct.Struct("<IIQQQQQQ")
SECTION_HEADER = struct.Struct("<IIQQQQIIQQ")


@dataclass(frozen=True)
class Segment:
    """A piece of the address space: data, then zeros up to size bytes.  permissions: R, W, X bits."""

    address: int
    size: int
    data: memoryview
    permissions: Pte

    @property
    def end(self) -> int:
        """The first address behind it."""
        return self.address + self.size

    def contains(self, other: "Segment") -> bool:
        """True if all of the other lies in it."""
        return self.address <= other.address and other.end <= self.end

    def overlaps(self, other: "Segment") -> bool:
        """True if some of the other lies in it."""
        return self.address < other.end and other.address < self.end


@dataclass(frozen=True)
class Program:
    """What an ELF says: where to begin, and what lies where.

    segments: in the file's order.  zeros: sections outside them; a page that a segment has is the segment's.
    """

    entry: int
    segments: tuple[Segment, ...]
    zeros: tuple[Segment, ...] = ()


def parse(data: bytes, what: str) -> Program:
    """Read an ELF.  what: how to call it in messages.  Raises ImageError with the reason."""
    header = _read_header(data, what)
    segments = tuple(_load_segments(header, data, what))
    _check_layout(header.entry, segments, what)
    return Program(header.entry, segments, _zero_sections(header, data, segments))


def attributes(data: bytes, what: str) -> bytes:
    """What a header of RISC-V attributes names, for which there is no place in memory: its address is 0.

    Penglai-TVM's driver loads it there all the same, if it is no more than a page.  Raises ImageError.
    """
    header = _read_header(data, what)
    for each in _program_headers(header, data, what):
        if each.type == PT_RISCV_ATTRIBUTES and not each.vaddr and 0 < each.filesz <= PAGE_SIZE:
            return data[each.offset : each.offset + each.filesz]
    return b""


def _read_header(data: bytes, what: str) -> _Header:
    if data[:4] != MAGIC:
        raise ImageError(f"{what} is not an ELF file; compile it with: penglai build")
    if len(data) < HEADER.size:
        raise ImageError(f"{what} is a damaged ELF file: its header is cut short")
    header = _Header._make(HEADER.unpack_from(data))
    bits = 64 if header.ident[4] == CLASS_64 else 32
    if header.machine != RISCV or bits != 64 or header.ident[5] != LITTLE_ENDIAN:
        machine = MACHINES.get(header.machine, f"machine {header.machine}")
        raise ImageError(f"{what} is an ELF for {machine} ({bits} bit), not for 64-bit RISC-V")
    if header.type != EXECUTABLE:
        raise _not_static(what)
    return header


def _not_static(what: str) -> ImageError:
    return ImageError(f"{what} is not a static executable at fixed addresses; link it with -static -no-pie")


def _program_headers(header: _Header, data: bytes, what: str) -> Iterator[_ProgramHeader]:
    size = header.phnum * PROGRAM_HEADER.size
    if header.phentsize != PROGRAM_HEADER.size or size > MAX_PROGRAM_HEADERS_SIZE:
        raise ImageError(f"{what} is a damaged ELF file: its table of segments is none")
    if header.phoff + size > len(data):
        raise ImageError(f"{what} is a damaged ELF file: its table of segments lies outside")
    return map(_ProgramHeader._make, PROGRAM_HEADER.iter_unpack(data[header.phoff : header.phoff + size]))


def _load_segments(header: _Header, data: bytes, what: str) -> Iterator[Segment]:
    whole = memoryview(data)
    for segment in _program_headers(header, data, what):
        if segment.type == PT_INTERP:
            raise _not_static(what)
        if segment.type != PT_LOAD:
            continue
        if segment.filesz > segment.memsz:
            raise ImageError(f"{what} is a damaged ELF file: a segment has more data than space")
        end = segment.offset + segment.filesz
        if segment.filesz and end > len(data):
            raise ImageError(f"{what} is truncated: a segment ends at {end:#x} of {len(data):#x}")
        content = whole[segment.offset : end] if segment.filesz else whole[:0]
        if segment.memsz:
            yield Segment(segment.vaddr, segment.memsz, content, _permissions(segment.flags))


def _permissions(flags: int) -> Pte:
    found = Pte(0)
    for flag, bit in ((P_FLAGS.PF_R, Pte.R), (P_FLAGS.PF_W, Pte.W), (P_FLAGS.PF_X, Pte.X)):
        if flags & flag:
            found |= bit
    return found


def _zero_sections(header: _Header, data: bytes, segments: tuple[Segment, ...]) -> tuple[Segment, ...]:
    """Sections without content outside all segments: programs of Penglai's own SDK count on them.

    One that is partly inside a segment contradicts it, and is none.
    """
    found: list[Segment] = []
    room = MAX_ZERO_BYTES
    for section in _sections(header, data):
        zeros = _zeros(section)
        if zeros is None or any(segment.overlaps(zeros) for segment in segments):
            continue
        if len(found) < MAX_ZERO_SECTIONS and zeros.size <= room:
            found.append(zeros)
            room -= zeros.size
    return tuple(found)


def _sections(header: _Header, data: bytes) -> Iterator[_SectionHeader]:
    """The section table; nothing if there is none, or what the header calls one is none."""
    end = header.shoff + header.shnum * SECTION_HEADER.size
    if header.shentsize != SECTION_HEADER.size or end > len(data):
        return
    sections = map(_SectionHeader._make, SECTION_HEADER.iter_unpack(data[header.shoff : end]))
    first = next(sections, None)
    if first is not None and first.type == SHT_NULL:
        yield from sections


def _zeros(section: _SectionHeader) -> Segment | None:
    """The memory of a section that has some and no content, in the region of an enclave's program."""
    in_memory = section.flags & SH_FLAGS.SHF_ALLOC and not section.flags & SH_FLAGS.SHF_TLS
    if section.type != SHT_NOBITS or not in_memory or not section.size:
        return None
    permissions = Pte.R | Pte.W if section.flags & SH_FLAGS.SHF_WRITE else Pte.R
    zeros = Segment(section.addr, section.size, memoryview(b""), permissions)
    return zeros if zeros.address >= layout.TEXT_BASE and zeros.end <= layout.HEAP_BASE else None


def _check_layout(entry: int, segments: tuple[Segment, ...], what: str) -> None:
    if not segments:
        raise ImageError(f"{what} has nothing to load")
    for segment in segments:
        where = f"segment {segment.address:#x}..{segment.end:#x}"
        if segment.permissions & Pte.W and segment.permissions & Pte.X:
            raise ImageError(f"{what}: {where} is writable and executable; keep code and data apart")
        if not segment.permissions & (Pte.R | Pte.X):
            raise ImageError(f"{what}: {where} is neither readable nor executable")
        if segment.address < layout.TEXT_BASE or segment.end > layout.HEAP_BASE:
            raise ImageError(
                f"{what}: {where} lies outside {layout.TEXT_BASE:#x}..{layout.HEAP_BASE:#x}, "
                "where an enclave's program goes; link it with the SDK's linker script"
            )
    code = [segment for segment in segments if segment.permissions & Pte.X]
    if entry % 2 or not any(segment.address <= entry < segment.end for segment in code):
        raise ImageError(f"{what}: the entry point {entry:#x} is not in an executable segment")
