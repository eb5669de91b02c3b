"""Codes of 16 bits that Unicorn does not know: Zcb does what the manual says, all others are illegal."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.support.bare import CODE, DATA, READ_ONLY, UNMAPPED, AddressSpace, R, U, W, assemble, load
from tests.support.programs import eapp
from tests.support.smode import SETUP, bare
from tests.support.waiting import PATIENCE

import penglai
from penglai.abi.riscv import PAGE_SIZE, Cause
from penglai.machine import Board, Context, Trap
from penglai.machine.supervisor import Exit

BREAK = (0x9002).to_bytes(2, "little")
WORD = (1 << 64) - 1


def is_legal(code: int) -> bool:
    """Of RV64GC and Zcb; hints are legal (unprivileged specification, chapters "C" and "Zc*")."""
    quadrant, kind = code & 3, code >> 13
    rd, rs2, bit12 = code >> 7 & 31, code >> 2 & 31, code >> 12 & 1
    if quadrant == 0:
        short = code >> 10 & 7
        zcb = short <= 3 and not (short == 3 and code >> 6 & 1)
        return bool(code >> 5 & 0xFF) if kind == 0 else zcb if kind == 4 else True
    if quadrant == 1:
        if kind == 4 and bit12 and code >> 10 & 3 == 3 and code >> 5 & 3 == 3:
            return code >> 2 & 7 <= 5
        return {1: bool(rd), 3: bool(bit12 or rs2)}.get(kind, True)
    return bool(rd) if kind in (2, 3) or (kind == 4 and not bit12 and not rs2) else True


class Bench:
    """One instruction at a time, all registers pointing at a page of data."""

    def __init__(self) -> None:
        self.board = Board(16 << 20, 1)
        self.space = AddressSpace(self.board)
        (self.page,) = self.space.code(CODE, BREAK)
        self.data = self.space.page()
        self.space.map(DATA, self.data, R | W | U)

    def run(self, code: bytes, **registers: int) -> tuple[Trap, Context]:
        hart = self.board.harts[0]
        self.board.memory.write(self.page, code + BREAK)
        hart.invalidate(self.page, self.page + PAGE_SIZE)
        context = self.space.context(**{f"x{number}": DATA for number in range(1, 32)} | registers)
        return hart.run(context, blocks=2), context


BENCH = Bench()


@pytest.mark.parametrize("quadrant", [0, 1, 2])
def test_of_all_codes_of_16_bits_the_reserved_ones_are_illegal(quadrant: int):
    wrong = []
    for code in range(quadrant, 1 << 16, 4):
        trap, _ = BENCH.run(code.to_bytes(2, "little"))
        illegal = (trap.cause, trap.epc) == (Cause.ILLEGAL_INSTRUCTION, CODE)
        if illegal == is_legal(code) or (illegal and trap.tval != code):
            wrong.append(f"{code:#06x}")
    assert wrong == []


def signed(value: int, bits: int) -> int:
    value &= (1 << bits) - 1
    return (value - (1 << bits) if value >> (bits - 1) else value) & WORD


SHORT = st.integers(0, 7)
NUMBER = st.one_of(
    st.integers(0, WORD), st.sampled_from([0, 0x7F, 0x80, 0x7FFF, 0x8000, 1 << 31, 1 << 63, WORD])
)


@given(rd=SHORT, rs2=SHORT, value=NUMBER, other=NUMBER, which=st.integers(0, 6))
def test_computing(rd: int, rs2: int, value: int, other: int, which: int):
    code = 0x9C61 | rd << 7 | which << 2 if which < 6 else 0x9C41 | rd << 7 | rs2 << 2
    given_ = {f"x{8 + rs2}": other, f"x{8 + rd}": value}
    second = value if rs2 == rd else other
    expected = {
        0: value & 0xFF,
        1: signed(value, 8),
        2: value & 0xFFFF,
        3: signed(value, 16),
        4: value & 0xFFFF_FFFF,
        5: ~value & WORD,
        6: value * second & WORD,
    }[which]
    trap, context = BENCH.run(code.to_bytes(2, "little"), **given_)
    assert (trap.cause, trap.epc) == (Cause.BREAKPOINT, CODE + 2)
    assert context.x[8 + rd] == expected
    assert context.x[1] == DATA


LOADS = {
    "c.lbu": (lambda imm: 0x8000 | (imm & 1) << 6 | imm >> 1 << 5, 1, False, 3),
    "c.lhu": (lambda imm: 0x8400 | imm >> 1 << 5, 2, False, 2),
    "c.lh": (lambda imm: 0x8440 | imm >> 1 << 5, 2, True, 2),
}
STORES = {
    "c.sb": (lambda imm: 0x8800 | (imm & 1) << 6 | imm >> 1 << 5, 1, 3),
    "c.sh": (lambda imm: 0x8C00 | imm >> 1 << 5, 2, 2),
}


@given(
    name=st.sampled_from([*LOADS]),
    rd=SHORT,
    base=SHORT,
    imm=st.integers(0, 3),
    content=st.binary(min_size=8, max_size=8),
)
def test_loading(name: str, rd: int, base: int, imm: int, content: bytes):
    encode, size, is_signed, largest = LOADS[name]
    imm = min(imm, largest) & -size
    BENCH.board.memory.write(BENCH.data, content)
    trap, context = BENCH.run((encode(imm) | base << 7 | rd << 2).to_bytes(2, "little"))
    assert trap.cause == Cause.BREAKPOINT
    assert context.x[8 + rd] == int.from_bytes(content[imm : imm + size], "little", signed=is_signed) & WORD


@given(name=st.sampled_from([*STORES]), source=SHORT, base=SHORT, imm=st.integers(0, 3), value=NUMBER)
def test_storing(name: str, source: int, base: int, imm: int, value: int):
    encode, size, largest = STORES[name]
    imm = min(imm, largest) & -size
    value = DATA if source == base else value
    BENCH.board.memory.write(BENCH.data, bytes(8))
    code = encode(imm) | base << 7 | source << 2
    trap, _ = BENCH.run(code.to_bytes(2, "little"), **{f"x{8 + source}": value, f"x{8 + base}": DATA})
    assert trap.cause == Cause.BREAKPOINT
    expected = bytes(imm) + (value & (1 << 8 * size) - 1).to_bytes(size, "little")
    assert BENCH.board.memory.read(BENCH.data, 8) == expected.ljust(8, b"\0")


LH, SH = 0x8440 | 1 << 2, 0x8C00 | 1 << 2
"""c.lh s1, 0(s0) and c.sh s1, 0(s0)"""


@pytest.mark.parametrize(
    ("code", "address", "cause", "tval"),
    [
        (LH, UNMAPPED, Cause.LOAD_PAGE_FAULT, UNMAPPED),
        (SH, UNMAPPED, Cause.STORE_PAGE_FAULT, UNMAPPED),
        (SH, READ_ONLY, Cause.STORE_PAGE_FAULT, READ_ONLY),
        (LH, DATA - 1, Cause.LOAD_PAGE_FAULT, DATA - 1),
        (SH, READ_ONLY - 1, Cause.STORE_PAGE_FAULT, READ_ONLY),
        (LH, READ_ONLY + PAGE_SIZE - 1, Cause.LOAD_PAGE_FAULT, READ_ONLY + PAGE_SIZE),
    ],
)
def test_an_access_that_faults_has_changed_nothing(
    board: Board, code: int, address: int, cause: Cause, tval: int
):
    space, context = load(board, code.to_bytes(2, "little") + BREAK, x8=address, x9=0x1234)
    before = [board.memory.pages[page].tobytes() for page in range(16, 32)]
    assert board.harts[0].run(context) == (cause, CODE, tval)
    assert [board.memory.pages[page].tobytes() for page in range(16, 32)] == before
    assert context.x[9] == 0x1234
    assert space.root


@pytest.mark.parametrize(
    "text", ["li a0, -2048", "lui a0, 0x9c410", "addi a0, a0, -1983", "ori a0, x0, -1024"]
)
def test_what_looks_like_one_may_be_the_second_half_of_another(board: Board, text: str):
    code = assemble(text)
    assert len(code) == 4
    _, context = load(board, code + BREAK)
    assert board.harts[0].run(context).epc == CODE + 4
    _, jumped = load(board, code + BREAK)
    jumped.pc = CODE + 2
    second = int.from_bytes(code[2:], "little")
    trap = board.harts[0].run(jumped)
    if second & 3 != 3 and not is_legal(second):
        assert (trap.cause, trap.epc) == (Cause.ILLEGAL_INSTRUCTION, CODE + 2)


def test_a_store_in_s_mode_to_code_that_was_executed():
    """c.sb changes the constant of an instruction that has run."""
    text = f"""{SETUP}
    la s0, 2f
    li s1, 0x85          # the second byte of li a0, imm: from 0x45 (1) to 0x55..
    jal 2f
    .2byte 0x8800 | 1 << 2 | 1 << 6
    li s2, 0
    jal 2f
    li a7, 7
    ecall
