"""Programs that run on the original's machine as well: `penglai build --profile tvm`.

The linker has put them together like any other.  What is left to do is in the ELF: system calls go to the
library instead of a kernel, and headers that the original's driver would load are taken out.
"""

import struct
from pathlib import Path

from elftools.elf.constants import P_FLAGS, SH_FLAGS
from elftools.elf.elffile import ELFFile

from penglai.abi.errors import ToolchainError

ECALL = (0x73).to_bytes(4, "little")
MAGIC = b"PENGLAI1"
MAGIC_OFFSET, OFFSETS = 4, struct.Struct("<II")
GP = 3
REACH = 1 << 20
"""Bytes that a jal spans in each direction."""

PROGRAM_HEADER = 56
SECTION_HEADER = 64
NULL = 0
LOAD = (1).to_bytes(4, "little")


def make_portable(path: Path) -> None:
    """Make what the linker has made a program for both machines.  Raises ToolchainError."""
    data = bytearray(path.read_bytes())
    with path.open("rb") as file:
        elf = ELFFile(file)
        _redirect_ecalls(elf, data, path)
        _keep_loaded_headers(elf, data)
        _drop_thread_zeros(elf, data)
    path.write_bytes(data)


def instructions(code: bytes | bytearray) -> list[tuple[int, bytes]]:
    """(offset, bytes) of each instruction, one after the other."""
    found, offset = [], 0
    while offset + 2 <= len(code):
        size = 4 if code[offset] & 3 == 3 else 2
        found.append((offset, bytes(code[offset : offset + size])))
        offset += size
    return found


def _redirect_ecalls(elf: ELFFile, data: bytearray, path: Path) -> None:
    entry = elf["e_entry"]
    gate, end = _gate(elf, entry, path)
    for section in elf.iter_sections():
        if section["sh_type"] != "SHT_PROGBITS" or not section["sh_flags"] & SH_FLAGS.SHF_EXECINSTR:
            continue
        for offset, instruction in instructions(section.data()):
            address = section["sh_addr"] + offset
            if instruction != ECALL or entry <= address < end:
                continue
            place = section["sh_offset"] + offset
            data[place : place + 4] = _jal(gate - address, path).to_bytes(4, "little")


def _gate(elf: ELFFile, entry: int, path: Path) -> tuple[int, int]:
    """Addresses of the gate, and of the end of the code whose ecalls stay."""
    for segment in elf.iter_segments("PT_LOAD"):
        start = entry - segment["p_vaddr"]
        if 0 <= start < segment["p_filesz"]:
            head = segment.data()[start + MAGIC_OFFSET :][: len(MAGIC) + OFFSETS.size]
            if head.startswith(MAGIC):
                gate, end = OFFSETS.unpack(head[len(MAGIC) :])
                return entry + gate, entry + end
    raise ToolchainError(f"{path} does not begin with the library's entry: it cannot be made portable")


def _jal(distance: int, path: Path) -> int:
    if not -REACH <= distance < REACH:
        raise ToolchainError(f"{path} has more than 1 MiB of code, which is too much for --profile tvm")
    bits = distance & 0x1FFFFF
    return (
        (bits >> 20 & 1) << 31
        | (bits >> 1 & 0x3FF) << 21
        | (bits >> 11 & 1) << 20
        | (bits >> 12 & 0xFF) << 12
        | GP << 7
        | 0x6F
    )


def _keep_loaded_headers(elf: ELFFile, data: bytearray) -> None:
    """The original loads whatever a header names, of any type: only PT_LOADs stay."""
    start, count = elf["e_phoff"], elf["e_phnum"]
    headers = [bytes(data[start + n * PROGRAM_HEADER :][:PROGRAM_HEADER]) for n in range(count)]
    kept = [_without_thread_zeros(header) for header in headers if header[:4] == LOAD]
    table = b"".join(kept).ljust(count * PROGRAM_HEADER, b"\0")
    data[start : start + len(table)] = table
    data[56:58] = len(kept).to_bytes(2, "little")


def _without_thread_zeros(header: bytes) -> bytes:
    """What cannot be written has no zeros of its own behind its bytes, only what each thread begins with."""
    if header[4] & P_FLAGS.PF_W:
        return header
    return header[:40] + header[32:40] + header[48:]


def _drop_thread_zeros(elf: ELFFile, data: bytearray) -> None:
    """The original maps zeros for every section without bytes, also for what each thread has of its own."""
    for number, section in enumerate(elf.iter_sections()):
        if section["sh_type"] == "SHT_NOBITS" and section["sh_flags"] & SH_FLAGS.SHF_TLS:
            place = elf["e_shoff"] + number * SECTION_HEADER
            data[place + 4 : place + 8] = NULL.to_bytes(4, "little")
            data[place + 8 : place + SECTION_HEADER] = bytes(SECTION_HEADER - 8)
