"""Laying out an image: the driver's table says what the ELF says."""

import numpy as np
import pytest
from tests.support.elffile import walk
from tests.support.programs import compiled

from penglai.abi import layout
from penglai.abi.errors import BadArgumentError, NoMemoryError
from penglai.abi.riscv import PAGE_SIZE, Pte
from penglai.driver.image import MAX_STACK_SIZE, PagedImage, paged_image

DATA = compiled(
    """#include "eapp.h"
const volatile char text[6000] = {1, 2, 3};
volatile int numbers[3000] = {4, 5, 6};
volatile char zeros[20000];
int EAPP_ENTRY main(void) { return text[1] + numbers[2] + zeros[9]; }
"""
).read_bytes()


def pages_of(paged: PagedImage, paddr: int) -> dict[int, tuple[int, bytes]]:
    """Virtual address -> (bits, content) of everything that the placed table maps."""
    assert len(paged.head(paddr)) == paged.head_size
    raw = paged.head(paddr) + paged.content
    assert len(raw) == paged.size
    return walk(raw, paddr)


@pytest.mark.parametrize("paddr", [0x8000_0000, 0x8123_4000])
@pytest.mark.parametrize("stack_size", [1, 4096, 4097, 65536, 3 << 20])
def test_the_table_maps_what_the_file_holds(paddr: int, stack_size: int):
    paged = paged_image(DATA, stack_size, "data", 10_000)
    pages = pages_of(paged, paddr)
    assert len(pages) == paged.pages
    stack = [address for address in pages if address >= layout.MMAP_TOP]
    assert len(stack) == -(-stack_size // PAGE_SIZE)
    assert max(stack) == layout.STACK_TOP - PAGE_SIZE
    for address in stack:
        assert pages[address] == (Pte.V | Pte.R | Pte.W | Pte.U, bytes(PAGE_SIZE))
    code = [address for address, (bits, _) in pages.items() if bits & Pte.X]
    assert min(code) == paged.entry == layout.TEXT_BASE
    everything = b"".join(pages[address][1] for address in sorted(pages))
    assert b"\1\2\3" + bytes(100) in everything
    assert np.array([4, 5, 6], dtype="<u4").tobytes() + bytes(100) in everything


def test_pages_without_content_cost_no_memory_of_the_host():
    paged = paged_image(DATA, 8 << 20, "data", 10_000)
    assert paged.pages > 2048
    assert paged.size < 40 * PAGE_SIZE


@pytest.mark.parametrize("stack_size", [0, -1, -65536, MAX_STACK_SIZE + 1, 1 << 63])
def test_a_stack_that_cannot_be_is_refused(stack_size: int):
    with pytest.raises(BadArgumentError, match="stack"):
        paged_image(DATA, stack_size, "data", 10_000)


def test_an_image_that_is_too_big_is_refused_before_any_work():
    with pytest.raises(NoMemoryError, match="needs 32768 MiB with its stack, and the machine has 39 MiB"):
        paged_image(DATA, MAX_STACK_SIZE, "data", 10_000)


def test_the_same_image_is_parsed_once():
    assert paged_image(DATA, 65536, "data", 10_000) is paged_image(
        bytes(bytearray(DATA)), 65536, "data", 10_000
    )
