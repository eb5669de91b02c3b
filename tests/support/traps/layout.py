"""Where things are in the memory of the machine on which the cases run; the same everywhere.

Translation: Sv39 below Sv48 below Sv57, so that all of them see the same.  The machine's own code and data
are in a gigapage of S-mode's; the cases have two pages, A and B, one behind the other, whose entries they
choose, and one page of code for each of S-mode and U-mode.
"""

import struct

from penglai.abi.riscv import PAGE_SIZE, RAM_BASE, Pte

MEMORY = 32 << 20
HARNESS = RAM_BASE
CODE = RAM_BASE + 0x1_0000
"""Two physical pages with all slots of code."""
TABLES = RAM_BASE + 0x10_0000
ROOT57, ROOT48, ROOT39, MIDDLE, LEAVES, CODE_LEAVES, FETCH_MIDDLE = (
    TABLES + PAGE_SIZE * number for number in range(7)
)
FRAME_A = RAM_BASE + 0x20_0000
FRAME_B = RAM_BASE + 0x20_2000
"""The frames of A and B, which are no neighbours."""
RECORDS = RAM_BASE + 0x40_0000
RESULTS = RAM_BASE + 0x100_0000

A = 0x1000_0000
"""Virtual address of page A; B follows."""
B = A + PAGE_SIZE
CODE_U = 0x2000_0000
CODE_S = 0x2020_0000
"""Where U-mode and S-mode find the code."""
HOLE = 0x9800_0000
"""Physical: neither memory nor a device, here or on QEMU's board."""

SLOT_A = LEAVES
SLOT_B = LEAVES + 8
SLOT_MIDDLE = MIDDLE + 8 * (A >> 21 & 511)
SLOT_TOP = ROOT39
"""Physical addresses of the entries that lead to A (and B), from leaf to root."""

MODES = {
    "bare": 0,
    "sv39": 8 << 60 | ROOT39 >> 12,
    "sv48": 9 << 60 | ROOT48 >> 12,
    "sv57": 10 << 60 | ROOT57 >> 12,
}


def pte(pa: int, bits: int) -> int:
    """An entry.  bits: those of Pte, or any."""
    return pa >> 12 << 10 | bits


def _table(entries: dict[int, int]) -> bytes:
    page = bytearray(PAGE_SIZE)
    for slot, entry in entries.items():
        struct.pack_into("<Q", page, 8 * slot, entry)
    return bytes(page)


def tables() -> bytes:
    """The page tables, from TABLES on."""
    done = Pte.V | Pte.A | Pte.D
    own = pte(RAM_BASE, Pte.R | Pte.W | Pte.X | done)
    code = {slot: pte(CODE + slot * PAGE_SIZE, Pte.R | Pte.X | Pte.U | done) for slot in (0, 1)}
    return b"".join(
        (
            _table({0: pte(ROOT48, Pte.V)}),
            _table({0: pte(ROOT39, Pte.V)}),
            _table({0: pte(MIDDLE, Pte.V), 2: own}),
            _table(
                {
                    A >> 21 & 511: pte(LEAVES, Pte.V),
                    CODE_U >> 21 & 511: pte(CODE_LEAVES, Pte.V),
                    CODE_S >> 21 & 511: pte(FETCH_MIDDLE, Pte.V),
                }
            ),
            _table({}),
            _table(code),
            _table({slot: entry & ~int(Pte.U) for slot, entry in code.items()}),
        )
    )
