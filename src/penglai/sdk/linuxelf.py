"""Reading programs and libraries for Linux on RISC-V: what Linux would load, and where."""

import io
from collections.abc import Iterator
from dataclasses import dataclass, replace

from elftools.common.exceptions import ELFError
from elftools.elf.constants import P_FLAGS
from elftools.elf.elffile import ELFFile
from elftools.elf.segments import InterpSegment

from penglai.abi.errors import ImageError
from penglai.abi.riscv import PAGE_SIZE

MAGIC = b"\x7fELF"
READ, WRITE, EXECUTE = 1, 2, 4
"""As in mmap and mprotect."""


@dataclass(frozen=True)
class Loaded:
    """Whole pages of a program: data, then zeros up to size bytes.  offset: of the data in the file."""

    address: int
    size: int
    data: bytes
    protection: int
    offset: int

    @property
    def end(self) -> int:
        """The first address behind it."""
        return self.address + self.size


@dataclass(frozen=True)
class LinuxElf:
    """A program or library.  moves: it can be loaded anywhere.  headers: address of its program headers.

    interpreter: path of the program that loads it, or an empty text.
    """

    entry: int
    moves: bool
    headers: int
    header_count: int
    interpreter: str
    segments: tuple[Loaded, ...]

    def at(self, base: int) -> "LinuxElf":
        """The same, loaded at a base address."""
        moved = tuple(replace(part, address=part.address + base) for part in self.segments)
        return replace(self, entry=self.entry + base, headers=self.headers + base, segments=moved)

    @property
    def end(self) -> int:
        """The first address behind it."""
        return max(part.end for part in self.segments)


def is_library(data: bytes) -> bool:
    """True for an ELF for 64-bit RISC-V that can be loaded anywhere."""
    return data[:4] == MAGIC and data[4:6] == b"\x02\x01" and data[16:20] == b"\x03\x00\xf3\x00"


def read_linux_elf(data: bytes, what: str) -> LinuxElf:
    """Read a file.  what: how to call it in messages.  Raises ImageError with the reason."""
    if data[:4] != MAGIC:
        raise ImageError(f"{what} is not an ELF file: it cannot be run")
    try:
        return _read(ELFFile(io.BytesIO(data)), data, what)
    except (ELFError, ValueError, AttributeError, KeyError, OverflowError) as error:
        raise ImageError(f"{what} is a damaged ELF file: {error}") from error


def _read(elf: ELFFile, data: bytes, what: str) -> LinuxElf:
    if elf["e_machine"] != "EM_RISCV" or elf.elfclass != 64 or not elf.little_endian:
        raise ImageError(f"{what} is not for 64-bit RISC-V; fetch or build it for riscv64 Linux")
    if elf["e_type"] not in ("ET_EXEC", "ET_DYN"):
        raise ImageError(f"{what} is no program: an object file has to be linked first")
    headers, interpreter = 0, ""
    for segment in elf.iter_segments():
        if isinstance(segment, InterpSegment):
            interpreter = segment.get_interp_name()
        if segment["p_type"] == "PT_LOAD" and segment["p_offset"] <= elf["e_phoff"] < (
            segment["p_offset"] + segment["p_filesz"]
        ):
            headers = segment["p_vaddr"] + elf["e_phoff"] - segment["p_offset"]
    segments = tuple(_load(elf, data, what))
    if not segments:
        raise ImageError(f"{what} has nothing to load")
    moves = elf["e_type"] == "ET_DYN"
    return LinuxElf(elf["e_entry"], moves, headers, elf["e_phnum"], interpreter, segments)


def _load(elf: ELFFile, data: bytes, what: str) -> Iterator[Loaded]:
    for segment in elf.iter_segments():
        if segment["p_type"] != "PT_LOAD" or not segment["p_memsz"]:
            continue
        address, offset, size = segment["p_vaddr"], segment["p_offset"], segment["p_filesz"]
        if offset + size > len(data) or size > segment["p_memsz"] or (address - offset) % PAGE_SIZE:
            raise ImageError(f"{what} is truncated or damaged: a segment does not lie in it")
        protection = _protection(segment["p_flags"])
        if protection & WRITE and protection & EXECUTE:
            raise ImageError(
                f"{what} has pages that are writable and executable, which an enclave cannot have; "
                "link it without -z execstack or --omagic"
            )
        before = address % PAGE_SIZE
        start, end = address - before, -(-(address + segment["p_memsz"]) // PAGE_SIZE) * PAGE_SIZE
        # Linux maps whole pages of the file; behind the data of what can be written it puts zeros
        last = offset + size if protection & WRITE else -(-(offset + size) // PAGE_SIZE) * PAGE_SIZE
        yield Loaded(start, end - start, data[offset - before : last], protection, offset - before)


def _protection(flags: int) -> int:
    pairs = ((P_FLAGS.PF_R, READ), (P_FLAGS.PF_W, WRITE), (P_FLAGS.PF_X, EXECUTE))
    return sum(bit for flag, bit in pairs if flags & flag)
