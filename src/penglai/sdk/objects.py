"""Looking into object files: do they need the C++ library?"""

import io
import itertools
from collections.abc import Iterator
from pathlib import Path

from elftools.common.exceptions import ELFError
from elftools.elf.elffile import ELFFile
from elftools.elf.sections import SymbolTableSection

ARCHIVE, THIN_ARCHIVE = b"!<arch>\n", b"!<thin>\n"
MEMBER_HEADER_SIZE = 60
BITCODE = b"BC\xc0\xde"
CXX_NAMES = ("_Z", "__cxa_", "__gxx_personality")
"""How names begin that only C++ refers to: Itanium C++ ABI, mangling and exceptions."""


def refers_to_cxx(path: Path) -> bool:
    """True if an object file, or a member of an archive, refers to what is C++'s; False for other files."""
    return any(_refers_to_cxx(data) for data in _objects(path))


def _refers_to_cxx(data: bytes) -> bool:
    if data.startswith(BITCODE):
        return any(name.encode() in data for name in CXX_NAMES)
    try:
        elf = ELFFile(io.BytesIO(data))
        tables = [section for section in elf.iter_sections() if isinstance(section, SymbolTableSection)]
        symbols = itertools.chain.from_iterable(table.iter_symbols() for table in tables)
        return any(s["st_shndx"] == "SHN_UNDEF" and s.name.startswith(CXX_NAMES) for s in symbols)
    except (ELFError, UnicodeDecodeError):
        return False  # the linker has more to say about it


def _objects(path: Path) -> Iterator[bytes]:
    """The file itself, or the members of an archive."""
    data = path.read_bytes()
    if data.startswith((ARCHIVE, THIN_ARCHIVE)):
        yield from _members(data, path.parent)
    else:
        yield data


def _members(data: bytes, directory: Path) -> Iterator[bytes]:
    """Members of an archive; those of a thin one are files beside it, by names in the member called //."""
    thin, names = data.startswith(THIN_ARCHIVE), b""
    at = len(ARCHIVE)
    while at + MEMBER_HEADER_SIZE <= len(data):
        name, size = data[at : at + 16].rstrip(), data[at + 48 : at + 58].strip()
        if not size.isdigit():
            return
        start = at + MEMBER_HEADER_SIZE
        content = data[start : start + int(size)]
        if name == b"//":
            names = content
        elif thin and name[1:].isdigit():
            file = directory / names[int(name[1:]) :].split(b"/\n")[0].decode(errors="surrogateescape")
            yield file.read_bytes() if file.is_file() else b""
        elif not thin:
            yield content
        at = start if thin and name not in (b"/", b"//", b"/SYM64/") else start + len(content)
        at += at % 2
