"""The kernel's names for a debugger: an ELF file that has a symbol table and nothing else.

It is made of System.map, which the cache keeps; the kernel as the linker left it is a hundred times as
large.  Source: System V ABI, chapter 4, "Object Files".
"""

import re
import struct
from itertools import pairwise
from pathlib import Path

from penglai.abi.errors import ImageError
from penglai.guest.image.current import Image, root
from penglai.guest.image.work import once, write_whole

LINE = re.compile(r"([0-9a-f]{16}) ([A-Za-z]) (\S+)\n?")
TEXT_START, TEXT_END = "_start", "_etext"

HEADER = struct.Struct("<16sHHIQQQIHHHHHH")
SECTION = struct.Struct("<IIQQQQIIQQ")
SYMBOL = struct.Struct("<IBBHQQ")
IDENT = b"\x7fELF\x02\x01\x01".ljust(16, b"\0")
ET_EXEC, EM_RISCV, DOUBLE_FLOAT = 2, 243, 5
SHT_SYMTAB, SHT_STRTAB, SHT_NOBITS = 2, 3, 8
SHF_ALLOC_EXEC = 6
STB_GLOBAL, STT_OBJECT, STT_FUNC = 1, 1, 2
TEXT, ABSOLUTE = 1, 0xFFF1
NAMES = b"\0.text\0.symtab\0.strtab\0.shstrtab\0"


def kernel_symbols(image: Image) -> Path:
    """A file for gdb's symbol-file.  Raises ImageError if the image's kernel has left no names."""
    directory = image.kernel.parent
    try:
        names = (directory / "tree" / "System.map").read_text()
    except OSError as error:
        raise ImageError(f"cannot read the names of {image.kernel}: {error.strerror}") from error
    made = once(
        root() / f"symbols-{directory.name}", lambda fresh: write_whole(fresh / "vmlinux", make(names))
    )
    return made / "vmlinux"


def make(names: str) -> bytes:
    """The file.  names: lines of address, letter and name, as nm prints them.  Raises ImageError."""
    found = [(int(each[1], 16), each[3]) for line in names.splitlines() if (each := LINE.fullmatch(line))]
    places = {name: address for address, name in found}
    if TEXT_START not in places or TEXT_END not in places:
        raise ImageError("the names of the kernel do not say where its code is")
    start, end = places[TEXT_START], places[TEXT_END]
    symbols, strings = bytearray(SYMBOL.size), bytearray(b"\0")
    for (address, name), (following, _) in pairwise([*sorted(found), (end, "")]):
        code = start <= address < end
        kind = STB_GLOBAL << 4 | (STT_FUNC if code else STT_OBJECT)
        size = max(0, following - address) if code else 0
        symbols += SYMBOL.pack(len(strings), kind, 0, TEXT if code else ABSOLUTE, address, size)
        strings += name.encode() + b"\0"
    return _file(start, end - start, bytes(symbols), bytes(strings))


def _file(start: int, size: int, symbols: bytes, strings: bytes) -> bytes:
    body, places = b"", []
    for part in (symbols, strings, NAMES):
        places.append((HEADER.size + len(body), len(part)))
        body += part.ljust(-(-len(part) // 8) * 8, b"\0")
    name = {text: NAMES.index(text) for text in (b".text", b".symtab", b".strtab", b".shstrtab")}
    sections = [
        bytes(SECTION.size),
        SECTION.pack(name[b".text"], SHT_NOBITS, SHF_ALLOC_EXEC, start, HEADER.size, size, 0, 0, 4, 0),
        SECTION.pack(name[b".symtab"], SHT_SYMTAB, 0, 0, *places[0], 3, 1, 8, SYMBOL.size),
        SECTION.pack(name[b".strtab"], SHT_STRTAB, 0, 0, *places[1], 0, 0, 1, 0),
        SECTION.pack(name[b".shstrtab"], SHT_STRTAB, 0, 0, *places[2], 0, 0, 1, 0),
    ]
    table = HEADER.size + len(body)
    counts = HEADER.size, 0, 0, SECTION.size, len(sections), len(sections) - 1
    header = HEADER.pack(IDENT, ET_EXEC, EM_RISCV, 1, 0, 0, table, DOUBLE_FLOAT, *counts)
    return header + body + b"".join(sections)
