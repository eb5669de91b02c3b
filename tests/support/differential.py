"""Random programs, each on two engines, that must end alike: registers, fcsr, trap and memory.

What engines do differently is left out: sc without lr before it, cycle counters, and the upper half of what
fmv.w.x and fsgnj.s make (docs/engine.md).
"""

import random
import struct
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from penglai.abi.riscv import PAGE_SIZE, Cause
from penglai.machine import Board, Context, Trap
from penglai.machine.engine import Native
from tests.support.bare import CODE, AddressSpace, R, U, W, registers
from tests.support.verifier import verify

DATA = 0x10000
READ_ONLY = 0x12000
"""Behind the two pages of DATA."""
HIGH = (1 << 64) - (1 << 20)
"""A page in the upper half of the addresses."""
ECALL = 0x73
COUNTER = 31
"""Counts down in loops; no other instruction writes to it."""
POINTERS = (8, 9, 10, 11)

PLAIN = {"arithmetic": 0x33, "arithmetic32": 0x3B}
SPECIAL = [
    *(0, 1 << 63, 0x3FF0000000000000, 0xBFF0000000000000, 0x7FF0000000000000, 0xFFF0000000000000),
    *(0x7FF8000000000000, 0x7FF0000000000001, 0xFFF8000000000001, 1, 0x000FFFFFFFFFFFFF),
    *(0x7FEFFFFFFFFFFFFF, 0x0010000000000000, 0x41DFFFFFFFC00000, 0xC1E0000000000000, 0x41E0000000000000),
    *(0x43E0000000000000, 0xC3E0000000000000, 0x43F0000000000000, 0xBFE0000000000000, 0x41F0000000000000),
    *(0xC1E0000000100000, 0x41DFFFFFFFFFFFFF, 0x3CA0000000000000, 0x4202A05F20000000),
]
SPECIAL32 = [
    *(0, 0x80000000, 0x3F800000, 0xBF800000, 0x7F800000, 0xFF800000, 0x7FC00000, 0x7F800001, 0xFFC00001),
    *(1, 0x007FFFFF, 0x7F7FFFFF, 0x00800000, 0x4F000000, 0xCF000000, 0x4F800000, 0x5F000000, 0xBF000000),
    *(0xDF000000, 0x5F800000, 0x33800000, 0x50000000),
]
ENDLESS_NS = 2_000_000_000
"""A program that has not ended after so long does not end."""
BOX = 0xFFFFFFFF00000000
INTEGERS = [
    *(0, 1, 2, 7, (1 << 64) - 1, 1 << 63, (1 << 63) - 1, 1 << 31, (1 << 31) - 1, (1 << 32) - 1, 1 << 32),
    *((1 << 64) - (1 << 31), 0x8000000080000000, 255, 128, 0xFFFF, 63, 64, 31, 32),
]


def r_type(opcode: int, kind: int, upper: int, rd: int, rs1: int, rs2: int) -> int:
    return upper << 25 | rs2 << 20 | rs1 << 15 | kind << 12 | rd << 7 | opcode


def i_type(opcode: int, kind: int, rd: int, rs1: int, imm: int) -> int:
    return (imm & 0xFFF) << 20 | rs1 << 15 | kind << 12 | rd << 7 | opcode


def s_type(opcode: int, kind: int, rs1: int, rs2: int, imm: int) -> int:
    return (imm >> 5 & 0x7F) << 25 | rs2 << 20 | rs1 << 15 | kind << 12 | (imm & 31) << 7 | opcode


def b_type(kind: int, rs1: int, rs2: int, imm: int) -> int:
    upper = (imm >> 12 & 1) << 6 | imm >> 5 & 0x3F
    lower = (imm >> 1 & 15) << 1 | imm >> 11 & 1
    return upper << 25 | rs2 << 20 | rs1 << 15 | kind << 12 | lower << 7 | 0x63


