"""Bare programs on a hart: assembler text, a page table, a context.  No monitor."""

import functools
import tempfile
from collections.abc import Iterator
from itertools import count
from pathlib import Path
from typing import ClassVar
from weakref import WeakKeyDictionary

from elftools.elf.elffile import ELFFile

from penglai.abi.riscv import PAGE_SIZE, PTE_PPN_SHIFT, Pte
from penglai.machine import NEVER, Board, Context, Trap, make_satp
from penglai.machine.engine import Native
from penglai.toolchain.compiler import compile_c

R, W, X, U = Pte.R, Pte.W, Pte.X, Pte.U
CODE = 0x1000
DATA = 0x10000
"""A readable and writable page of every bare program."""
READ_ONLY = 0x11000
"""The page behind it."""
UNMAPPED = 0x7777000


ENGINES = ["unicorn", *([] if Native.obstacle() else ["native"])]
LONG_NS = 2_000_000_000


def run(board: Board, context: Context, blocks: int, ns: int = LONG_NS) -> Trap:
    """Run on the first hart for about so many blocks at most; so many ns on an engine that counts none."""
    hart = board.harts[0]
    if board.engine.name == "unicorn":
        return hart.run(context, blocks=blocks)
    hart.deadline = board.clock.now() + ns
    trap = hart.run(context)
    hart.deadline = NEVER
    return trap


@functools.cache
def assemble(text: str) -> bytes:
    """Machine code of RISC-V assembler text."""
    with tempfile.TemporaryDirectory() as directory:
        source = Path(directory, "code.S")
        source.write_text(f".text\n{text}\n")
        target = Path(directory, "code.o")
        flags = ["-target", "riscv64-freestanding-none", "-mcpu=generic_rv64+m+a+f+d+c", "-c"]
        compile_c([*flags, source], target)
        with target.open("rb") as file:
            return ELFFile(file).get_section_by_name(".text").data()


class AddressSpace:
    """A page table and pages on a board, built by hand from a region of RAM that is used nowhere else."""

    _pages: ClassVar[WeakKeyDictionary[Board, Iterator[int]]] = WeakKeyDictionary()

    def __init__(self, board: Board) -> None:
        self.memory = board.memory
        self._fresh = self._pages.setdefault(board, count(16))
        self.root = self.page()

    def page(self) -> int:
        """Physical address of a fresh, zeroed page."""
        number = next(self._fresh)
        self.memory.pages[number] = 0
        return self.memory.address_of(number)

    def map(self, va: int, pa: int, permissions: Pte) -> None:
        table = self.root
        for shift in (30, 21):
            words = self.memory.words[self.memory.page_of(table)]
            slot = va >> shift & 511
            if not words[slot]:
                words[slot] = self.page() >> 12 << PTE_PPN_SHIFT | Pte.V
            table = int(words[slot]) >> PTE_PPN_SHIFT << 12
        bits = permissions | Pte.V | Pte.A | Pte.D
        self.memory.words[self.memory.page_of(table)][va >> 12 & 511] = pa >> 12 << PTE_PPN_SHIFT | bits

    def code(self, va: int, data: bytes) -> list[int]:
        """Map machine code at va; returns its pages."""
        pages = []
        for offset in range(0, len(data), PAGE_SIZE):
            pages.append(self.page())
            self.memory.write(pages[-1], data[offset : offset + PAGE_SIZE])
            self.map(va + offset, pages[-1], R | X | U)
        return pages

    def context(self, pc: int = CODE, **registers: int) -> Context:
        """A context at pc in U-mode.  registers: x5=..., x10=..."""
        context = Context(pc=pc, satp=make_satp(self.root), priv=0)
        for name, value in registers.items():
            context.x[int(name[1:])] = value % (1 << 64)
        return context


def registers(context: Context) -> bytes:
    """All that a program sees of a context."""
    return bytes(context)[: Context.satp.offset]


def load(board: Board, text: str | bytes, **registers: int) -> tuple[AddressSpace, Context]:
    """A program with a data page at DATA (in a0) and a read-only one at READ_ONLY (in a2); a1 is unmapped."""
    space = AddressSpace(board)
    space.code(CODE, assemble(text) if isinstance(text, str) else text)
    space.map(DATA, space.page(), R | W | U)
    space.map(READ_ONLY, space.page(), R | U)
    given = {"x10": DATA, "x11": UNMAPPED, "x12": READ_ONLY, **registers}
    return space, space.context(**given)
