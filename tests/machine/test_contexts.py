"""A context goes into a hart and comes back with every bit, on whatever hart."""

from hypothesis import given, settings
from hypothesis import strategies as st
from tests.support.bare import CODE, load, registers

from penglai.abi.riscv import Cause
from penglai.machine import Board, Context

WORD = st.integers(0, (1 << 64) - 1)
FCSR = st.integers(0, 0x1F).flatmap(lambda flags: st.integers(0, 4).map(lambda mode: mode << 5 | flags))

BOARD = Board(16 << 20, 2)


@given(st.lists(WORD, min_size=31, max_size=31), st.lists(WORD, min_size=32, max_size=32), FCSR)
@settings(max_examples=200)
def test_every_register_survives(x: list[int], f: list[int], fcsr: int):
    """fcsr too, which Unicorn's own contexts lose, and satp, which can only be written in M-mode."""
    _, context = load(BOARD, "ecall")
    context.x[:] = [0, *x]
    context.f[:] = f
    context.fcsr = fcsr
    before = bytes(context)
    for hart in BOARD.harts:
        assert hart.run(context) == (Cause.ECALL_U, CODE, 0)
        assert bytes(context) == before


def test_every_register_reaches_the_program_and_comes_back():
    """A register that a hart neither loads nor saves would survive untouched: the program changes each."""
    text = "".join(f"addi x{number}, x{number}, 1\n" for number in range(1, 32))
    text += "".join(f"fneg.d f{number}, f{number}\n" for number in range(32)) + "fsflagsi 5\necall"
    contexts = []
    for salt in (1 << 40, 1 << 50):  # two in turn, so that none finds its own registers there
        _, context = load(BOARD, text)
        context.x[:] = [0, *(salt + number for number in range(1, 32))]
        context.f[:] = [salt * 3 + number for number in range(32)]
        contexts.append((salt, context))
    for rounds in range(1, 4):
        for hart in BOARD.harts:
            for salt, context in contexts:
                context.pc = CODE
                assert hart.run(context).cause == Cause.ECALL_U
                done = rounds * 2 - (hart is BOARD.harts[0])
                assert list(context.x)[1:] == [salt + number + done for number in range(1, 32)]
                sign = (done % 2) << 63
                assert list(context.f) == [salt * 3 + number | sign for number in range(32)]
                assert context.fcsr == 5


def test_x0_is_zero():
    _, context = load(BOARD, "add a0, x0, x0\necall", x10=5)
    context.x[0] = 77
    BOARD.harts[0].run(context)
    assert (context.x[0], context.x[10]) == (0, 0)


def test_a_context_moves_between_harts_in_the_middle_of_a_computation():
    text = "1: fadd.d f1, f1, f2\nfmul.d f3, f1, f1\nfrflags t0\nadd s0, s0, t0\naddi s1, s1, 1\nj 1b"

    def start() -> Context:
        _, context = load(BOARD, text)
        context.f[1], context.f[2] = 0x3FF0000000000000, 0x3FB999999999999A  # 1.0, 0.1
        return context

    alone, moving = start(), start()
    BOARD.harts[0].run(alone, blocks=400)
    for turn in range(400):
        BOARD.harts[turn % 2].run(moving, blocks=1)
    assert registers(moving) == registers(alone)
    assert moving.fcsr & 1, "the inexact flag was raised and kept"


def test_a_reservation_does_not_leak_into_another_context():
    """LR in one program, SC in another at the same address on the same hart: the SC fails."""
    _, first = load(BOARD, "lr.d t0, (a0)\necall")
    _, second = load(BOARD, "sc.d t1, t0, (a0)\necall")
    hart = BOARD.harts[0]
    assert hart.run(first).cause == Cause.ECALL_U
    assert hart.run(second).cause == Cause.ECALL_U
    assert second.x[6] == 1, "store-conditional failed"
