"""What an ELF tells of addresses in it: functions, files and lines, and how to find the caller.

The file is a program's own, and so whatever is wrong with its debugging information only means that less is
known: nothing here raises for it.
"""

import contextlib
import functools
import io
import logging
from bisect import bisect_right
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, NamedTuple

from elftools.dwarf.callframe import FDE
from elftools.elf.constants import P_FLAGS
from elftools.elf.elffile import ELFFile

log = logging.getLogger(__name__)

MOST_INLINED = 32
"""Functions inlined into each other at one address."""


class Symbol(NamedTuple):
    """A function or an object.  size: bytes, 0 where the ELF does not say."""

    address: int
    size: int
    name: str


class Place(NamedTuple):
    """Where in a source an instruction is.  Each is empty, or 0, where the ELF does not say."""

    function: str
    file: str
    line: int


class Row(NamedTuple):
    """The instructions from address `start` to before `end` come from this line.

    directory: where the compiler ran, and where the file's path begins.
    """

    start: int
    end: int
    file: str
    line: int
    directory: str


@dataclass(frozen=True)
class Rule:
    """How to find the caller from an instruction on (DWARF 5, section 6.4).

    cfa: register and offset of the caller's stack pointer.  saved: for each register that was changed, its
    offset from there; None where its value is lost.
    """

    cfa: tuple[int, int]
    saved: dict[int, int | None]


