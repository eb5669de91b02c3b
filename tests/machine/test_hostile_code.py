"""Whatever a program consists of, the hart survives it and reports a trap."""

import random
import struct

import pytest
from tests.support.bare import CODE, DATA, AddressSpace, R, U, W, run

from penglai.abi.riscv import PAGE_SIZE, Cause
from penglai.machine import Board

OPCODES = [0x03, 0x07, 0x0F, 0x13, 0x17, 0x1B, 0x23, 0x27, 0x2F, 0x33, 0x37, 0x3B]
OPCODES += [0x43, 0x47, 0x4B, 0x4F, 0x53, 0x57, 0x63, 0x67, 0x6F, 0x73, 0x0B, 0x2B, 0x5B, 0x7B]
PROGRAMS = 10_000


def random_code(chance: random.Random) -> bytes:
    words = []
    for _ in range(8):
        kind = chance.random()
        if kind < 0.1:
            words.append(chance.getrandbits(32))
        elif kind < 0.4:  # two compressed instructions
            words.append(
                sum((chance.getrandbits(14) << 2 | chance.randrange(3)) << shift for shift in (0, 16))
            )
        else:
            words.append(chance.getrandbits(25) << 7 | chance.choice(OPCODES))
    return struct.pack("<8I", *words)


@pytest.mark.parametrize("seed", range(4))
def test_random_code_always_ends_in_a_trap(board: Board, seed: int):
    chance = random.Random(seed)
    space = AddressSpace(board)
    pages = space.code(CODE, bytes(2 * PAGE_SIZE))
    space.map(DATA, space.page(), R | W | U)
    hart = board.harts[0]
    causes = set()
    for _ in range(PROGRAMS):
        at = chance.choice([0, 0, PAGE_SIZE - 16, PAGE_SIZE - 2, 64])
        code = random_code(chance)
        for page in pages:
            board.memory.pages[board.memory.page_of(page)] = 0
        head = code[: PAGE_SIZE - at]
        board.memory.write(pages[0] + at, head)
        board.memory.write(pages[1], code[len(head) :])
        hart.invalidate(pages[0], pages[1] + PAGE_SIZE)
        context = space.context(CODE + at)
        for number in range(1, 32):
            context.x[number] = chance.choice(
                [DATA, DATA + PAGE_SIZE - 4, CODE, 0, 1, chance.getrandbits(64)]
            )
        context.fcsr = chance.getrandbits(8)
        trap = run(board, context, 1000, 300_000)
        assert context.pc == trap.epc
        causes.add(Cause(trap.cause))
    faults = {Cause.FETCH_PAGE_FAULT, Cause.LOAD_PAGE_FAULT, Cause.STORE_PAGE_FAULT}
    assert causes > {Cause.ILLEGAL_INSTRUCTION, *faults}, "the programs do all kinds of things"
