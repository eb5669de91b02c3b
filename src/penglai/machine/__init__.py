"""The RISC-V machine: physical memory, harts on Unicorn, traps, clock.  Knows no enclave."""

from penglai.machine.board import Board, HostPort
from penglai.machine.clock import Clock, ManualClock
from penglai.machine.context import NEVER, Context, Trap, cause_name, make_satp
from penglai.machine.hart import Hart
from penglai.machine.memory import HostMemory, PhysicalMemory, parse_size

__all__ = [
    "NEVER",
    "Board",
    "Clock",
    "Context",
    "Hart",
    "HostMemory",
    "HostPort",
    "ManualClock",
    "PhysicalMemory",
    "Trap",
    "cause_name",
    "make_satp",
    "parse_size",
]
