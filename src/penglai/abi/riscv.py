"""Facts of the RISC-V architecture that cross a boundary: causes, Sv39.

Source: RISC-V privileged specification, chapters "Machine-Level ISA" (causes) and "Supervisor-Level
ISA" (Sv39).
"""

from enum import IntEnum, IntFlag

PAGE_SIZE = 4096
"""Bytes of a page."""

PAGE_SHIFT = 12

CHUNK_SIZE = 2 << 20
"""Bytes of a chunk, the unit in which the host gives memory to the monitor."""

RAM_BASE = 0x8000_0000
"""Physical address of the first byte of RAM."""

SV39_MODE = 8
"""satp.MODE of three-level translation."""

TABLE_ENTRIES = 512
"""Page-table entries of a page-table page, 8 bytes each."""

TIMEBASE_HZ = 10_000_000
"""The time CSR and SBI deadlines count at this rate."""

NS_PER_TICK = 1_000_000_000 // TIMEBASE_HZ

INTERRUPT = 1 << 63
"""The bit of mcause that tells interrupts from exceptions."""


class Cause(IntEnum):
    """mcause of every trap that a hart reports."""

    FETCH_MISALIGNED = 0
    FETCH_ACCESS = 1
    ILLEGAL_INSTRUCTION = 2
    BREAKPOINT = 3
    LOAD_MISALIGNED = 4
    LOAD_ACCESS = 5
    STORE_MISALIGNED = 6
    STORE_ACCESS = 7
    ECALL_U = 8
    ECALL_S = 9
    ECALL_M = 11
    FETCH_PAGE_FAULT = 12
    LOAD_PAGE_FAULT = 13
    STORE_PAGE_FAULT = 15
    M_SOFTWARE_INTERRUPT = INTERRUPT | 3
    M_TIMER_INTERRUPT = INTERRUPT | 7
    DEBUG = INTERRUPT | 24
    """A debugger's address was reached.  The specification leaves 16 and above to platforms."""


class Pte(IntFlag):
    """Bits 0 to 7 of an Sv39 page-table entry."""

    V = 1
    R = 2
    W = 4
    X = 8
    U = 16
    G = 32
    A = 64
    D = 128


PTE_PPN_SHIFT = 10
PTE_RESERVED = 0x3FF << 54
"""Bits of a PTE that must be zero without the Svnapot and Svpbmt extensions."""
