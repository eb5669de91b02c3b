"""Reading ELFs: what is wrong is said, whatever is wrong."""

import random
import struct
from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.support.examples import examples
from tests.support.programs import compiled

from penglai.abi.errors import ImageError, PenglaiError
from penglai.abi.riscv import PAGE_SIZE, Pte
from penglai.driver.elf import parse
from penglai.driver.image import paged_image

HELLO = compiled(
    '#include "eapp.h"\nint EAPP_ENTRY main(void) { static int x[5000]; return x[7]++; }\n'
).read_bytes()
TYPE, MACHINE, ENTRY, PHOFF, PHENTSIZE, PHNUM = 16, 18, 24, 32, 54, 56
P_FLAGS, P_OFFSET, P_VADDR, P_FILESZ, P_MEMSZ = 4, 8, 16, 32, 40


def patched(offset: int, form: str, value: int, data: bytes = HELLO) -> bytes:
    changed = bytearray(data)
    struct.pack_into(form, changed, offset, value)
    return bytes(changed)


def in_segment(index: int, field: int, value: int, data: bytes = HELLO) -> bytes:
    (table,) = struct.unpack_from("<Q", data, PHOFF)
    return patched(table + 56 * index + field, "<I" if field == P_FLAGS else "<Q", value, data)


def segment(index: int, field: int) -> int:
    (table,) = struct.unpack_from("<Q", HELLO, PHOFF)
    return struct.unpack_from("<Q", HELLO, table + 56 * index + field)[0]


def test_a_program_of_the_sdk():
    program = parse(HELLO, "hello")
    assert program.entry == 0x1000
    text = program.segments[0]
    assert (text.address, text.permissions) == (0x1000, Pte.R | Pte.X)
    assert all(s.permissions in (Pte.R | Pte.X, Pte.R, Pte.R | Pte.W) for s in program.segments)
    assert any(s.size > len(s.data) for s in program.segments), "there is a bss"


BROKEN: dict[str, tuple[Callable[[], bytes], str]] = {
    "nothing": (lambda: b"", "not an ELF"),
    "text": (lambda: b"#!/bin/sh\n", "not an ELF"),
    "the magic alone": (lambda: b"\x7fELF", "damaged"),
    "a header cut short": (lambda: HELLO[:40], "damaged"),
    "32 bit": (lambda: patched(4, "<B", 1), "32 bit|damaged"),
    "big endian": (lambda: patched(5, "<B", 2), "not for 64-bit RISC-V|damaged"),
    "x86": (lambda: patched(MACHINE, "<H", 62), "x64"),
    "arm": (lambda: patched(MACHINE, "<H", 183), "AArch64"),
    "an object file": (lambda: patched(TYPE, "<H", 1), "static executable"),
    "position-independent": (lambda: patched(TYPE, "<H", 3), "static executable"),
    "no segments": (lambda: patched(PHNUM, "<H", 0), "nothing to load"),
    "segments outside the file": (lambda: patched(PHOFF, "<Q", 1 << 40), "damaged"),
    "segments of another size": (lambda: patched(PHENTSIZE, "<H", 55), "damaged"),
    "more segments than Linux takes": (lambda: patched(PHNUM, "<H", 1171), "damaged"),
    "truncated": (lambda: HELLO[: segment(0, P_OFFSET) + 16], "truncated|damaged"),
    "a segment behind the file": (lambda: in_segment(0, P_OFFSET, 1 << 30), "truncated"),
    "more data than space": (lambda: in_segment(0, P_MEMSZ, 1), "damaged"),
    "writable code": (lambda: in_segment(0, P_FLAGS, 7), "writable and executable"),
    "no permissions": (lambda: in_segment(1, P_FLAGS, 0), "neither readable nor executable"),
    "text below the layout": (lambda: in_segment(0, P_VADDR, 0), "outside"),
    "text in the heap": (lambda: in_segment(0, P_VADDR, 0x10_0000_0000), "outside"),
    "text that runs into the heap": (lambda: in_segment(0, P_VADDR, 0x10_0000_0000 - 16), "outside"),
    "text in the kernel's half": (lambda: in_segment(0, P_VADDR, (1 << 64) - PAGE_SIZE), "outside"),
    "an endless segment": (lambda: in_segment(0, P_MEMSZ, 1 << 62), "outside"),
    "an entry in no segment": (lambda: patched(ENTRY, "<Q", 0x9000000), "entry point"),
    "an odd entry": (lambda: patched(ENTRY, "<Q", 0x1001), "entry point"),
    "an entry in data": (lambda: patched(ENTRY, "<Q", segment(1, P_VADDR)), "entry point"),
}


@pytest.mark.parametrize(("make", "message"), BROKEN.values(), ids=BROKEN)
def test_a_broken_file_is_refused_with_the_reason(make: Callable[[], bytes], message: str):
    with pytest.raises(ImageError, match=message) as error:
        parse(make(), "this file")
    assert str(error.value).startswith("this file")
    assert "\n" not in str(error.value)


def test_code_and_data_on_one_page_are_refused():
    """Two segments may share a page only if that makes it not writable and executable."""
    moved = in_segment(1, P_VADDR, 0x1800)
    with pytest.raises(ImageError, match=r"share the page 0x1000|writable"):
        paged_image(in_segment(1, P_FLAGS, 6, moved), 4096, "this file", 1000)


@settings(max_examples=examples(400))
@given(st.integers(0, 1 << 32), st.integers(1, 8))
def test_damage_never_surprises(seed: int, flips: int):
    """Whatever is changed in a file, it is laid out soundly or refused with an error of ours."""
    chance = random.Random(seed)
    data = bytearray(HELLO)
    for _ in range(flips):
        data[chance.choice([chance.randrange(0, 400), chance.randrange(len(data))])] ^= 1 << chance.randrange(
            8
        )
    if chance.random() < 0.2:
        del data[chance.randrange(len(data)) :]
    try:
        paged = paged_image(bytes(data), 4096, "this file", 2000)
    except PenglaiError:
        return
    assert paged.pages <= 2001
