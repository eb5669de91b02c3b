"""The monitor's own page tables: what was mapped is what a walk finds, and nothing else."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from penglai.abi.errors import MonitorBug
from penglai.abi.riscv import PAGE_SIZE, Pte
from penglai.machine import PhysicalMemory
from penglai.monitor.pagetable import PageTable

MEMORY = PhysicalMemory(8 << 20)
LOW = st.integers(1, 1 << 18)
ANYWHERE = st.integers(1, (1 << 27) - 1)
PAGE_NUMBERS = st.sets(LOW, max_size=40) | st.sets(ANYWHERE, max_size=40)
RW, RX = int(Pte.R | Pte.W | Pte.U), int(Pte.R | Pte.X | Pte.U)


def fresh() -> PageTable:
    MEMORY.bytes[:] = 0
    return PageTable(MEMORY, 0)


def add(table: PageTable, numbers: set[int], first_page: int, first_spare: int) -> dict[int, int]:
    addresses = np.array(sorted(numbers), dtype=np.uint64) * np.uint64(PAGE_SIZE)
    pages = np.arange(first_page, first_page + len(addresses))
    permissions = np.array([RW if number % 2 else RX for number in sorted(numbers)], dtype=np.uint8)
    spare = np.arange(first_spare, first_spare + table.missing_tables(addresses))
    table.map(addresses, pages, permissions, spare)
    return dict(zip(addresses.tolist(), pages.tolist(), strict=True))


@settings(max_examples=150, deadline=None)
@given(first=PAGE_NUMBERS, second=PAGE_NUMBERS, gone=st.randoms(use_true_random=False))
def test_mappings_are_what_was_mapped(first, second, gone):
    table = fresh()
    expected = add(table, first, 1000, 1)
    expected |= add(table, second - first, 1500, 1 + len(table.tables))
    for address, page, pte in table.mappings():
        assert expected[address] == page
        assert pte & 0xFF & ~int(Pte.V | Pte.A | Pte.D) == (RW if address // PAGE_SIZE % 2 else RX)
        assert bool(pte & Pte.D) is bool(pte & Pte.W), "the hart never has to write to the table"
    assert {address: page for address, page, _ in table.mappings()} == expected
    removed = gone.sample(sorted(expected), len(expected) // 2)
    if removed:
        pages = table.unmap(np.array(sorted(removed), dtype=np.uint64))
        assert pages.tolist() == [expected[address] for address in sorted(removed)]
    left = {address: page for address, page in expected.items() if address not in removed}
    assert {address: page for address, page, _ in table.mappings()} == left


def test_a_page_is_never_mapped_over_another():
    table = fresh()
    add(table, {5, 6}, 1000, 1)
    with pytest.raises(MonitorBug, match="over another"):
        add(table, {6}, 1100, 10)


def test_unmapping_what_is_not_mapped_is_a_bug():
    table = fresh()
    add(table, {5}, 1000, 1)
    with pytest.raises(MonitorBug, match="not mapped"):
        table.unmap(np.array([6 * PAGE_SIZE], dtype=np.uint64))


def test_tables_that_nobody_needs_are_a_bug():
    table = fresh()
    address = np.array([PAGE_SIZE], dtype=np.uint64)
    with pytest.raises(MonitorBug, match="more table pages"):
        table.map(address, np.array([100]), np.array([RW], dtype=np.uint8), np.arange(1, 9))
