"""A place, a number of jumps back and a pc, names one moment of a run, and the same on every engine."""

import ctypes
import itertools
import random
from collections.abc import Iterator

import pytest
from capstone import CS_ARCH_X86, CS_MODE_64, Cs
from tests.support import differential
from tests.support.bare import CODE, ENGINES, AddressSpace, assemble, load, registers
from tests.support.verifier import pairs, verify
from tests.support.waiting import SOAK

from penglai.abi.riscv import PAGE_SIZE, Cause
from penglai.machine import NEVER, Board, Context, Hart
from penglai.machine.context import RunRecord
from penglai.machine.engine import Core, Native

PROGRAMS = 4000 if SOAK else 150
LOOPS = """
    li s1, {times}
1:  addi s0, s0, 3
    xor t0, s0, s1
    sd t0, 0(a0)
    jal 2f
    addi s1, s1, -1
    bnez s1, 1b
    ecall
2:  ret
"""
PAIRS = list(itertools.product(ENGINES, ENGINES))


class Watched:
    """A board whose harts count, and the record of the first one."""

    def __init__(self, engine: str) -> None:
        records: list[RunRecord] = []

        def probe(core: Core, record: RunRecord) -> Core:
            records.append(record)
            return core

        self.board = Board(16 << 20, 1, engine=engine, probe=probe)
        self.hart: Hart = self.board.harts[0]
        self.record = records[0]

    def stop_after(self, context: Context, ns: int) -> tuple[int, int, int, bytes]:
        """Cause, jumps, pc and registers after so long, or at a trap before."""
        self.hart.deadline = self.board.clock.now() + ns
        trap = self.hart.run(context)
        self.hart.deadline = NEVER
        return trap.cause, self.record.jumps, context.pc, registers(context)

    def run_to(self, context: Context, jumps: int, pc: int) -> tuple[int, int, int, bytes]:
        """The same at a place."""
        self.record.bounded, self.record.until_jumps, self.record.until_pc = 1, jumps, pc
        trap = self.hart.run(context)
        return trap.cause, self.record.jumps, context.pc, registers(context)


@pytest.fixture(params=PAIRS, ids="-".join)
def pair(request: pytest.FixtureRequest) -> Iterator[tuple[Watched, Watched]]:
    sides = [Watched(name) for name in request.param]
    yield sides[0], sides[1]
    for side in sides:
        side.board.power_off()


def assert_same_moments(first: Watched, second: Watched, one: Context, other: Context, ns: int) -> None:
    """Wherever the first stops, the second gets to, with the same registers."""
    while True:
        cause, jumps, pc, found = first.stop_after(one, ns)
        if cause != Cause.M_TIMER_INTERRUPT:
            trap = second.hart.run(other)
            assert (trap.cause, second.record.jumps, other.pc) == (cause, jumps, pc)
            assert registers(other) == found
            return
        assert second.run_to(other, jumps, pc) == (Cause.DEBUG, jumps, pc, found)


@pytest.mark.parametrize("times", [3, 200_000])
def test_where_one_engine_stops_another_gets_to(pair: tuple[Watched, Watched], times: int):
    text = LOOPS.format(times=times)
    contexts = [load(side.board, text)[1] for side in pair]
    assert_same_moments(*pair, *contexts, ns=300_000)


@pytest.mark.soak
def test_places_of_random_programs_are_the_same(pair: tuple[Watched, Watched]):
    chance = random.Random(5)
    author = differential.Author(chance)
    sides = [differential.Side(side.board.engine.name, side.board) for side in pair]
    for number in range(PROGRAMS):
        program, start = author.program(), Context()
        author.context(start)
        contexts = [side.begin(program, start) for side in sides]
        try:
            assert_same_moments(*pair, *contexts, ns=chance.choice([3_000, 30_000]))
        except AssertionError as error:
            raise AssertionError(f"program {number}: {program.hex(' ', 4)}") from error


@pytest.mark.skipif("native" not in ENGINES, reason="there is no native engine here")
def test_code_that_counts_reaches_no_more_than_other_code_and_only_who_counts_has_it():
    """As of all emitted code: each access of the guest's has its check."""
    side, chance = Watched("native"), random.Random(6)
    author, counting = differential.Author(chance), differential.Side("native", side.board)
    plain = differential.Side("native")
    for number in range(60):
        program, start = author.program(), Context()
        author.context(start)
        counting.run(program, start)
        plain.run(program, start)
        if number % 5 == 0:
            assert verify(counting.board.engine)[1] == []
            assert "adc" not in mnemonics(plain.board.engine)
    assert "adc" in mnemonics(counting.board.engine)
    side.board.power_off()
    plain.board.power_off()


def mnemonics(engine: Native) -> set[str]:
    """Of all instructions that an engine has emitted and not dropped."""
    decoder = Cs(CS_ARCH_X86, CS_MODE_64)
    return {
        insn.mnemonic
        for start, end in pairs("native_emitted", engine.cache)
        for insn in decoder.disasm(ctypes.string_at(start, end - start), start)
    }


def test_what_is_counted_are_jumps_to_before_their_own_ends(pair: tuple[Watched, Watched]):
    """A loop's branch, a call of what stands before, a return to before; and none of the others."""
    text = "j 2f\n1: ret\n2: li s1, 5\n3: addi s1, s1, -1\nbnez s1, 3b\njal 1b\njal 4f\necall\n4: ret"
    for side in pair:
        _, context = load(side.board, text)
        assert side.hart.run(context).cause == Cause.ECALL_U
        assert side.record.jumps == 4 + 1 + 1


@pytest.mark.parametrize("engine", ENGINES)
def test_single_precision_has_an_upper_half_of_ones_everywhere(engine: str):
    """Where Unicorn alone leaves what was there: a replay on another engine would have other registers."""
    text = (
        "fmv.w.x f1, x5\nfsgnj.s f2, f1, f3\nfsgnjn.s f4, f1, f3\nfsgnjx.s f5, f1, f3\nfmv.w.x f1, x0\necall"
    )
    side = Watched(engine)
    _, context = load(side.board, text, x5=0xABCD_0000_C000_0001)
    context.f[3] = 0x1234_5678_8000_0000
    for number in (1, 2, 4, 5):
        context.f[number] = 0x1111_1111_1111_1111
    assert side.hart.run(context).cause == Cause.ECALL_U
    found = {number: context.f[number] for number in (1, 2, 4, 5)}
    box = differential.BOX
    assert found == {1: box, 2: box | 0xC000_0001, 4: box | 0x4000_0001, 5: box | 0x4000_0001}
    assert context.pc == CODE + 5 * 4
    side.board.power_off()


@pytest.mark.parametrize("engine", ENGINES)
def test_such_an_instruction_whose_second_half_is_missing_faults_there(engine: str):
    """It begins at the end of a page, and the next one is not mapped."""
    side = Watched(engine)
    space = AddressSpace(side.board)
    code = assemble(".rept 2047\nc.nop\n.endr\nfmv.w.x f1, x5")
    space.code(CODE, code[:PAGE_SIZE])
    trap = side.hart.run(space.context())
    assert trap == (Cause.FETCH_PAGE_FAULT, CODE + PAGE_SIZE - 2, CODE + PAGE_SIZE)
    side.board.power_off()
