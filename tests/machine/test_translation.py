"""Translated code and addresses are forgotten when memory changes hands."""

import pytest
from tests.support.bare import CODE, DATA, AddressSpace, R, U, W, assemble, load

from penglai.abi.riscv import PAGE_SIZE, Cause, Pte
from penglai.machine import NEVER, Board

ONE = assemble("li a0, 1\necall")
TWO = assemble("li a0, 2\necall")


def value(board: Board, space: AddressSpace, hart: int = 0) -> int:
    context = space.context()
    assert board.harts[hart].run(context).cause == Cause.ECALL_U
    return int(context.x[10])


def test_code_in_a_recycled_page_is_translated_anew_on_every_hart(board: Board):
    space = AddressSpace(board)
    (page,) = space.code(CODE, ONE)
    assert [value(board, space, hart) for hart in (0, 1)] == [1, 1]
    board.memory.write(page, TWO)
    for hart in board.harts:
        hart.invalidate(page, page + PAGE_SIZE)
    assert [value(board, space, hart) for hart in (0, 1)] == [2, 2]


def test_without_being_told_a_hart_runs_what_it_translated(board: Board):
    """Why `invalidate` exists: should this ever fail, the engine has learned to see it by itself."""
    space = AddressSpace(board)
    (page,) = space.code(CODE, ONE)
    assert value(board, space) == 1
    board.memory.write(page, TWO)
    assert value(board, space) == 1


def test_a_range_covers_every_page_in_it_and_no_other(board: Board):
    spaces = [AddressSpace(board) for _ in range(6)]
    pages = [space.code(CODE, ONE)[0] for space in spaces]
    assert [value(board, space) for space in spaces] == [1] * 6
    for page in pages:
        board.memory.write(page, TWO)
    board.harts[0].invalidate(pages[1], pages[3] + PAGE_SIZE)
    assert [value(board, space) for space in spaces] == [1, 2, 2, 2, 1, 1]


def test_many_ranges_are_all_honoured(board: Board):
    spaces = [AddressSpace(board) for _ in range(300)]
    pages = [space.code(CODE, ONE)[0] for space in spaces]
    assert {value(board, space) for space in spaces} == {1}
    for page in pages:
        board.memory.write(page, TWO)
        board.harts[0].invalidate(page, page + PAGE_SIZE)
    assert {value(board, space) for space in spaces} == {2}


def test_a_block_that_reaches_into_the_next_page_goes_with_it(board: Board):
    space = AddressSpace(board)
    nops = assemble("nop") * 2040
    code = nops + assemble("li a0, 1\n" + "nop\n" * 20 + "li a1, 7\necall")
    _, second = space.code(CODE, code)
    context = space.context()
    board.harts[0].run(context)
    assert context.x[11] == 7
    at = board.memory.read(second, PAGE_SIZE).index(assemble("li a1, 7"))
    board.memory.write(second + at, assemble("li a1, 8"))
    board.harts[0].invalidate(second, second + PAGE_SIZE)
    context = space.context()
    board.harts[0].run(context)
    assert context.x[11] == 8


def test_two_programs_at_one_address_do_not_run_each_others_code(board: Board):
    first, second = AddressSpace(board), AddressSpace(board)
    first.code(CODE, ONE)
    second.code(CODE, TWO)
    assert [value(board, space) for space in (first, second, first, second)] == [1, 2, 1, 2]


@pytest.mark.parametrize("change", ["unmap", "read-only"])
def test_a_changed_mapping_is_honoured_after_a_flush(board: Board, change: str):
    space, context = load(board, "1: sd s0, 0(a0)\nsd s0, 0(a0)\nj 1b")
    hart = board.harts[0]
    hart.deadline = board.clock.now() + 1_000_000
    assert hart.run(context).cause == Cause.M_TIMER_INTERRUPT
    hart.deadline = NEVER
    if change == "read-only":
        space.map(DATA, space.page(), R | U)
    else:
        space.map(DATA, space.page(), Pte(0))
    hart.flush_tlb()
    assert hart.run(context)[::2] == (Cause.STORE_PAGE_FAULT, DATA)


def test_a_new_address_space_with_an_old_root_is_flushed_too(board: Board):
    """The next enclave may get the very page that held the last one's root."""
    space, context = load(board, "sd s0, 0(a0)\necall")
    hart = board.harts[0]
    assert hart.run(context).cause == Cause.ECALL_U
    old = context.satp
    space.map(DATA, space.page(), R | W | U)
    hart.flush_tlb()
    _, again = load(board, "ecall")
    again.satp, again.pc = old, CODE
    again.x[10], again.x[8] = DATA, 99
    assert hart.run(again).cause == Cause.ECALL_U
    assert 99 in board.memory.words[:, 0]