def j_type(rd: int, imm: int) -> int:
    bits = (imm >> 20 & 1) << 19 | (imm >> 1 & 0x3FF) << 9 | (imm >> 11 & 1) << 8 | imm >> 12 & 0xFF
    return bits << 12 | rd << 7 | 0x6F


class Author:
    """Writes programs.  They end: jumps go forwards, but for loops that count down."""

    def __init__(self, chance: random.Random) -> None:
        self.chance = chance
        self.kinds: list[tuple[int, Callable[[], list[int]]]] = [
            (8, self.arithmetic),
            (8, self.immediate),
            (3, self.multiply),
            (2, self.upper),
            (8, self.load),
            (6, self.store),
            (3, self.atomic),
            (2, self.reservation),
            (8, self.floating),
            (4, self.fused),
            (4, self.floating_access),
            (6, self.conversion),
            (3, self.sign),
            (1, self.csr),
            (1, self.fence),
            (6, self.compressed),
            (1, self.anything),
        ]

    def reg(self) -> int:
        return self.chance.randrange(31)

    def rd(self) -> int:
        """Rarely a pointer, which then points anywhere."""
        number = self.chance.randrange(31)
        return number if number not in POINTERS or self.chance.random() < 0.05 else 5

    def base(self) -> int:
        return self.chance.choice(POINTERS) if self.chance.random() < 0.97 else self.reg()

    def offset(self) -> int:
        return self.chance.choice([self.chance.randrange(-64, 64) * 8, self.chance.randrange(-2048, 2048)])

    def rounding(self) -> int:
        return self.chance.choice([7, 7, 7, 7, 7, 7, 0, 1, 2, 3, 4])

    def format(self) -> int:
        return self.chance.randrange(2)

    def arithmetic(self) -> list[int]:
        kind, narrow = self.chance.randrange(8), self.chance.random() < 0.4
        if narrow:
            kind = self.chance.choice([0, 1, 5])
        upper = 0x20 if kind in (0, 5) and self.chance.random() < 0.5 else 0
        return [r_type(0x3B if narrow else 0x33, kind, upper, self.rd(), self.reg(), self.reg())]

    def immediate(self) -> list[int]:
        kind, narrow = self.chance.randrange(8), self.chance.random() < 0.3
        if narrow:
            kind = self.chance.choice([0, 0, 1, 5])
        imm = self.chance.choice([self.chance.randrange(-2048, 2048), -1, 0, 255])
        if kind in (1, 5):
            imm = self.chance.randrange(32 if narrow else 64)
            imm |= 0x400 if kind == 5 and self.chance.random() < 0.5 else 0
        return [i_type(0x1B if narrow else 0x13, kind, self.rd(), self.reg(), imm)]

    def multiply(self) -> list[int]:
        narrow = self.chance.random() < 0.4
        kind = self.chance.choice([0, 4, 5, 6, 7]) if narrow else self.chance.randrange(8)
        return [r_type(0x3B if narrow else 0x33, kind, 1, self.rd(), self.reg(), self.reg())]

    def upper(self) -> list[int]:
        return [self.chance.randrange(1 << 20) << 12 | self.rd() << 7 | self.chance.choice([0x37, 0x17])]

    def load(self) -> list[int]:
        return [i_type(0x03, self.chance.randrange(7), self.rd(), self.base(), self.offset())]

    def store(self) -> list[int]:
        return [s_type(0x23, self.chance.randrange(4), self.base(), self.reg(), self.offset())]

    def atomic(self) -> list[int]:
        which = self.chance.choice([0, 1, 4, 8, 12, 16, 20, 24, 28])
        upper = which << 2 | self.chance.randrange(4)
        return [r_type(0x2F, self.chance.choice([2, 3]), upper, self.rd(), self.base(), self.reg())]

    def reservation(self) -> list[int]:
        kind, base = self.chance.choice([2, 3]), self.chance.choice(POINTERS[:2])
        between = self.chance.choice([[], self.arithmetic()])
        return [
            r_type(0x2F, kind, 2 << 2, 5, base, 0),
            *between,
            r_type(0x2F, kind, 3 << 2, self.rd(), base, self.reg()),
        ]

    def floating(self) -> list[int]:
        which = self.chance.choice([0, 0, 1, 2, 3, 5, 11, 20])
        kind = self.chance.randrange(2) if which == 5 else self.chance.randrange(3)
        kind = kind if which in (5, 20) else self.rounding()
        rd = self.rd() if which == 20 else self.chance.randrange(32)
        first = self.chance.randrange(32)
        second = first if self.chance.random() < 0.1 else self.chance.randrange(32)
        second = 0 if which == 11 else second
        return [r_type(0x53, kind, which << 2 | self.format(), rd, first, second)]

    def fused(self) -> list[int]:
        opcode = self.chance.choice([0x43, 0x47, 0x4B, 0x4F])
        upper = self.chance.randrange(32) << 2 | self.format()
        rd, rs1, rs2 = (self.chance.randrange(32) for _ in range(3))
        return [r_type(opcode, self.rounding(), upper, rd, rs1, rs2)]

    def floating_access(self) -> list[int]:
        size = self.chance.choice([2, 3])
        if self.chance.random() < 0.6:
            return [i_type(0x07, size, self.chance.randrange(32), self.base(), self.offset())]
        return [s_type(0x27, size, self.base(), self.chance.randrange(32), self.offset())]

    def conversion(self) -> list[int]:
        which, form, f = self.chance.choice([8, 24, 26, 28, 30]), self.format(), self.chance.randrange(32)
        rounding = self.chance.choice([1, 1, 7, 0, 2, 3, 4])
        if which == 8:
            return [r_type(0x53, rounding, which << 2 | form, f, self.chance.randrange(32), 1 - form)]
        if which == 24:
            second = self.chance.randrange(4)
            return [r_type(0x53, rounding, which << 2 | form, self.rd(), f, second)]
        if which == 26:
            second = self.chance.randrange(4)
            return [r_type(0x53, self.rounding(), which << 2 | form, f, self.reg(), second)]
        kind = self.chance.randrange(2) if which == 28 else 0
        rd, rs1 = (self.rd(), f) if which == 28 else (f, self.reg())
        move = r_type(0x53, kind, which << 2 | form, rd, rs1, 0)
        return [move] if form or which == 28 else [move, self.boxing(f)]

    def sign(self) -> list[int]:
        rs1 = self.chance.randrange(32)
        rs2 = rs1 if self.chance.random() < 0.5 else self.chance.randrange(32)
        form, rd = self.format(), self.chance.randrange(32)
        sign = r_type(0x53, self.chance.randrange(3), 4 << 2 | form, rd, rs1, rs2)
        return [sign] if form else [sign, self.boxing(rd)]

    @staticmethod
    def boxing(f: int) -> int:
        """fmin.s of a register and itself."""
        return r_type(0x53, 0, 5 << 2, f, f, f)

    def csr(self) -> list[int]:
        number = self.chance.choice([1, 2, 3])
        return [i_type(0x73, self.chance.choice([1, 2, 3, 5, 6, 7]), self.rd(), self.reg(), number)]

    def fence(self) -> list[int]:
        return [0x0FF0000F]

    def compressed(self) -> list[int]:
        """Two of them: but for jumps, and what would write to the counter or end the program."""
        return [self.short() | self.short() << 16]

    def short(self) -> int:
        while True:
            code = self.chance.randrange(1 << 16)
            quadrant, kind, rd = code & 3, code >> 13, code >> 7 & 31
            jumps = (quadrant == 1 and kind >= 5) or (quadrant == 2 and kind == 4 and not code >> 2 & 31)
            writes = quadrant in (1, 2) and rd in (*POINTERS, COUNTER)
            stack = quadrant == 2 and kind in (1, 2, 3, 5, 6, 7) and self.chance.random() < 0.9
            if quadrant != 3 and not jumps and not writes and not stack:
                return code

    def anything(self) -> list[int]:
        """Any 32 bits, which are illegal as a rule, and end the program.  Not a jump; not a call either."""
        code = self.chance.randrange(1 << 30) << 2 | 3
        harmless = code & 0x7F in (0x13, 0x33, 0x1B, 0x3B, 0x2F, 0x0F) and code >> 7 & 31 != COUNTER
        sc = code & 0x7F == 0x2F and code >> 27 in (2, 3)
        return [code] if harmless and not sc and self.chance.random() < 0.1 else []

    def some(self, count: int) -> list[int]:
        weights = [weight for weight, _ in self.kinds]
        found: list[int] = []
        while len(found) < count:
            found += self.chance.choices(self.kinds, weights)[0][1]()
        return found

    def part(self) -> list[int]:
        """Straight code, a branch over some, a loop, or a call."""
        body = self.some(self.chance.randrange(1, 8))
        shape = self.chance.randrange(6)
        if shape == 0:
            kind = self.chance.choice([0, 1, 4, 5, 6, 7])
            return [b_type(kind, self.reg(), self.reg(), 4 * len(body) + 4), *body]
        if shape == 1:
            times = self.chance.choice([1, 2, 5, 50, 300])
            end = [i_type(0x13, 0, COUNTER, COUNTER, -1), b_type(1, COUNTER, 0, -4 * len(body) - 4)]
            return [i_type(0x13, 0, COUNTER, 0, times), *body, *end]
        if shape == 2:  # a function behind a jump over it
            link = self.chance.choice([1, 1, 5])
            function = [*self.without_link(body, link), i_type(0x67, 0, 0, link, 0)]
            return [j_type(0, 4 * len(function) + 4), *function, j_type(link, -4 * len(function))]
        if shape == 3:  # the same by auipc, and a jump to a register
            return [0x17 | 6 << 7, i_type(0x67, 0, 0, 6, 4 * len(body) + 8 + self.chance.randrange(2)), *body]
        return body

    def without_link(self, body: list[int], link: int) -> list[int]:
        """A body that cannot have changed the register of the return: only stores."""
        return [code for code in body if code & 0x7F in (0x23, 0x27)] or [0x13 | link << 15 | 6 << 7]

    def program(self) -> bytes:
        codes = [code for _ in range(self.chance.randrange(1, 9)) for code in self.part()]
        return struct.pack(f"<{len(codes) + 1}I", *codes, ECALL)

    def floating_register(self) -> int:
        value = self.chance.choice(
            [
                self.chance.choice(SPECIAL),
                self.chance.choice(SPECIAL32) | BOX,
                self.chance.getrandbits(64),
                self.chance.getrandbits(32) | BOX,
                struct.unpack("<Q", struct.pack("<d", self.chance.uniform(-1e6, 1e6)))[0],
                struct.unpack("<I", struct.pack("<f", self.chance.uniform(-1e3, 1e3)))[0] | BOX,
            ]
        )
        return int(value)

    def context(self, context: Context) -> None:
        for number in range(1, 31):
            context.x[number] = self.chance.choice(
                [self.chance.choice(INTEGERS), self.chance.getrandbits(64)]
            )
        places = [DATA + 2048, DATA + PAGE_SIZE, DATA + PAGE_SIZE - 8, READ_ONLY + 8, HIGH + 2048]
        for number in POINTERS:
            odd = self.chance.choice([0, 0, 0, 0, self.chance.randrange(8)])
            context.x[number] = self.chance.choice(places[:2] * 4 + places) + odd
        if self.chance.random() < 0.05:
            context.x[POINTERS[0]] = self.chance.choice([0, 1 << 38, (1 << 38) - 8, (1 << 64) - 8, 1 << 63])
        for number in range(32):
            context.f[number] = self.floating_register()
        context.fcsr = self.chance.randrange(32) | self.chance.choice([0, 0, 0, 0, 1, 2, 3, 4]) << 5


