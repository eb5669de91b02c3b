"""What translated code may take has a limit, and what finds no room runs all the same."""

from collections.abc import Callable, Iterator

import pytest
from tests.support.bare import CODE, ENGINES, assemble, load

from penglai.abi.riscv import Cause
from penglai.machine import Board
from penglai.machine.engine import Native

pytestmark = pytest.mark.skipif("native" not in ENGINES, reason="there is no native engine here")

PIECE = 16 << 10
"""Code is emitted into pieces of so many bytes (native/native.h)."""
TEXT = 6 * 4096 + 2048
"""What a text of a page takes with its tables, before anything is emitted for it (native/code.c)."""

Maker = Callable[[int], Board]


@pytest.fixture
def make() -> Iterator[Maker]:
    """Boards with so much room for code."""
    boards: list[Board] = []

    def board(code_cache: int) -> Board:
        boards.append(Board(16 << 20, 2, engine=Native(code_cache)))
        return boards[-1]

    yield board
    for each in boards:
        each.power_off()


def run(board: Board, number: int) -> int:
    """A program of its own for each number, which it leaves in a3."""
    _, context = load(board, f"li a3, {number}\nli s0, 100\n1: addi s0, s0, -1\nbnez s0, 1b\necall")
    assert board.harts[0].run(context).cause == Cause.ECALL_U
    return int(context.x[13])


@pytest.mark.parametrize("room", [0, 1, PIECE, TEXT, TEXT + PIECE - 1])
def test_without_room_all_runs_on_unicorn(make: Maker, room: int):
    board = make(room)
    assert run(board, 5) == 5
    counts = board.engine.counts()
    assert (counts["entries"], counts["code bytes"]) == (0, 0)
    assert counts["cache bytes"] <= room


def test_there_is_never_more_than_the_limit(make: Maker):
    """The code of programs that have not run for long makes room for that of others."""
    room = 4 * (PIECE + TEXT)
    board = make(room)
    for number in range(40):
        entries = board.engine.counts()["entries"]
        assert run(board, number) == number
        counts = board.engine.counts()
        assert counts["entries"] > entries
        assert counts["cache bytes"] <= room
        assert counts["texts"] <= 4


def test_no_program_has_all_of_it(make: Maker):
    """A long one gets a quarter: the others are as fast as without it."""
    board = make(16 * PIECE)
    jumps = "".join(f"1: addi s0, s0, {number % 1000}\nbltz s0, 1b\n" for number in range(4000))
    space, context = load(board, b"")
    space.code(CODE, assemble(f"{jumps}ecall"))
    assert board.harts[0].run(context).cause == Cause.ECALL_U
    assert 0 < board.engine.counts()["code bytes"] <= 4 * PIECE
    entries = board.engine.counts()["entries"]
    assert run(board, 7) == 7
    assert board.engine.counts()["entries"] > entries


def test_machines_share_nothing(make: Maker):
    first, second = make(1 << 20), make(1 << 20)
    assert run(first, 1) == run(second, 1) == 1
    assert first.engine.counts()["texts"] == second.engine.counts()["texts"] == 1
    first.power_off()
    assert run(second, 1) == 1
