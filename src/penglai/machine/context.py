"""The contract between a hart and the software above it: a context in, a trap out."""

import ctypes
from typing import NamedTuple

from penglai.abi.riscv import INTERRUPT, PAGE_SHIFT, SV39_MODE, Cause

NEVER = (1 << 64) - 1
"""A deadline that never comes."""


X_NAMES = (
    *("zero", "ra", "sp", "gp", "tp", "t0", "t1", "t2", "s0", "s1"),
    *("a0", "a1", "a2", "a3", "a4", "a5", "a6", "a7"),
    *("s2", "s3", "s4", "s5", "s6", "s7", "s8", "s9", "s10", "s11", "t3", "t4", "t5", "t6"),
)
"""Of x0..x31 in the ABI (RISC-V ELF psABI, chapter 1)."""


class _Named(ctypes.Structure):
    _fields_ = tuple((name, ctypes.c_uint64) for name in X_NAMES)


class _Integers(ctypes.Union):
    """x0..x31 by number, and by name: that takes less than half as long."""

    _anonymous_ = ("named",)
    _fields_ = (("x", ctypes.c_uint64 * 32), ("named", _Named))


class Context(ctypes.Structure):
    """Everything of a program that a hart holds while it runs it.

    x: x0..x31, of which x0 is ignored; they also have their names, such as a0.  f: the raw bits of f0..f31.
    priv: 0 U, 1 S, 3 M.  satp: 0 or an Sv39 root.

    owner: the hart that may load and save it, as `Hart.owner`, or 0.  Who changes the owner has made sure
    that the hart is not running it.
    """

    _anonymous_ = ("integers",)
    _fields_ = (
        ("integers", _Integers),
        ("f", ctypes.c_uint64 * 32),
        ("fcsr", ctypes.c_uint64),
        ("pc", ctypes.c_uint64),
        ("priv", ctypes.c_uint64),
        ("satp", ctypes.c_uint64),
        ("owner", ctypes.c_uint64),
    )


class RunRecord(ctypes.Structure):
    """Memory that a hart shares with run.c: until when to run, and the trap that came.

    deadline: ns.  blocks: 0, or how many the next run has.  stale: not 0, if the next run has to forget
    translated addresses first.  owner: the hart's, see Context.  without_floats: not 0 from the beginning if
    floating-point instructions are illegal.

    counted: not 0 from the beginning if jumps back are counted, which with the pc say where a program is
    (where.c).  jumps: those of the last run.  bounded: if not 0, the next run ends with DEBUG when it gets to
    the place until_jumps, until_pc.  times: the address of an array of so many words as times_room, or 0:
    what runs read of the clock, of which the first times_known are known already; times_read counts on.
    """

    _fields_ = (
        ("deadline", ctypes.c_uint64),
        ("blocks", ctypes.c_uint64),
        ("stale", ctypes.c_uint64),
        ("owner", ctypes.c_uint64),
        ("cause", ctypes.c_uint64),
        ("epc", ctypes.c_uint64),
        ("tval", ctypes.c_uint64),
        ("without_floats", ctypes.c_uint64),
        ("counted", ctypes.c_uint64),
        ("jumps", ctypes.c_uint64),
        ("bounded", ctypes.c_uint64),
        ("until_jumps", ctypes.c_uint64),
        ("until_pc", ctypes.c_uint64),
        ("times", ctypes.c_uint64),
        ("times_known", ctypes.c_uint64),
        ("times_room", ctypes.c_uint64),
        ("times_read", ctypes.c_uint64),
    )


class Trap(NamedTuple):
    """Why a hart left its context: mcause, mepc and mtval of the RISC-V privileged specification.

    epc is the instruction that did not complete (exceptions) or comes next (interrupts).
    """

    cause: int
    epc: int
    tval: int

    @property
    def is_interrupt(self) -> bool:
        """True for timer and software interrupts, False for exceptions."""
        return bool(self.cause & INTERRUPT)

    def __str__(self) -> str:
        return f"{cause_name(self.cause)} at pc {self.epc:#x}, tval {self.tval:#x}"


def cause_name(cause: int) -> str:
    """The cause in words, such as "load page fault"."""
    try:
        return Cause(cause).name.replace("_", " ").lower()
    except ValueError:
        return f"cause {cause:#x}"


def make_satp(root: int) -> int:
    """satp for Sv39 translation through the page table whose root page has this physical address."""
    return SV39_MODE << 60 | root >> PAGE_SHIFT
