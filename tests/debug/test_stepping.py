"""Where an instruction may lead is where it leads: each kind of jump, taken and not, on a hart."""

import pytest
from tests.support.bare import CODE, ENGINES, AddressSpace, load

from penglai.abi.riscv import Cause
from penglai.debug.stepping import after
from penglai.machine import Board

T0 = 5

JUMPS = {
    "jal forward": ("jal ra, 1f\n.skip 2040\n1: nop", 1),
    "jal backward": ("j 2f\n.skip 1024\n1: nop\n.skip 512\n2: jal ra, 1b", 2),
    "jal far": ("jal zero, 1f\n.skip 0x1800\n1: nop", 1),
    "jalr": ("lla t0, 1f\njalr ra, -4(t0)\n.skip 64\nnop\n.option norvc\nnop\n1: nop", 3),
    "jalr through what it links": ("lla t0, 1f\njalr t0, 0(t0)\n.skip 64\n1: nop", 3),
    "c.j": ("c.j 1f\n.skip 1500\n1: nop", 1),
    "c.j backward": ("c.j 2f\n.skip 600\n1: nop\n.skip 300\n2: c.j 1b", 2),
    "c.jr": ("lla t0, 1f\nc.jr t0\n.skip 30\n1: nop", 3),
    "c.jalr": ("lla t0, 1f\nc.jalr t0\n.skip 30\n1: nop", 3),
    "c.beqz taken": ("li s0, 0\nc.beqz s0, 1f\n.skip 200\n1: nop", 2),
    "c.beqz not taken": ("li s0, 1\nc.beqz s0, 1f\n.skip 200\n1: nop", 2),
    "c.bnez backward": ("c.j 2f\n1: nop\n.skip 200\n2: li s0, 1\nc.bnez s0, 1b", 3),
    "beq taken": ("beq zero, zero, 1f\n.skip 3000\n1: nop", 1),
    "bne not taken": ("bne zero, zero, 1f\n.skip 3000\n1: nop", 1),
    "bltu backward": ("j 2f\n.skip 8\n1: nop\n.skip 2000\n2: li t0, 1\nbltu zero, t0, 1b", 3),
    "bge far backward": ("j 2f\n.skip 8\n1: nop\n.skip 4000\n2: bge zero, zero, 1b", 2),
    "what does not jump": ("addi t0, t0, 1\nc.addi t0, 1\nc.mv t1, t0\nc.add t1, t0\nlui t0, 1", 5),
}
"""Text, and how many steps to make."""


def steps(board: Board, text: str, count: int) -> None:
    space, context = load(board, text)
    hart = board.harts[0]

    def fetch(address: int) -> int:
        return int.from_bytes(board.memory.read(place(space, board, address), 2), "little")

    for _ in range(count):
        pc = context.pc
        expected = after(fetch, pc, tuple(context.x))
        assert pc not in expected
        assert len(expected) <= 2
        hart._core.break_at(sorted(expected))
        trap = hart.run(context)
        assert trap.cause == Cause.DEBUG
        assert context.pc in expected
    hart._core.break_at([])


def place(space: AddressSpace, board: Board, address: int) -> int:
    """The physical address, by the page table."""
    table = space.root
    for shift in (30, 21, 12):
        table = int(board.memory.words[board.memory.page_of(table)][address >> shift & 511]) >> 10 << 12
    return table | address & 4095


@pytest.mark.parametrize("name", JUMPS)
def test_it_gets_where_it_was_expected(name: str):
    text, count = JUMPS[name]
    board = Board(16 << 20, 1, engine=ENGINES[0])
    try:
        steps(board, text, count)
    finally:
        board.power_off()


def halfwords(words: list[int], start: int = CODE) -> dict[int, int]:
    return {
        start + 4 * number + 2 * half: word >> 16 * half & 0xFFFF
        for number, word in enumerate(words)
        for half in (0, 1)
    }


LR, SC, NOP = 0x1005_32AF, 0x1865_33AF, 0x13
BNE_OUT = 0x0200_1063
"""lr.d, sc.d, and bne zero, zero to 32 bytes behind."""


def test_a_sequence_ends_behind_its_store_or_where_it_is_left():
    code = halfwords([LR, BNE_OUT, NOP, SC, NOP])
    assert after(code.get, CODE, [0] * 32) == {CODE + 16, CODE + 4 + 32}


def test_a_load_reserved_alone_is_one_instruction():
    code = halfwords([LR, *[NOP] * 40])
    assert after(code.get, CODE, [0] * 32) == {CODE + 4}


def test_what_cannot_be_fetched_leads_nowhere():
    assert after({}.get, CODE, [0] * 32) == set()
    assert after({CODE: 3}.get, CODE, [0] * 32) == set()
