"""ELF files made by hand, the tables that images are described by, and the loader of penglai.ko."""

import ctypes
import functools
import struct
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from penglai.abi.riscv import PAGE_SIZE, PTE_PPN_SHIFT
from penglai.sdk.hostbuild import module_dir
from penglai.toolchain.cache import compile_cached

SHIM = Path(__file__).parent / "module"
PADDR = 0x8020_0000
R, W, X = 4, 2, 1
"""p_flags."""
ALLOC, WRITE, EXEC, TLS = 2, 1, 4, 0x400
"""sh_flags."""
PT_LOAD, NULL, PROGBITS, NOBITS = 1, 0, 1, 8
SHOFF, SHENTSIZE, SHNUM, SHSTRNDX = 40, 58, 60, 62
"""Where the header has them."""
HEADER, PROGRAM_HEADER, SECTION_HEADER = "<16sHHIQQQIHHHHHH", "<IIQQQQQQ", "<IIQQQQIIQQ"


@dataclass(frozen=True)
class Segment:
    """A program header, and what it names in the file; offset: where else it says that this lies."""

    address: int
    size: int
    data: bytes = b""
    flags: int = R
    type: int = PT_LOAD
    offset: int | None = None


@dataclass(frozen=True)
class Section:
    """A section header."""

    address: int
    size: int
    type: int = NOBITS
    flags: int = ALLOC | WRITE


CODE = Segment(0x1000, 4, b"\x6f\0\0\0", R | X)


def elf_file(
    segments: Sequence[Segment] = (CODE,), sections: Sequence[Section] = (), entry: int = 0x1000
) -> bytes:
    """The header, the program headers, what the segments hold, and, if there are any, section headers."""
    headers, content = b"", b""
    start = 64 + 56 * len(segments)
    for segment in segments:
        offset = start + len(content) if segment.offset is None else segment.offset
        values = (segment.address, segment.address, len(segment.data), segment.size, PAGE_SIZE)
        headers += struct.pack(PROGRAM_HEADER, segment.type, segment.flags, offset, *values)
        content += segment.data
    ident = b"\x7fELF\2\1\1".ljust(16, b"\0")
    header = struct.pack(HEADER, ident, 2, 243, 1, entry, 64, 0, 0, 64, 56, len(segments), 0, 0, 0)
    return with_sections(header + headers + content, sections)


def with_sections(data: bytes, sections: Sequence[Section]) -> bytes:
    """A file with a new section table at its end, or none."""
    table = [Section(0, 0, NULL, 0), *sections] if sections else []
    changed = bytearray(data)
    struct.pack_into("<Q", changed, SHOFF, len(data) if table else 0)
    struct.pack_into("<HHH", changed, SHENTSIZE, 64, len(table), 0)
    for section in table:
        values = (section.type, section.flags, section.address, 0, section.size, 0, 0, 1, 0)
        changed += struct.pack(SECTION_HEADER, 0, *values)
    return bytes(changed)


def walk(raw: bytes, paddr: int) -> dict[int, tuple[int, bytes]]:
    """Virtual address -> (bits of its entry, content) of everything that an image at paddr maps."""

    def table(ppn: int) -> NDArray[np.uint64]:
        start = (ppn << 12) - paddr
        return np.frombuffer(raw[start : start + PAGE_SIZE], dtype="<u8")

    found = {}
    for top, first in enumerate(table((paddr >> 12) + 1)):
        for middle, second in enumerate(table(int(first) >> PTE_PPN_SHIFT) if first else []):
            for slot, entry in enumerate(table(int(second) >> PTE_PPN_SHIFT) if second else []):
                if entry:
                    start = (int(entry) >> PTE_PPN_SHIFT << 12) - paddr
                    address = top << 30 | middle << 21 | slot << 12
                    found[address] = (int(entry) & 0xFF, raw[start : start + PAGE_SIZE])
    return found


class _Contig(ctypes.Structure):
    """struct contig."""

    _fields_ = (
        ("virt", ctypes.c_void_p),
        ("pa", ctypes.c_uint64),
        ("size", ctypes.c_size_t),
        ("dma", ctypes.c_uint64),
    )


@functools.cache
def _module() -> ctypes.CDLL:
    """elf.c and image.c of penglai.ko, compiled for this machine on the shim's kernel."""
    sources = [SHIM / "load.c", module_dir() / "elf.c", module_dir() / "image.c"]
    headers = [*sorted(SHIM.rglob("*.h")), module_dir() / "abi.h", module_dir() / "image.h"]
    flags = ["-shared", "-fPIC", "-O1", "-g0", "-std=gnu2x", "-Wall", "-Werror"]
    checks = ["-fsanitize=undefined", "-fsanitize-trap=undefined"]
    arguments = [*flags, *checks, f"-I{SHIM}", f"-I{module_dir()}", *sources]
    library = compile_cached("module-loader.so", arguments, [*sources, *headers])
    loaded = ctypes.CDLL(str(library))
    loaded.load.argtypes = (
        *(ctypes.c_char_p, ctypes.c_size_t, ctypes.c_ulong, ctypes.c_ulong),
        *(ctypes.POINTER(_Contig), ctypes.POINTER(ctypes.c_uint64)),
    )
    return loaded


@dataclass(frozen=True)
class Loaded:
    """What a loader makes of a file: an errno, or an entry and all pages with bits and content."""

    error: int = 0
    entry: int = 0
    pages: dict[int, tuple[int, bytes]] | None = None


def load_in_module(data: bytes, stack_size: int, memory_pages: int) -> Loaded:
    """As penglai.ko loads a file."""
    image, entry = _Contig(), ctypes.c_uint64()
    error = _module().load(data, len(data), stack_size, memory_pages, image, entry)
    if error:
        return Loaded(-error)
    raw = ctypes.string_at(image.virt, image.size)
    _module().contig_free(ctypes.byref(image))
    return Loaded(0, entry.value, walk(raw, image.pa))
