"""Both hosts load the same files, and make the same of them: driver/elf.py, and elf.c of penglai.ko."""

import errno
import random
import struct
from pathlib import Path
from typing import TypeVar

from hypothesis import given, settings
from hypothesis import strategies as st
from tests.support.elffile import (
    ALLOC,
    EXEC,
    PADDR,
    TLS,
    WRITE,
    Loaded,
    Section,
    Segment,
    elf_file,
    load_in_module,
    walk,
)
from tests.support.examples import examples
from tests.support.programs import compiled

from penglai.abi import layout
from penglai.abi.errors import ImageError, NoMemoryError
from penglai.abi.riscv import PAGE_SIZE
from penglai.driver.image import paged_image

T = TypeVar("T")
STACK = 2 * PAGE_SIZE
PAGES = 600
HELLO = compiled('#include "eapp.h"\nint EAPP_ENTRY main(void) { static int x[5000]; return x[7]++; }\n')
CORPUS = Path(__file__).parents[1] / "fuzz" / "corpus" / "elf"


def load_in_driver(data: bytes) -> Loaded:
    """As the embedded host loads a file."""
    try:
        paged = paged_image(data, STACK, "it", PAGES)
    except ImageError:
        return Loaded(errno.EINVAL)
    except NoMemoryError:
        return Loaded(errno.ENOMEM)
    return Loaded(0, paged.entry, walk(paged.head(PADDR) + paged.content, PADDR))


def agree(data: bytes) -> Loaded:
    ours = load_in_driver(data)
    assert load_in_module(data, STACK, PAGES) == ours
    return ours


def near(*places: int) -> st.SearchStrategy[int]:
    """Numbers at, and a little beside, places where something changes."""
    steps = st.sampled_from([0, 0, 1, -1, 4, 0x10, -0x10, 0x800, PAGE_SIZE, -PAGE_SIZE, PAGE_SIZE - 1])
    return st.builds(lambda place, step: (place + step) % (1 << 64), st.sampled_from(places), steps)


def mostly(usual: st.SearchStrategy[T], strange: st.SearchStrategy[T]) -> st.SearchStrategy[T]:
    """The strange one time in sixteen: a file has many fields, and one that is off is enough."""
    return st.integers(0, 15).flatmap(lambda number: strange if number == 11 else usual)


LOW = st.integers(0x6, 0x14).map(lambda half: half * 0x800) | near(0x3000, 0x5000, 0x8000)
FAR = near(0x1000, 1 << 21, 1 << 30, layout.HEAP_BASE, (1 << 64) - 1)
ADDRESSES = mostly(LOW, FAR)
SMALL = st.sampled_from([8, 0x7FF, 0x800, 0x801, 0x1000, 0x2800]) | st.integers(1, 3 * PAGE_SIZE)
SIZES = mostly(SMALL, near(0, 300 << 12, layout.HEAP_BASE - 0x2000, (1 << 64) - 1))
DATA = st.binary(max_size=40) | st.builds(lambda count: b"0123456789abcdef" * count, st.integers(200, 600))
SEGMENTS = st.lists(
    st.builds(
        lambda address, size, data, flags, kind, offset: Segment(
            address, max(size, len(data)) % (1 << 64), data, flags, kind, offset
        ),
        ADDRESSES,
        SIZES,
        DATA,
        mostly(st.sampled_from([4, 6]), st.integers(0, 7)),
        mostly(st.just(1), st.sampled_from([2, 3, 4, 7, 0x6474E551])),
        mostly(st.none(), near(0, 64, 1 << 40, (1 << 64) - 1)),
    ),
    max_size=5,
)
SECTIONS = st.lists(
    st.builds(
        Section,
        ADDRESSES,
        SIZES,
        mostly(st.just(8), st.sampled_from([0, 1, 3])),
        mostly(st.sampled_from([ALLOC, ALLOC | WRITE]), st.sampled_from([ALLOC | EXEC, ALLOC | TLS, WRITE])),
    ),
    max_size=5,
)
CODE = st.just([Segment(0x1000, 0x1800, b"\x13\0\0\0" * 0x500, 5)])


