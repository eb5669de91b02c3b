"""The host's page allocator: nothing is given twice, everything comes back."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from penglai.abi.errors import NoMemoryError
from penglai.abi.riscv import CHUNK_SIZE, PAGE_SIZE
from penglai.driver.pages import PageAllocator

BASE, SIZE = 0x8000_0000, 8 * CHUNK_SIZE

STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("pages"), st.integers(1, 3 * CHUNK_SIZE)),
        st.tuples(st.just("chunks"), st.integers(0, 9)),
        st.tuples(st.just("free"), st.integers(0, 100)),
    ),
    max_size=40,
)


@given(STEPS)
def test_what_is_given_out_is_free_and_apart(steps: list[tuple[str, int]]):
    allocator = PageAllocator(BASE, SIZE)
    held: list[tuple[int, int]] = []
    for kind, number in steps:
        before = allocator.free_bytes
        try:
            if kind == "pages":
                size = -(-number // PAGE_SIZE) * PAGE_SIZE
                given_out = [(allocator.allocate(number), size)]
            elif kind == "chunks":
                given_out = [(address, CHUNK_SIZE) for address in allocator.allocate_chunks(number)]
                assert len(given_out) == number
                assert all(address % CHUNK_SIZE == 0 for address, _ in given_out)
            else:
                given_out = []
                if held:
                    allocator.free(*held.pop(number % len(held)))
        except NoMemoryError:
            assert allocator.free_bytes == before, "all or nothing"
            continue
        for address, size in given_out:
            assert address % PAGE_SIZE == 0
            assert address >= BASE
            assert address + size <= BASE + SIZE
            assert all(address + size <= other or other + length <= address for other, length in held)
            held.append((address, size))
        assert allocator.free_bytes == SIZE - sum(size for _, size in held)
    for piece in held:
        allocator.free(*piece)
    assert allocator.free_bytes == SIZE
    assert allocator.allocate(SIZE) == BASE, "and it is one piece again"


def test_chunks_come_from_above_and_pages_from_below():
    allocator = PageAllocator(BASE, SIZE)
    assert allocator.allocate(1) == BASE
    assert allocator.allocate_chunks(2) == [BASE + SIZE - 2 * CHUNK_SIZE, BASE + SIZE - CHUNK_SIZE]


def test_borrowed_memory_comes_back_also_after_an_error():
    allocator = PageAllocator(BASE, SIZE)
    with pytest.raises(ZeroDivisionError), allocator.borrow(5 * PAGE_SIZE):
        _ = 1 // 0
    assert allocator.free_bytes == SIZE
