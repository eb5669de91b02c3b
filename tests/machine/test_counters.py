"""The counters of a hart: its machine's clock, and never the processor's that the process runs on."""

import subprocess
import sys

import pytest
from tests.support.bare import CODE, ENGINES, load

from penglai.abi.riscv import NS_PER_TICK, Cause
from penglai.machine import Board, ManualClock

INSTRUCTIONS = {"rdcycle": 0xC00, "rdtime": 0xC01, "rdinstret": 0xC02}

OTHERS = """
from unicorn import *
from unicorn.riscv_const import *
from penglai.machine import Board
Board(16 << 20, 1, engine="unicorn")  # the machine's harts refuse it
mine = Uc(UC_ARCH_RISCV, UC_MODE_RISCV64)
mine.mem_map(0x1000, 0x1000)
mine.mem_write(0x1000, bytes.fromhex("732520c0"))  # rdinstret a0
mine.emu_start(0x1000, 0x1004)
print(mine.reg_read(UC_RISCV_REG_A0) > 0)
"""


@pytest.fixture(params=ENGINES)
def board(request: pytest.FixtureRequest) -> Board:
    return Board(16 << 20, 1, ManualClock(), engine=request.param)


@pytest.mark.parametrize("name", ["rdcycle", "rdtime"])
def test_cycles_are_those_of_the_machines_clock(board: Board, name: str):
    """So they are the same in each run, and no finer than the time."""
    seen = []
    for _ in range(2):
        _, context = load(
            board, f"{name} s0\nli t0, 10000\n1: addi t0, t0, -1\nbnez t0, 1b\n{name} s1\necall"
        )
        assert board.harts[0].run(context).cause == Cause.ECALL_U
        seen += [context.x[8], context.x[9]]
        board.clock.advance(5 * NS_PER_TICK)  # type: ignore[attr-defined]
    assert seen == [0, 0, 5, 5]


def test_instructions_are_not_counted(board: Board):
    _, context = load(board, "rdinstret s0")
    assert board.harts[0].run(context) == (Cause.ILLEGAL_INSTRUCTION, CODE, 0xC0202473)
    assert context.x[8] == 0


@pytest.mark.parametrize(
    "form", ["csrrw s0, {}, s1", "csrrs s0, {}, s1", "csrrc s0, {}, s1", "csrrwi s0, {}, 3"]
)
@pytest.mark.parametrize("number", INSTRUCTIONS.values())
def test_nobody_writes_to_them(board: Board, form: str, number: int):
    _, context = load(board, form.format(number), x9=1)
    assert board.harts[0].run(context)[:2] == (Cause.ILLEGAL_INSTRUCTION, CODE)


@pytest.mark.parametrize("before", ["", "import unicorn\n"])
def test_whoever_else_uses_unicorn_has_its_own(before: str):
    done = subprocess.run(
        [sys.executable, "-c", before + OTHERS], capture_output=True, text=True, check=False
    )
    assert done.stdout.strip() == "True", done.stderr