class Program:
    """An ELF, as far as it tells of addresses.  data: the file."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        # Profiles ask for the same addresses again and again.
        self.places = functools.cache(self._find_places)
        self.rule = functools.cache(self._find_rule)

    # ---- names ---------------------------------------------------------------------------------

    def is_code(self, address: int) -> bool:
        """True if the program has code there."""
        return any(start <= address < end for start, end in self.code)

    @functools.cached_property
    def code(self) -> list[tuple[int, int]]:
        """The addresses of the program's code, as [start, end)."""
        with _whatever_is_wrong("table of segments"):
            return [
                (segment["p_vaddr"], segment["p_vaddr"] + segment["p_memsz"])
                for segment in self._elf.iter_segments("PT_LOAD")
                if segment["p_flags"] & P_FLAGS.PF_X
            ]
        return []

    def halfword(self, address: int) -> int | None:
        """What the program's file has at an address of its code."""
        for start, data in self._texts:
            if start <= address <= start + len(data) - 2:
                return int.from_bytes(data[address - start : address - start + 2], "little")
        return None

    @functools.cached_property
    def _texts(self) -> list[tuple[int, bytes]]:
        with _whatever_is_wrong("code"):
            return [
                (segment["p_vaddr"], segment.data())
                for segment in self._elf.iter_segments("PT_LOAD")
                if segment["p_flags"] & P_FLAGS.PF_X
            ]
        return []

    @property
    def functions(self) -> list[Symbol]:
        """All that the program's table of symbols names in its code."""
        return [each for each in self._functions if self.is_code(each.address)]

    def function(self, address: int) -> Symbol | None:
        """The function at an address."""
        return _covering(self._functions, address) if self.is_code(address) else None

    def object(self, address: int) -> Symbol | None:
        """The variable at an address, or the last one below it."""
        return _covering(self._objects, address)

    def _find_places(self, address: int) -> list[Place]:
        """Where in the source the instruction is: a function, and those that it is inlined into, inner first.

        Nothing if the address is no code.
        """
        symbol = self.function(address)
        name = symbol.name if symbol else ""
        file, line = self._line(address)
        if not self.is_code(address):
            return []
        found = []
        for inner, call_file, call_line in self._inlined(address):
            found.append(Place(inner, file, line))
            file, line = call_file, call_line
        return [*found, Place(name, file, line)]

    def rows(self) -> Iterator[Row]:
        """The table of lines: of what was compiled with -g."""
        with _whatever_is_wrong("table of lines"):
            for unit in self._dwarf.iter_CUs() if self._dwarf and self._dwarf.has_debug_info else ():
                yield from self._rows_of(unit)

    def _rows_of(self, unit: Any) -> Iterator[Row]:
        program = self._dwarf.line_program_for_CU(unit)
        last, kept = None, False
        for entry in program.get_entries() if program else ():
            state = entry.state
            if state is None:
                continue
            if last is None:
                kept = self.is_code(state.address)  # else the linker has left the function out
            elif kept and last.line and last.address < state.address:
                file = _file(unit, program, last.file)
                yield Row(last.address, state.address, file, last.line, _directory(unit))
            last = None if state.end_sequence else state

    # ---- callers -------------------------------------------------------------------------------

    def _find_rule(self, address: int) -> Rule | None:
        """How to find the caller of what is at an address, or None if the ELF does not say."""
        starts, entries = self._frames
        index = bisect_right(starts, address) - 1
        if index < 0:
            return None
        entry = entries[index]
        if address >= entry.header["initial_location"] + entry.header["address_range"]:
            return None
        with _whatever_is_wrong("frame information"):
            return _rule(entry, address)
        return None

    # ---- reading the file ----------------------------------------------------------------------

    @functools.cached_property
    def _elf(self) -> Any:
        with _whatever_is_wrong("ELF"):
            return ELFFile(io.BytesIO(self._data))
        return None

    @functools.cached_property
    def _dwarf(self) -> Any:
        if self._elf is None:
            return None
        with _whatever_is_wrong("debugging information"):
            return self._elf.get_dwarf_info()
        return None

    @functools.cached_property
    def _functions(self) -> list[Symbol]:
        return self._symbols("STT_FUNC", "STT_NOTYPE")

    @functools.cached_property
    def _objects(self) -> list[Symbol]:
        return self._symbols("STT_OBJECT")

    def _symbols(self, *types: str) -> list[Symbol]:
        with _whatever_is_wrong("table of symbols"):
            table = self._elf.get_section_by_name(".symtab")
            return sorted(
                Symbol(each["st_value"], each["st_size"], each.name)
                for each in (table.iter_symbols() if table else ())
                if each["st_info"]["type"] in types and each.name[:1] not in ("", "$", ".")
            )
        return []

    @functools.cached_property
    def _frames(self) -> tuple[list[int], list[FDE]]:
        entries: list[FDE] = []
        for has, read in (("has_EH_CFI", "EH_CFI_entries"), ("has_CFI", "CFI_entries")):
            with _whatever_is_wrong("frame information"):
                if self._dwarf is not None and getattr(self._dwarf, has)():
                    entries += [each for each in getattr(self._dwarf, read)() if isinstance(each, FDE)]
        entries.sort(key=lambda entry: int(entry.header["initial_location"]))
        return [entry.header["initial_location"] for entry in entries], entries

    @functools.cached_property
    def _units(self) -> list[tuple[int, int, Any]]:
        """(start, end, compilation unit) of each stretch of code."""
        found: list[tuple[int, int, Any]] = []
        with _whatever_is_wrong("debugging information"):
            if self._dwarf is not None and self._dwarf.has_debug_info:
                for unit in self._dwarf.iter_CUs():
                    top = unit.get_top_DIE()
                    found += [(start, end, unit) for start, end in self._ranges(unit, top)]
        return found

    def _unit(self, address: int) -> Any:
        return next((unit for start, end, unit in self._units if start <= address < end), None)

    def _line(self, address: int) -> tuple[str, int]:
        """File and line of an instruction."""
        starts, rows = self._table
        index = bisect_right(starts, address) - 1
        if index < 0 or address >= rows[index].end:
            return "", 0
        return rows[index].file, rows[index].line

    @functools.cached_property
    def _table(self) -> tuple[list[int], list[Row]]:
        rows = sorted(self.rows())
        return [row.start for row in rows], rows

    def _inlined(self, address: int) -> list[tuple[str, str, int]]:
        """Functions that are inlined at an address, inner first: name, and file and line of the call."""
        found: list[tuple[str, str, int]] = []
        with _whatever_is_wrong("debugging information"):
            unit = self._unit(address)
            inside = unit.get_top_DIE() if unit is not None else None
            while inside is not None and len(found) < MOST_INLINED:
                inside = self._child_at(unit, inside, address)
                if inside is not None and inside.tag == "DW_TAG_inlined_subroutine":
                    program = self._dwarf.line_program_for_CU(unit)
                    file = _file(unit, program, _value(inside, "DW_AT_call_file"))
                    found.append((_name(inside), file, _value(inside, "DW_AT_call_line")))
        return found[::-1]

    def _child_at(self, unit: Any, parent: Any, address: int) -> Any:
        """The function, inlined one or block directly inside that has code at an address."""
        scopes = ("DW_TAG_subprogram", "DW_TAG_inlined_subroutine", "DW_TAG_lexical_block")
        groups = ("DW_TAG_namespace", "DW_TAG_module", "DW_TAG_structure_type", "DW_TAG_class_type")
        for child in parent.iter_children():
            if child.tag in scopes:
                if any(start <= address < end for start, end in self._ranges(unit, child)):
                    return child
            elif child.tag in groups and (found := self._child_at(unit, child, address)) is not None:
                return found
        return None

    def _ranges(self, unit: Any, die: Any) -> list[tuple[int, int]]:
        """The code of an entry, as [start, end)."""
        attributes = die.attributes
        if "DW_AT_ranges" in attributes:
            lists = self._dwarf.range_lists()
            offset = attributes["DW_AT_ranges"].value
            base = _value(unit.get_top_DIE(), "DW_AT_low_pc")
            return list(_absolute(lists.get_range_list_at_offset(offset, unit), base))
        if "DW_AT_low_pc" in attributes and "DW_AT_high_pc" in attributes:
            start, end = attributes["DW_AT_low_pc"].value, attributes["DW_AT_high_pc"]
            return [(start, end.value if end.form == "DW_FORM_addr" else start + end.value)]
        return []


