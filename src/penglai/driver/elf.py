"""Reading an enclave program: a static ELF for 64-bit RISC-V."""

import io
from dataclasses import dataclass

from elftools.elf.constants import P_FLAGS, SH_FLAGS
from elftools.elf.elffile import ELFFile

from penglai.abi import layout
from penglai.abi.errors import ImageError
from penglai.abi.riscv import Pte


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


@dataclass(frozen=True)
class Program:
    """What an ELF says: where to begin, and what lies where."""

    entry: int
    segments: tuple[Segment, ...]


def parse(data: bytes, what: str) -> Program:
    """Read an ELF.  what: how to call it in messages.  Raises ImageError with the reason."""
    if data[:4] != b"\x7fELF":
        raise ImageError(f"{what} is not an ELF file; compile it with: penglai build")
    try:
        elf = ELFFile(io.BytesIO(data))
        _check_kind(elf, what)
        segments = [*_load_segments(elf, data, what), *_zero_sections(elf)]
        program = Program(elf.header["e_entry"], tuple(segment for segment in segments if segment.size))
    except ImageError:
        raise
    except Exception as error:  # whatever the parser makes of a damaged file
        raise ImageError(f"{what} is a damaged ELF file: {error or type(error).__name__}") from error
    _check_layout(program, what)
    return program


def _check_kind(elf: ELFFile, what: str) -> None:
    machine = elf.header["e_machine"]
    if machine != "EM_RISCV" or elf.elfclass != 64 or not elf.little_endian:
        raise ImageError(
            f"{what} is an ELF for {elf.get_machine_arch()} ({elf.elfclass} bit), not for 64-bit RISC-V"
        )
    if elf.header["e_type"] != "ET_EXEC" or any(True for _ in elf.iter_segments("PT_INTERP")):
        raise ImageError(
            f"{what} is not a static executable at fixed addresses; link it with -static -no-pie"
        )


def _load_segments(elf: ELFFile, data: bytes, what: str) -> list[Segment]:
    found = []
    whole = memoryview(data)
    for header in (segment.header for segment in elf.iter_segments("PT_LOAD")):
        offset, file_size, size = header["p_offset"], header["p_filesz"], header["p_memsz"]
        if offset + file_size > len(data):
            raise ImageError(
                f"{what} is truncated: a segment ends at {offset + file_size:#x} of {len(data):#x}"
            )
        if file_size > size:
            raise ImageError(f"{what} is a damaged ELF file: a segment has more data than space")
        flags = header["p_flags"]
        permissions = Pte(0)
        for flag, bit in ((P_FLAGS.PF_R, Pte.R), (P_FLAGS.PF_W, Pte.W), (P_FLAGS.PF_X, Pte.X)):
            if flags & flag:
                permissions |= bit
        content = whole[offset : offset + file_size]
        found.append(Segment(header["p_vaddr"], size, content, permissions))
    if not found:
        raise ImageError(f"{what} has nothing to load")
    return found


def _zero_sections(elf: ELFFile) -> list[Segment]:
    """Sections without file content; linkers that leave them out of the segments exist."""
    found = []
    for header in (section.header for section in elf.iter_sections()):
        flags = header["sh_flags"]
        in_memory = flags & SH_FLAGS.SHF_ALLOC and not flags & SH_FLAGS.SHF_TLS
        if header["sh_type"] != "SHT_NOBITS" or not in_memory or not header["sh_addr"]:
            continue
        permissions = Pte.R
        if flags & SH_FLAGS.SHF_WRITE:
            permissions |= Pte.W
        if flags & SH_FLAGS.SHF_EXECINSTR:
            permissions |= Pte.X
        found.append(Segment(header["sh_addr"], header["sh_size"], memoryview(b""), permissions))
    return found


def _check_layout(program: Program, what: str) -> None:
    for segment in program.segments:
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
    code = [segment for segment in program.segments if segment.permissions & Pte.X]
    if program.entry % 2 or not any(segment.address <= program.entry < segment.end for segment in code):
        raise ImageError(f"{what}: the entry point {program.entry:#x} is not in an executable segment")
