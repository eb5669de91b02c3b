"""What the C headers of the SDK say, as its compiler reads them: macros, enums and structs, each of them.

A header is compiled for riscv64 as programs get it.  Macros come from the preprocessor, with the file that
defines each; their values from a library that has them as data; enums and structs from its DWARF.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from elftools.dwarf.die import DIE
from elftools.dwarf.dwarfinfo import DWARFInfo
from elftools.elf.elffile import ELFFile

from penglai.sdk.build import TARGET
from penglai.toolchain.compiler import compile_c

MARKER = re.compile(r'# \d+ "([^"]*)"')
MACRO = re.compile(r"#define (\w+)(\(?)")
SIGNED = 5, 6
"""DW_ATE_signed, DW_ATE_signed_char."""

Leaf = tuple[str, int, int, bool]
"""A member that is no struct: name, offset, size in bytes, whether it is a signed number."""


@dataclass(frozen=True)
class Unit:
    """Headers that one program may include together.

    headers: each of these is looked at, and nothing that they include from elsewhere.
    """

    headers: tuple[Path, ...]
    flags: tuple[str, ...] = ()
    first: str = ""


def macros(unit: Unit, directory: Path) -> set[str]:
    """Names of all macros that the headers define and that take no arguments."""
    output = directory / "macros"
    compile_c([*_arguments(unit), "-E", "-dD", _source(unit, directory)], output)
    here, found = False, set()
    for line in output.read_text().splitlines():
        if marker := MARKER.match(line):
            here = _is_one(marker[1], unit)
        elif here and (macro := MACRO.match(line)) and not macro[2]:
            found.add(macro[1])
    return found


def values(unit: Unit, wanted: Mapping[str, int | str], directory: Path) -> dict[str, int | str]:
    """What macros are, for a program that uses them.  wanted: those that are text have text here."""
    lines = []
    for name, value in wanted.items():
        if isinstance(value, str):
            lines.append(f"const char value_{name}[] = {name};")
        else:
            lines.append(f"const unsigned long long value_{name} = (unsigned long long)({name});")
    found: dict[str, int | str] = {}
    with _compiled(unit, lines, directory).open("rb") as file:
        elf = ELFFile(file)
        for symbol in elf.get_section_by_name(".symtab").iter_symbols():
            name = symbol.name.removeprefix("value_")
            if name != symbol.name:
                section = elf.get_section(symbol["st_shndx"])
                raw = section.data()[symbol["st_value"] - section["sh_addr"] :][: symbol["st_size"]]
                text = isinstance(wanted[name], str)
                found[name] = raw.rstrip(b"\0").decode() if text else int.from_bytes(raw, "little")
    return found


def types(unit: Unit, directory: Path) -> tuple[dict[str, dict[str, int]], dict[str, tuple[int, list[Leaf]]]]:
    """Enums, each with its values by name, and structs, each with its size and its leaves, by their names."""
    enums: dict[str, dict[str, int]] = {}
    structs: dict[str, tuple[int, list[Leaf]]] = {}
    with _compiled(unit, [], directory).open("rb") as file:
        for die, path in _described(ELFFile(file).get_dwarf_info()):
            if not _is_one(path, unit):
                continue
            name = die.attributes["DW_AT_name"].value.decode() if "DW_AT_name" in die.attributes else ""
            if die.tag == "DW_TAG_enumeration_type":
                enums[name] = {
                    _text(each): each.attributes["DW_AT_const_value"].value for each in die.iter_children()
                }
            elif die.tag == "DW_TAG_structure_type":
                structs[name] = die.attributes["DW_AT_byte_size"].value, list(_leaves(die, 0))
    return enums, structs


def _leaves(struct: DIE, base: int) -> Iterator[Leaf]:
    for member in struct.iter_children():
        offset = base + member.attributes["DW_AT_data_member_location"].value
        kind, size = _resolved(member)
        if kind.tag == "DW_TAG_structure_type":
            yield from _leaves(kind, offset)
        else:
            encoding = kind.attributes.get("DW_AT_encoding")
            yield _text(member), offset, size, encoding is not None and encoding.value in SIGNED


def _resolved(member: DIE) -> tuple[DIE, int]:
    """The type behind typedefs and qualifiers, and its size in bytes; of an array, the array."""
    kind = member.get_DIE_from_attribute("DW_AT_type")
    while kind.tag in ("DW_TAG_typedef", "DW_TAG_const_type", "DW_TAG_volatile_type"):
        kind = kind.get_DIE_from_attribute("DW_AT_type")
    if kind.tag == "DW_TAG_pointer_type":
        return kind, 8
    if kind.tag != "DW_TAG_array_type":
        return kind, kind.attributes["DW_AT_byte_size"].value
    _, size = _resolved(kind)
    for extent in kind.iter_children():
        size *= extent.attributes["DW_AT_count"].value
    return kind, size


def _described(dwarf: DWARFInfo) -> Iterator[tuple[DIE, str]]:
    """What is declared at the top of each file, with the file's path."""
    for unit in dwarf.iter_CUs():
        header = dwarf.line_program_for_CU(unit).header
        for die in unit.get_top_DIE().iter_children():
            if "DW_AT_decl_file" in die.attributes:
                entry = header["file_entry"][die.attributes["DW_AT_decl_file"].value]
                directory = header["include_directory"][entry["dir_index"]].decode()
                yield die, str(Path(directory) / entry["name"].decode())


def _compiled(unit: Unit, lines: list[str], directory: Path) -> Path:
    """A library of it: linked, so that nothing in its DWARF waits for relocation."""
    compiled, linked = directory / "values.o", directory / "values.so"
    flags = ["-c", "-fPIC", "-O0", "-gdwarf-5", "-fno-eliminate-unused-debug-types"]
    compile_c([*_arguments(unit), *flags, _source(unit, directory, lines)], compiled)
    compile_c([*TARGET, "-shared", "-nostdlib", compiled], linked)
    return linked


def _source(unit: Unit, directory: Path, lines: list[str] | None = None) -> Path:
    source = directory / "source.c"
    includes = [f'#include "{path}"' for path in unit.headers]
    source.write_text("\n".join([unit.first, *includes, *(lines or []), ""]))
    return source


def _arguments(unit: Unit) -> list[str]:
    return [*TARGET, "-std=gnu2x", *unit.flags]


def _is_one(path: str, unit: Unit) -> bool:
    return Path(path).resolve() in unit.headers  # relative in DWARF, below the working directory


def _text(die: DIE) -> str:
    name: bytes = die.attributes["DW_AT_name"].value
    return name.decode()
