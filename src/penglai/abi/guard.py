"""The page-table guard: calls by which a kernel has its page tables written for it.

S-mode ecalls with the monitor's extension number.  A kernel made for Penglai-TVM makes them; ours does not.
Every result is 0, or -1 in a0 if something is wrong.
"""

import ctypes
from enum import IntEnum

AREA_PARTS = 3
"""Levels of Sv39, each of which has its tables in a part of the area of its own."""

MAX_RECORDS = 512
"""Records of one WRITE call."""


class GuardCall(IntEnum):
    """Function numbers (a6)."""

    SPLIT = 81
    """pa of an entry that maps 2 MiB, pa of a page for the 512 entries that take its place."""
    DIVIDE = 83
    """log2 of how many pages of the area are root tables, and how many are middle ones, before last ones."""
    START = 100
    """pa and bytes of the area of all page tables; pa and bytes of a place for the monitor; pa of an i32.

    1 in the i32 says that from now on every entry is written by a call."""
    WRITE = 101
    """reason, pa, value, size: as Write says."""


class Write(IntEnum):
    """Reasons (a0) of WRITE: what pa, value and size are."""

    ONE = 1
    """An entry, what becomes of it."""
    CLEAR = 2
    """The first entry; 0; bytes."""
    COPY = 3
    """The first entry, the pa of others, bytes."""
    CLEAR_MANY = 4
    """The pa of Records, how many.  value: bytes to clear."""
    SET_MANY = 5
    """The pa of Records, how many.  value: the entry."""


class Record(ctypes.LittleEndianStructure):
    """What CLEAR_MANY and SET_MANY are given, 16 bytes each.  pa: of an entry."""

    _fields_ = (("pa", ctypes.c_uint64), ("value", ctypes.c_uint64))
