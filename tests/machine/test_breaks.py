"""A run ends at an address that a debugger has named, before its instruction, and nowhere else."""

import pytest
from tests.support.bare import CODE, load, run

from penglai.abi.errors import MachineError
from penglai.abi.riscv import Cause
from penglai.machine import Board
from penglai.machine.engine import MOST_BREAKS

S0 = 8
COUNT = "1: addi s0, s0, 1\nld t0, 0(a0)\naddi t0, t0, 1\nsd t0, 0(a0)\nj 1b"
"""addi is compressed: its instructions are at 0, 2, 6, 8 and 10 from CODE."""


def test_it_ends_before_the_instruction_again_and_again(board: Board):
    _, context = load(board, COUNT)
    hart = board.harts[0]
    for turn in range(1, 4):
        for at, counted in ((6, turn), (0, turn)):
            hart._core.break_at([CODE + at])
            trap = hart.run(context)
            assert (trap.cause, trap.epc, context.pc) == (Cause.DEBUG, CODE + at, CODE + at)
            assert context.x[S0] == counted


def test_also_before_the_first_one(board: Board):
    _, context = load(board, COUNT)
    board.harts[0]._core.break_at([CODE])
    assert board.harts[0].run(context).cause == Cause.DEBUG
    assert (context.pc, context.x[S0]) == (CODE, 0)


def test_in_code_that_ran_before(board: Board):
    """What was translated then does not know of it; and afterwards nothing of it is left."""
    _, context = load(board, COUNT)
    hart = board.harts[0]
    assert run(board, context, 20, 1_000_000).cause == Cause.M_TIMER_INTERRUPT
    before = context.x[S0]
    hart._core.break_at([CODE + 8])
    assert hart.run(context).cause == Cause.DEBUG
    assert (context.pc, context.x[S0]) == (CODE + 8, before + 1)
    hart._core.break_at([])
    assert run(board, context, 20, 10_000_000).cause == Cause.M_TIMER_INTERRUPT
    assert context.x[S0] > before + 5


def test_at_the_end_of_a_page_that_is_the_last(board: Board):
    """Code that ends with half an instruction is settled by an exit of the hart's own."""
    _, context = load(
        board, "j 2f\n.skip 4084\n2: addi s0, s0, 1\naddi s0, s0, 1\naddi s0, s0, 1\n.2byte 0x0003"
    )
    hart = board.harts[0]
    hart._core.break_at([CODE + 4092])
    trap = hart.run(context)
    assert (trap.cause, context.pc, context.x[S0]) == (Cause.DEBUG, CODE + 4092, 2)
    hart._core.break_at([])
    trap = hart.run(context)
    assert (trap.cause, trap.epc, context.x[S0]) == (Cause.FETCH_PAGE_FAULT, CODE + 4094, 3)


def test_there_may_be_many_but_not_any_number(board: Board):
    core = board.harts[0]._core
    core.break_at(range(0, 2 * MOST_BREAKS, 2))
    with pytest.raises(MachineError, match="no 1025 breakpoints"):
        core.break_at(range(0, 2 * MOST_BREAKS + 2, 2))
    core.break_at([])
