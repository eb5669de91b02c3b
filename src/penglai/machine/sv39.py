"""The shape of a page table, by arithmetic on arrays (privileged specification, "Sv39")."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from penglai.abi.riscv import TABLE_ENTRIES

TABLE_BITS = 9
"""Bits of a page number that index one table."""

PAGE_NUMBER_MASK = (1 << 3 * TABLE_BITS) - 1
"""Virtual page numbers have 27 bits."""


@dataclass(frozen=True)
class TablePlan:
    """Where the entries of a table go that maps n pages.

    tables: how many pages it takes: the root, which is number 0, then middle tables, then leaf tables.
    slots: for each of the n pages, the place of its entry among the words of all these tables.  links: the
    places of the entries that point to the tables 1, 2, ....  middle, leaf: the numbers of the middle and
    leaf tables, by the upper 9 and 18 bits of the page numbers that they are for.
    """

    tables: int
    slots: NDArray[np.int64]
    links: NDArray[np.int64]
    middle: dict[int, int]
    leaf: dict[int, int]


def plan_tables(numbers: NDArray[np.int64]) -> TablePlan:
    """The plan of a table for these virtual page numbers (27 bits), in any order."""
    leaves, leaf_of = np.unique(numbers >> TABLE_BITS, return_inverse=True)
    middles, middle_of = np.unique(leaves >> TABLE_BITS, return_inverse=True)
    first_leaf = 1 + len(middles)
    tables = first_leaf + len(leaves)
    return TablePlan(
        tables=tables,
        slots=(first_leaf + leaf_of) * TABLE_ENTRIES + numbers % TABLE_ENTRIES,
        links=np.concatenate([middles, (1 + middle_of) * TABLE_ENTRIES + leaves % TABLE_ENTRIES]),
        middle=dict(zip(middles.tolist(), range(1, first_leaf), strict=True)),
        leaf=dict(zip(leaves.tolist(), range(first_leaf, tables), strict=True)),
    )