@dataclass
class Outcome:
    """How a program ended."""

    trap: Trap
    registers: bytes
    memory: bytes


class Side:
    """A board with the pages of the programs."""

    def __init__(self, engine: str, board: Board | None = None) -> None:
        self.board = board or Board(16 << 20, 1, engine=engine)
        self.hart = self.board.harts[0]
        space = AddressSpace(self.board)
        self.code = space.code(CODE, bytes(2 * PAGE_SIZE))
        self.pages = [space.page() for _ in range(4)]
        for va, pa, rights in zip(
            (DATA, DATA + PAGE_SIZE, READ_ONLY, HIGH),
            self.pages,
            (R | W | U, R | W | U, R | U, R | W | U),
            strict=True,
        ):
            space.map(va, pa, rights)
        self.context = space.context()

    def run(self, program: bytes, context: Context, slice_ns: int = 0) -> Outcome:
        """slice_ns: if not 0, it is stopped after so long, and goes on, again and again."""
        mine = self.begin(program, context)
        trap, end = None, self.board.clock.now() + ENDLESS_NS
        while trap is None or trap.cause == Cause.M_TIMER_INTERRUPT:
            now = self.board.clock.now()
            if now >= end:
                return Outcome(Trap(Cause.M_TIMER_INTERRUPT, 0, 0), b"", b"")
            self.hart.deadline = now + slice_ns if slice_ns else end
            trap = self.hart.run(mine)
        memory = b"".join(self.board.memory.read(page, PAGE_SIZE) for page in self.pages)
        return Outcome(trap, registers(mine), memory)

    def begin(self, program: bytes, context: Context) -> Context:
        """The beginning of a program, which is in memory now, with the registers of a context."""
        for start, page in zip(range(0, len(program), PAGE_SIZE), self.code, strict=False):
            self.board.memory.write(page, program[start : start + PAGE_SIZE])
            self.hart.invalidate(page, page + PAGE_SIZE)
        for page in self.pages:
            self.board.memory.write(page, bytes(range(256)) * (PAGE_SIZE // 256))
        mine = Context.from_buffer_copy(context)
        mine.satp, mine.pc = self.context.satp, CODE
        return mine


def differences(seed: int, count: int) -> Iterator[str]:
    """What differs, of so many programs, and what is wrong with the code of each tenth."""
    chance = random.Random(seed)
    author, sides = Author(chance), [Side("unicorn"), Side("native")]
    engine = sides[1].board.engine
    assert isinstance(engine, Native)
    for number in range(count):
        program, context = author.program(), Context()
        author.context(context)
        slice_ns = chance.choice([0, 0, 20_000])
        first = sides[0].run(program, context)
        second = sides[1].run(program, context, slice_ns)
        if first != second:
            yield f"seed {seed}, program {number}: {report(program, first, second)}"
        if number % 10 == 0:
            yield from verify(engine)[1]
    for side in sides:
        side.board.power_off()


def report(program: bytes, first: Outcome, second: Outcome) -> str:
    """The code, and where the two part."""
    found = [f"{program.hex(' ', 4)}; traps: {first.trap} and {second.trap}"]
    for at in range(0, len(first.registers), 8):
        a, b = first.registers[at : at + 8], second.registers[at : at + 8]
        if a != b:
            names = [*(f"x{n}" for n in range(32)), *(f"f{n}" for n in range(32)), "fcsr", "pc", "priv"]
            found.append(f"{names[at // 8]}: {a[::-1].hex()} and {b[::-1].hex()}")
    places = [at for at, (a, b) in enumerate(zip(first.memory, second.memory, strict=True)) if a != b]
    if places:
        found.append(f"memory at {places[:8]}")
    return "\n  ".join(found)