@settings(max_examples=examples(1500))
@given(
    mostly(CODE, st.just([])),
    SEGMENTS,
    SECTIONS,
    mostly(st.just(0x1000), near(0x1000, 0x2800) | FAR),
)
def test_any_segments_and_sections(
    code: list[Segment], more: list[Segment], sections: list[Section], entry: int
):
    agree(elf_file([*code, *more], sections, entry))


HEADER_FIELDS = [
    *((4, 1), (5, 1), (7, 1), (16, 2), (18, 2), (20, 4), (24, 8), (32, 8), (40, 8), (48, 4), (52, 2)),
    *((54, 2), (56, 2), (58, 2), (60, 2), (62, 2)),
]
"""Offset and size of each."""
VALUES = [
    *(0, 1, 2, 3, 8, 55, 56, 57, 63, 64, 65, 243, 1170, 1171, 0x1000, 0x2000, 0xFFF0, 0xFFFF),
    *(1 << 31, 1 << 40, (1 << 63) + 64, (1 << 64) - 64, (1 << 64) - 1),
]


@settings(max_examples=examples(1500))
@given(st.integers(0, 1 << 64), st.integers(1, 4))
def test_any_damage(seed: int, changes: int):
    """Fields of the three tables get values at which something may change; the end is cut off."""
    chance = random.Random(seed)
    data = bytearray(HELLO.read_bytes())
    phoff, shoff = struct.unpack_from("<QQ", data, 32)
    phnum, _, shnum = struct.unpack_from("<HHH", data, 56)
    for _ in range(changes):
        kind = chance.choice(["header", "segment", "section", "byte", "end"])
        if kind == "byte":
            data[chance.randrange(len(data))] ^= 1 << chance.randrange(8)
        elif kind == "end":
            del data[chance.randrange(len(data) * 3 // 4, len(data)) :]
        else:
            offset, size = chance.choice(HEADER_FIELDS)
            if kind == "segment":
                offset, size = chance.choice([(0, 4), (4, 4), *((8 * n, 8) for n in range(1, 7))])
                offset += phoff + 56 * chance.randrange(phnum)
            elif kind == "section":
                offset, size = chance.choice([(4, 4), (8, 8), (16, 8), (24, 8), (32, 8)])
                offset += shoff + 64 * chance.randrange(shnum)
            if offset + size <= len(data):
                value = chance.choice(VALUES) % (1 << 8 * size)
                data[offset : offset + size] = value.to_bytes(size, "little")
    agree(bytes(data))


@settings(max_examples=examples(800))
@given(st.integers(0, 1 << 64), st.integers(1, 6))
def test_damage_to_the_section_table_alone_is_never_seen_in_the_segments(seed: int, changes: int):
    """Whatever the table says, the file is loaded, and what the segments say is as it was."""
    chance = random.Random(seed)
    whole = HELLO.read_bytes()
    plain = load_in_driver(whole).pages
    assert plain
    data = bytearray(whole)
    (shoff,) = struct.unpack_from("<Q", data, 40)
    for _ in range(changes):
        place = chance.choice(
            [chance.randrange(40, 48), chance.randrange(58, 64), chance.randrange(shoff, len(data))]
        )
        data[place] = chance.choice([0, 1, 2, 3, 8, 0x10, 0xFF, chance.randrange(256)])
    pages = agree(bytes(data)).pages
    assert pages
    assert {address: pages[address] for address in plain} == plain


def test_the_files_that_fuzzing_kept():
    files = sorted(CORPUS.iterdir())
    assert len(files) > 10
    assert {agree(path.read_bytes()).error for path in files} == {0, errno.EINVAL}
