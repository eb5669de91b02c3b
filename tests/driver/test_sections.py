"""Loading goes by segments: a section table may add zeros outside them, and never does harm."""

import struct
from collections.abc import Callable

import pytest
from tests.support.elffile import (
    ALLOC,
    CODE,
    EXEC,
    NOBITS,
    PROGBITS,
    SHENTSIZE,
    SHNUM,
    SHOFF,
    SHSTRNDX,
    TLS,
    WRITE,
    R,
    Section,
    Segment,
    W,
    X,
    elf_file,
    load_in_module,
    with_sections,
)
from tests.support.programs import compiled, eapp
from tests.support.waiting import PATIENCE

import penglai
from penglai.abi import layout
from penglai.abi.riscv import PAGE_SIZE, Pte
from penglai.driver.elf import Program, parse
from penglai.driver.image import paged_image

HELLO = compiled(
    '#include "eapp.h"\nint EAPP_ENTRY main(void) { static int x[5000]; return x[7]++; }\n'
).read_bytes()
DATA = Segment(0x3000, 0x800, b"data" * 16, R | W)
READ, READ_WRITE = Pte.R, Pte.R | Pte.W


def patched(offset: int, form: str, value: int) -> bytes:
    changed = bytearray(HELLO)
    struct.pack_into(form, changed, offset, value)
    return bytes(changed)


def table() -> slice:
    (offset,) = struct.unpack_from("<Q", HELLO, SHOFF)
    (count,) = struct.unpack_from("<H", HELLO, SHNUM)
    assert count > 5
    return slice(offset, offset + 64 * count)


def overwritten(byte: int) -> bytes:
    changed = bytearray(HELLO)
    changed[table()] = bytes([byte]) * len(changed[table()])
    return bytes(changed)


def without_sections(*, tell: bool) -> bytes:
    """The file up to the end of what segments hold; tell: the header says so."""
    program = parse(HELLO, "hello")
    end = max(HELLO.index(bytes(s.data)) + len(s.data) for s in program.segments if s.data)
    kept = bytearray(HELLO[:end])
    if tell:
        struct.pack_into("<Q", kept, SHOFF, 0)
        struct.pack_into("<HHH", kept, SHENTSIZE, 0, 0, 0)
    return bytes(kept)


HARMLESS: dict[str, Callable[[], bytes]] = {
    "no table": lambda: without_sections(tell=True),
    "a table that was cut off": lambda: without_sections(tell=False),
    "names in no section": lambda: patched(SHSTRNDX, "<H", 0xFFF0),
    "names in a section behind the table": lambda: patched(SHSTRNDX, "<H", 0xFFFE),
    "names elsewhere": lambda: patched(SHSTRNDX, "<H", 0xFFFF),
    "a table behind the file": lambda: patched(SHOFF, "<Q", 1 << 40),
    "a table at the end of the address space": lambda: patched(SHOFF, "<Q", (1 << 64) - 64),
    "a table that moved a little": lambda: patched(SHOFF, "<Q", table().start - 8),
    "a table in the header": lambda: patched(SHOFF, "<Q", 0),
    "no sections": lambda: patched(SHNUM, "<H", 0),
    "too many sections": lambda: patched(SHNUM, "<H", 0xFFFF),
    "sections of no size": lambda: patched(SHENTSIZE, "<H", 0),
    "sections of another size": lambda: patched(SHENTSIZE, "<H", 40),
    "a table of zeros": lambda: overwritten(0),
    "a table of ones": lambda: overwritten(0xFF),
    "a table of eights, which are types without content": lambda: overwritten(8),
}


@pytest.mark.parametrize("make", HARMLESS.values(), ids=HARMLESS)
def test_a_damaged_section_table_changes_nothing(make: Callable[[], bytes]):
    data = make()
    program = parse(data, "it")
    assert program == parse(HELLO, "hello")
    assert not program.zeros
    assert load_in_module(data, PAGE_SIZE, 1000) == load_in_module(HELLO, PAGE_SIZE, 1000)


def test_zeros_without_a_segment_are_there():
    """Programs of Penglai's own SDK have them: its driver knows no other zeros."""
    sections = [
        Section(0x1000, 4, PROGBITS, ALLOC | EXEC),
        Section(0x3000, 64, PROGBITS),
        Section(0x5004, 2 * PAGE_SIZE),
        Section(0x9000, 1, NOBITS, ALLOC),
    ]
    data = elf_file([CODE, DATA], sections)
    paged = paged_image(data, None, "it", 100)
    bits = dict(zip(paged.addresses.tolist(), (paged.permissions & ~Pte.U).tolist(), strict=True))
    assert bits == {
        0x1000: Pte.R | Pte.X,
        0x3000: READ_WRITE,
        0x5000: READ_WRITE,
        0x6000: READ_WRITE,
        0x7000: READ_WRITE,
        0x9000: READ,
    }
    loaded = load_in_module(data, 0, 100).pages
    assert loaded is not None
    assert sorted(loaded) == sorted(bits)
    assert all(loaded[page][1] == bytes(PAGE_SIZE) for page in bits if page >= 0x5000)