def _absolute(entries: Any, base: int) -> Iterator[tuple[int, int]]:
    for entry in entries:
        if hasattr(entry, "base_address"):
            base = entry.base_address
        elif entry.is_absolute:
            yield entry.begin_offset, entry.end_offset
        else:
            yield base + entry.begin_offset, base + entry.end_offset


def _covering(symbols: list[Symbol], address: int) -> Symbol | None:
    """The last symbol that begins at or below an address, of those with the same address the largest."""
    index = bisect_right(symbols, (address, 1 << 64, ""))
    return symbols[index - 1] if index else None


def _value(die: Any, name: str) -> int:
    found = die.attributes.get(name)
    return int(found.value) if found is not None else 0


def _name(die: Any) -> str:
    """Of a function; of one that is inlined it stands at what it is an instance of."""
    for _ in range(MOST_INLINED):
        if "DW_AT_name" in die.attributes:
            return str(die.attributes["DW_AT_name"].value.decode(errors="replace"))
        origin = next(
            (each for each in ("DW_AT_abstract_origin", "DW_AT_specification") if each in die.attributes), ""
        )
        if not origin:
            break
        die = die.get_DIE_from_attribute(origin)
    return ""


def _file(unit: Any, program: Any, number: int) -> str:
    """The path of a file of a table of lines."""
    header = program.header
    first = 0 if header["version"] >= 5 else 1
    entries, directories = header["file_entry"], header["include_directory"]
    if not 0 <= number - first < len(entries):
        return ""
    entry = entries[number - first]
    name = entry.name.decode(errors="replace")
    if name.startswith("/") or not 0 <= entry.dir_index - first < len(directories):
        return str(name)
    directory = directories[entry.dir_index - first].decode(errors="replace")
    return f"{directory}/{name}" if directory not in ("", _directory(unit)) else str(name)


def _directory(unit: Any) -> str:
    """Where the compiler ran: what is there is called by its name alone, as it was there."""
    found = unit.get_top_DIE().attributes.get("DW_AT_comp_dir")
    return str(found.value.decode(errors="replace")) if found is not None else ""


def _rule(entry: FDE, address: int) -> Rule | None:
    row = None
    for each in entry.get_decoded().table:
        if each["pc"] > address:
            break
        row = each
    if row is None or row["cfa"].reg is None:
        return None
    saved = {
        register: rule.arg if rule.type == "OFFSET" else None
        for register, rule in row.items()
        if isinstance(register, int) and rule.type != "SAME_VALUE"
    }
    return Rule((row["cfa"].reg, row["cfa"].offset), saved)


@contextlib.contextmanager
def _whatever_is_wrong(what: str) -> Iterator[None]:
    """pyelftools raises whatever comes to it where a file is damaged: that part of it tells nothing then."""
    try:
        yield
    except Exception as error:
        log.debug("the program's %s cannot be read: %r", what, error)
