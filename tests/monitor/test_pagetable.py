"""The monitor's own page tables: what was mapped is what a walk finds, and nothing else."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.support.examples import examples

from penglai.abi.errors import MonitorBug
from penglai.abi.riscv import PAGE_SIZE, TABLE_ENTRIES, Pte
from penglai.machine import PhysicalMemory
from penglai.machine.sv39 import plan_tables
from penglai.monitor.pagetable import FLAGS, PageTable, make_entries, page_numbers

MEMORY = PhysicalMemory(8 << 20)
LOW = st.integers(1, 1 << 18)
ANYWHERE = st.integers(1, (1 << 27) - 1)
PAGE_NUMBERS = st.sets(LOW, max_size=40) | st.sets(ANYWHERE, max_size=40)
NO_WORDS = np.zeros(TABLE_ENTRIES, dtype=np.uint64)
SECOND_ROOT = 16
NONE = np.array([], dtype=np.int64)
RW, RX = int(Pte.R | Pte.W | Pte.U), int(Pte.R | Pte.X | Pte.U)


def make(numbers: list[int], first_page: int) -> tuple[PageTable, dict[int, int]]:
    """A table, in pages from 0 on, that maps these page numbers, and what it maps."""
    MEMORY.raw[:] = 0
    addresses = np.array(numbers, dtype=np.uint64) * np.uint64(PAGE_SIZE)
    pages = np.arange(first_page, first_page + len(addresses))
    permissions = np.array([RW if number % 2 else RX for number in numbers], dtype=np.uint8)
    plan = plan_tables(page_numbers(addresses))
    words = np.zeros(plan.tables * TABLE_ENTRIES, dtype=np.uint64)
    words[plan.slots] = make_entries(MEMORY, pages, FLAGS[permissions])
    table = PageTable(MEMORY, plan, np.arange(plan.tables), words)
    return table, dict(zip(addresses.tolist(), pages.tolist(), strict=True))


def add(table: PageTable, numbers: set[int], first_page: int) -> dict[int, int]:
    """Map more of them, one by one."""
    added = {}
    for page, number in enumerate(sorted(numbers), first_page):
        missing = table.missing_tables_for(number * PAGE_SIZE, 1)
        spare = np.arange(len(table.tables), len(table.tables) + missing)
        table.map_range(number * PAGE_SIZE, np.array([page]), RW if number % 2 else RX, spare)
        added[number * PAGE_SIZE] = page
    return added


@settings(max_examples=examples(150))
@given(first=PAGE_NUMBERS, second=PAGE_NUMBERS, gone=st.randoms(use_true_random=False))
def test_mappings_are_what_was_mapped(first, second, gone):
    table, expected = make(gone.sample(sorted(first), len(first)), 1000)
    expected |= add(table, second - first, 1500)
    for address, page, pte in table.mappings():
        assert expected[address] == page
        assert pte & 0xFF & ~int(Pte.V | Pte.A | Pte.D) == (RW if address // PAGE_SIZE % 2 else RX)
        assert bool(pte & Pte.D) is bool(pte & Pte.W), "the hart never has to write to the table"
    assert {address: page for address, page, _ in table.mappings()} == expected
    removed = gone.sample(sorted(expected), len(expected) // 2)
    for address in removed:
        assert table.reach(address + 5, int(Pte.R)) == MEMORY.address_of(expected[address]) + 5
        writable = address // PAGE_SIZE % 2 == 1
        assert (table.reach(address, int(Pte.R | Pte.W)) is not None) is writable
        table.unmap_range(address, 1)
        assert table.reach(address, int(Pte.R)) is None
    left = {address: page for address, page in expected.items() if address not in removed}
    assert {address: page for address, page, _ in table.mappings()} == left


@settings(max_examples=examples(150))
@given(start=ANYWHERE, count=st.integers(1, 1030), cut=st.tuples(st.integers(0, 1030), st.integers(0, 1030)))
def test_ranges_are_what_was_mapped(start, count, cut):
    """A range over the borders of leaf tables, and a hole in it."""
    table, _ = make([], 0)
    start, count = start * PAGE_SIZE, min(count, (1 << 27) - start)
    pages = np.arange(500, 500 + count)
    table.map_range(start, pages, RW, np.arange(1, 1 + table.missing_tables_for(start, count)))
    assert table.missing_tables_for(start, count) == 0
    mapped = dict(zip(range(start, start + count * PAGE_SIZE, PAGE_SIZE), pages.tolist(), strict=True))
    assert {address: page for address, page, _ in table.mappings()} == mapped
    first, last = sorted(min(edge, count) for edge in cut)
    table.unmap_range(start + first * PAGE_SIZE, last - first)
    left = {address: page for address, page in mapped.items() if not first <= page - 500 < last}
    found = list(table.mappings())
    assert {address: page for address, page, _ in found} == left
    assert all(pte & 0xFF == RW | Pte.V | Pte.A | Pte.D for *_, pte in found)


@settings(max_examples=examples(150))
@given(
    old=ANYWHERE,
    new=ANYWHERE,
    count=st.integers(1, 1030),
    part=st.tuples(st.integers(0, 1030), st.integers(0, 1030)),
)
def test_what_another_table_maps_is_taken_over(old, new, count, part):
    """A part of a range, to another address: over the borders of the leaf tables of both."""
    table, _ = make([], 0)
    source = PageTable(MEMORY, plan_tables(NONE), np.array([SECOND_ROOT]), NO_WORDS.copy())
    count = min(count, (1 << 27) - max(old, new))
    pages = np.arange(500, 500 + count)
    old, new = old * PAGE_SIZE, new * PAGE_SIZE
    missing = source.missing_tables_for(old, count)
    source.map_range(old, pages, RW, np.arange(SECOND_ROOT + 1, SECOND_ROOT + 1 + missing))
    first, last = sorted(min(edge, count) for edge in part)
    spare = np.arange(1, 1 + table.missing_tables_for(new, last - first))
    table.take_over(new, source, old + first * PAGE_SIZE, last - first, spare)
    taken = {new + (page - 500 - first) * PAGE_SIZE: page for page in pages[first:last].tolist()}
    kept = {old + (page - 500) * PAGE_SIZE: page for page in pages.tolist() if not first <= page - 500 < last}
    assert {address: page for address, page, _ in table.mappings()} == taken
    assert {address: page for address, page, _ in source.mappings()} == kept
    assert all(pte & 0xFF == RW | Pte.V | Pte.A | Pte.D for *_, pte in table.mappings())


def test_what_is_not_mapped_or_would_lie_over_another_is_not_taken_over():
    table, _ = make([5, 6], 1000)
    with pytest.raises(MonitorBug, match="over another"):
        table.take_over(5 * PAGE_SIZE, table, 6 * PAGE_SIZE, 1, NONE)
    with pytest.raises(MonitorBug, match="not mapped"):
        table.take_over(8 * PAGE_SIZE, table, 7 * PAGE_SIZE, 1, NONE)


def test_a_page_is_never_mapped_over_another():
    table, _ = make([5, 6], 1000)
    with pytest.raises(MonitorBug, match="over another"):
        add(table, {6}, 1100)
    with pytest.raises(MonitorBug, match="over another"):
        make([5, 6, 5], 1000)


def test_unmapping_what_is_not_mapped_is_a_bug():
    table, _ = make([5], 1000)
    with pytest.raises(MonitorBug, match="not mapped"):
        table.unmap_range(6 * PAGE_SIZE, 1)


def test_tables_that_nobody_needs_are_a_bug():
    table, _ = make([], 0)
    with pytest.raises(MonitorBug, match="more table pages"):
        table.map_range(PAGE_SIZE, np.array([100]), RW, np.arange(1, 9))