ZEROS = Section(0x90_0000, 3 * PAGE_SIZE)
TOUCHES_ZEROS = "long *zeros = (long *)0x902ff8; EAPP_RETURN(*zeros + (*zeros = 5, *zeros));"


def test_a_program_uses_zeros_without_a_segment(machine: penglai.Machine):
    program = eapp(TOUCHES_ZEROS).read_bytes()
    assert machine.create(with_sections(program, [ZEROS])).run(PATIENCE).value == 5
    assert machine.create(with_sections(program, [])).run(PATIENCE).reason is penglai.Reason.FAULTED


NO_ZEROS: dict[str, Section] = {
    "part of a segment": Section(0x3100, 0x400),
    "a whole segment": Section(0x3000, 0x800),
    "partly inside a segment": Section(0x3400, 5 * PAGE_SIZE),
    "around a segment": Section(0x2000, 0x10000),
    "of no size": Section(0x5000, 0),
    "in no memory": Section(0x5000, 0x100, NOBITS, WRITE),
    "thread-local": Section(0x5000, 0x100, NOBITS, ALLOC | TLS | WRITE),
    "with content": Section(0x5000, 0x100, PROGBITS),
    "at no address": Section(0, 0x100),
    "below the program": Section(layout.TEXT_BASE - 16, 16),
    "in the heap": Section(layout.HEAP_BASE, 16),
    "into the heap": Section(layout.HEAP_BASE - 16, 17),
    "in the kernel buffer": Section(0xFFFF_FFE0_0000_0000, PAGE_SIZE),
    "around the end of the address space": Section((1 << 64) - 16, 0x10000),
    "too large": Section(0x10_0000, (512 << 20) + 1),
}


@pytest.mark.parametrize("section", NO_ZEROS.values(), ids=NO_ZEROS)
def test_sections_that_add_nothing(section: Section):
    data = elf_file([CODE, DATA], [section])
    plain = elf_file([CODE, DATA])
    assert parse(data, "it") == parse(plain, "it")
    assert load_in_module(data, PAGE_SIZE, 100) == load_in_module(plain, PAGE_SIZE, 100)


def both(data: bytes) -> Program:
    """What one loader reads, where the other one has as many pages."""
    program = parse(data, "it")
    paged = paged_image(data, None, "it", 10_000)
    loaded = load_in_module(data, 0, 10_000).pages
    assert loaded is not None
    assert sorted(loaded) == paged.addresses.tolist()
    return program


def test_a_page_that_a_segment_has_is_the_segments():
    """Writable zeros behind code make nothing writable."""
    data = elf_file([CODE], [Section(0x1800, 0x1000)])
    assert both(data).zeros
    paged = paged_image(data, None, "it", 100)
    assert (paged.permissions & ~Pte.U).tolist() == [Pte.R | Pte.X, READ_WRITE]


def test_zeros_are_never_code():
    data = elf_file([CODE], [Section(0x5000, 1, NOBITS, ALLOC | WRITE | EXEC)])
    assert [zeros.permissions for zeros in both(data).zeros] == [READ_WRITE]


def test_a_table_adds_so_much_and_no_more():
    many = [Section(0x10000 + PAGE_SIZE * number, 16) for number in range(100)]
    assert len(both(elf_file([CODE], many)).zeros) == 64
    large = [Section((1 + number) << 30, 300 << 20) for number in range(3)]
    assert [zeros.address for zeros in parse(elf_file([CODE], large), "it").zeros] == [1 << 30]


def test_a_segment_of_zeros_may_name_a_place_behind_the_file():
    """Nothing is read from there; what strips section tables leaves such files."""
    data = elf_file([CODE, Segment(0x3000, 0x2000, b"", R | W, offset=1 << 40)])
    assert [segment.size for segment in both(data).segments] == [4, 0x2000]


def test_more_segments_than_a_linker_ever_makes():
    many = [CODE, *(Segment(0x10000 + PAGE_SIZE * number, 8, b"12345678") for number in range(1169))]
    assert len(both(elf_file(many)).segments) == 1170


@pytest.mark.parametrize("flags", [R | X, X])
def test_code_may_lie_anywhere_in_the_region(flags: int):
    data = elf_file([Segment(0xF_0000_0000, 4, CODE.data, flags)], entry=0xF_0000_0000)
    assert both(data).entry == 0xF_0000_0000