.p2align 2
2:  c.li a0, 1
    ret
"""
    before = assemble("c.li a0, 1")
    with bare(text.replace("0x85 ", f"{before[1] | 0x10:#x} ")) as program:
        assert program.call()[0] == (1 - 32) & WORD


def test_a_device_is_reached_by_them_too():
    with bare(f"{SETUP}li s0, 0x10000000\n.2byte {0x8000 | 1 << 2}\nmv a0, s1\nli a7, 7\necall") as program:
        assert program.run() is Exit.DEVICE
        exit_ = program.hart.exit
        assert (exit_.address, exit_.bytes, exit_.store) == (0x1000_0000, 1, 0)
        exit_.value = 0x80
        assert program.call()[0] == 0x80


SUM = """
volatile unsigned char bytes[64];
volatile short halves[64];
unsigned long sum = 0;
for (int i = 0; i < 64; i++) {
    bytes[i] = 7 * i;
    halves[i] = 1000 * (i - 40);
}
for (int i = 0; i < 64; i++)
    sum = sum * 31 + bytes[i] * halves[i] + (unsigned char)~sum + (unsigned short)(sum * i);
EAPP_RETURN(sum);
"""


def test_a_program_that_was_compiled_with_it_computes_the_same(machine: penglai.Machine):
    plain, zcb = eapp(SUM), eapp(SUM, "-march=rv64gc_zcb")
    assert plain.read_bytes() != zcb.read_bytes()
    found = [machine.create(program).run(PATIENCE).value for program in (plain, zcb)]
    assert found[0] == found[1] != 0
