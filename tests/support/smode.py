"""Bare programs in S-mode: machine code at the start of RAM, a trap handler that reports, a page table."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from penglai.abi.riscv import PAGE_SIZE, RAM_BASE, Pte
from penglai.machine import Clock, PhysicalMemory
from penglai.machine.supervisor import Exit, Supervisor
from tests.support.bare import assemble

MEMORY = 16 << 20
CODE = RAM_BASE
DATA = RAM_BASE + 0x10_0000
"""A page for the program's data."""
FAR = RAM_BASE + 0x80_0000
"""A page in another slab of the bus, for tests of what it shows."""
TABLES = RAM_BASE + 0x20_0000

SIE, SPIE, SPP, SUM = 1 << 1, 1 << 5, 1 << 8, 1 << 18
SSI, STI, SEI = 1, 5, 9
INTERRUPT = 1 << 63

TRAP = """
.p2align 2
trap:
    csrr a0, scause
    csrr a1, sepc
    csrr a2, stval
    csrr a3, sstatus
    li a7, 0x999
    ecall
"""
"""Reports a trap: what `Bare.trap` reads."""

SETUP = "la t0, trap\ncsrw stvec, t0\n"


@dataclass(frozen=True)
class Trapped:
    """What the trap handler reported.  user: it came from U-mode."""

    cause: int
    epc: int
    tval: int
    user: bool
    interrupts_were_on: bool


class Bare:
    """A supervisor with a program.  text: assembler, which begins at CODE; labels end up there."""

    def __init__(self, text: str, clock: Clock | None = None, **registers: int) -> None:
        self.clock = clock or Clock()
        self.memory = PhysicalMemory(MEMORY)
        self.memory.write(CODE, assemble(text + TRAP))
        numbers = {int(name[1:]): value % (1 << 64) for name, value in registers.items()}
        self.hart = Supervisor(self.memory, self.clock, CODE, numbers)

    def run(self) -> Exit:
        return self.hart.run()

    def call(self) -> list[int]:
        """a0..a7 at the next call of the firmware."""
        reason = self.run()
        assert reason is Exit.CALL, reason
        return list(self.hart.exit.a)

    def trap(self) -> Trapped:
        """The next trap that the handler reports."""
        cause, epc, tval, status, *_, tag = self.call()
        assert tag == 0x999
        return Trapped(cause, epc, tval, not status & SPP, bool(status & SPIE))

    def word(self, address: int) -> int:
        return int.from_bytes(self.memory.read(address, 8), "little")


@contextmanager
def bare(text: str, clock: Clock | None = None, **registers: int) -> Iterator[Bare]:
    program = Bare(text, clock, **registers)
    yield program
    program.memory.close()


class Tables:
    """A page table for S-mode: levels 3, 4 or 5 (Sv39, Sv48, Sv57), pages of 4 KiB."""

    def __init__(self, memory: PhysicalMemory, levels: int = 3, where: int = TABLES) -> None:
        self.memory = memory
        self.levels = levels
        self._next = where
        self.root = self._page()

    @property
    def satp(self) -> int:
        return (self.levels + 5) << 60 | self.root >> 12

    def _page(self) -> int:
        page = self._next
        self._next += PAGE_SIZE
        self.memory.write(page, bytes(PAGE_SIZE))
        return page

    def entry(self, va: int) -> int:
        """Physical address of the leaf entry of va; makes tables as needed."""
        table = self.root
        for level in range(self.levels - 1, 0, -1):
            slot = table + 8 * (va >> 12 + 9 * level & 511)
            pte = int.from_bytes(self.memory.read(slot, 8), "little")
            if not pte:
                pte = self._page() >> 12 << 10 | Pte.V
                self.memory.write(slot, pte.to_bytes(8, "little"))
            table = pte >> 10 << 12
        return table + 8 * (va >> 12 & 511)

    def map(self, va: int, pa: int, bits: Pte) -> None:
        pte = pa >> 12 << 10 | bits | Pte.V | Pte.A | Pte.D
        self.memory.write(self.entry(va), pte.to_bytes(8, "little"))

    def identity(self, start: int, size: int, bits: Pte) -> None:
        for address in range(start, start + size, PAGE_SIZE):
            self.map(address, address, bits)
