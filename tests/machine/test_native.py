"""The native engine does what Unicorn does, reaches nothing beyond its windows, and leaves nothing behind."""

import ctypes
import functools
import os
import random
import struct
import subprocess
import threading
from itertools import count

import pytest
from capstone import CS_ARCH_X86, CS_MODE_64, Cs
from tests.support import differential
from tests.support.bare import CODE, DATA, ENGINES, AddressSpace, R, U, W, X, assemble, load
from tests.support.person import PENGLAI
from tests.support.verifier import Walk, complaints_of
from tests.support.waiting import PATIENCE, SOAK

import penglai
from penglai.abi.riscv import Cause
from penglai.machine import NEVER, Board, Context, ManualClock

pytestmark = pytest.mark.skipif("native" not in ENGINES, reason="there is no native engine here")

SEEDS = range(1000) if SOAK else range(4)
PROGRAMS = 10_000 if SOAK else 1200
CODES = 1_000_000 if SOAK else 4000


@pytest.fixture
def board() -> Board:
    return Board(16 << 20, 2, engine="native")


def counts(board: Board) -> dict[str, int]:
    return board.engine.counts()


# ---- it computes what Unicorn computes -------------------------------------------------------------


@pytest.mark.soak
@pytest.mark.parametrize("seed", SEEDS)
def test_random_programs_end_on_both_engines_alike(seed: int):
    assert next(differential.differences(seed, PROGRAMS), None) is None


@functools.cache
def sides() -> tuple[differential.Side, differential.Side]:
    return differential.Side("unicorn"), differential.Side("native")


def assert_alike(code: bytes, number: int) -> None:
    """Behind the code there is nothing that is executed: what it jumps to ends it."""
    context = Context()
    differential.Author(random.Random(number)).context(context)
    context.fcsr = 0
    context.x[differential.COUNTER] = 0
    first, second = (side.run(code, context) for side in sides())
    assert first == second, differential.report(code, first, second)


def is_endless(code: int) -> bool:
    """A jump to itself."""
    return code & 0xFFFF in (0xA001, 0x2001) or code in (0x6F,) or (code & 0xE003) in (0xC001, 0xE001)


def is_different(code: int) -> bool:
    """Of Unicorn's fsgnj.s and fmv.w.x, cycle counters, sc without a reservation: docs/engine.md."""
    single_sign = code & 0xFE00007F in (0x20000053, 0xF0000053)
    return single_sign or code & 0x7F == 0x73 or (code & 0x7F == 0x2F and code >> 27 in (2, 3))


@pytest.mark.soak
def test_codes_of_16_bits_mean_on_both_engines_the_same():
    """A sample, or all; conditional branches are among the random programs."""
    for code in range(0, 1 << 16, 1 if SOAK else 13):
        if code & 3 != 3 and not is_endless(code):
            assert_alike(struct.pack("<HI", code, differential.ECALL), code)


OPCODES = [0x03, 0x07, 0x0F, 0x13, 0x17, 0x1B, 0x23, 0x27, 0x2F, 0x33, 0x37, 0x3B]
OPCODES += [0x43, 0x47, 0x4B, 0x4F, 0x53, 0x53, 0x67, 0x0B, 0x2B, 0x5B, 0x77, 0x7B]


@pytest.mark.soak
def test_random_codes_of_32_bits_mean_on_both_engines_the_same():
    chance = random.Random(1)
    for number in range(CODES):
        code = chance.getrandbits(25) << 7 | chance.choice(OPCODES)
        if chance.random() < 0.5:  # few bits in the fields that say what it is
            code &= ~(chance.getrandbits(7) << 25)
        if not is_different(code):
            assert_alike(struct.pack("<II", code, differential.ECALL), number)


def test_most_of_a_program_is_not_left_to_unicorn(board: Board):
    text = "li s0, 10000\n1: fld f0, 0(a0)\nfadd.d f0, f0, f1\nfsd f0, 0(a0)\namoadd.w t0, s0, (a0)\ncall f\n"
    _, context = load(board, text + "addi s0, s0, -1\nbnez s0, 1b\necall\nf: mul t1, t1, s0\nret")
    assert board.harts[0].run(context).cause == Cause.ECALL_U
    assert counts(board)["elsewhere"] == 0


# ---- what the specification says and Unicorn does not do --------------------------------------------


def test_single_precision_is_boxed_wherever_it_comes_from(board: Board):
    text = (
        "li t0, 0x3f800000\nfmv.w.x f0, t0\nfneg.s f1, f0\nfabs.s f2, f1\nfsgnj.s f3, f2, f1\nflw f4, 0(a0)\n"
    )
    _, context = load(board, text + "fcvt.s.w f5, t0\nfadd.s f6, f0, f0\necall")
    context.f[:] = [0x1234567800000000] * 32
    board.harts[0].run(context)
    assert {value >> 32 for value in list(context.f)[:7]} == {0xFFFFFFFF}
    low = [value & 0xFFFFFFFF for value in list(context.f)[:5]]
    assert low == [0x3F800000, 0xBF800000, 0x3F800000, 0xBF800000, 0]


NUMBERS = {"1": 0x3FF0000000000000, "2": 0x4000000000000000, "NaN": 0x7FF8000000000000}


@pytest.mark.parametrize("second", NUMBERS)
@pytest.mark.parametrize("first", NUMBERS)
@pytest.mark.parametrize("compare", ["flt.d", "fle.d", "feq.d"])
@pytest.mark.parametrize("branch", ["bnez", "beqz"])
def test_a_branch_behind_a_comparison_of_numbers(
    board: Board, branch: str, compare: str, first: str, second: str
):
    _, context = load(board, f"{compare} t0, f0, f1\n{branch} t0, 1f\nli a3, 5\necall\n1: li a3, 6\necall")
    context.f[0], context.f[1] = NUMBERS[first], NUMBERS[second]
    assert board.harts[0].run(context).cause == Cause.ECALL_U
    less, equal = (first, second) == ("1", "2"), first == second != "NaN"
    true = {"flt.d": less, "fle.d": less or equal, "feq.d": equal}[compare]
    assert (context.t0, context.a3) == (true, 6 if true == (branch == "bnez") else 5)
    assert counts(board)["elsewhere"] == 0


def test_a_branch_that_others_jump_to_looks_at_its_register(board: Board):
    """Not at the comparison in front of it, which they have not made."""
    text = "bnez a3, 2f\n1: flt.d t0, f0, f1\n2: bnez t0, 3f\nli a4, 5\necall\n3: li a4, 6\necall"
    for value, expected in ((0, 5), (1, 6)):
        _, context = load(board, text)
        context.a3, context.t0 = 1, value
        assert board.harts[0].run(context).cause == Cause.ECALL_U
        assert context.a4 == expected


@pytest.mark.parametrize("text", ["fadd.d f0, f0, f0", "fld f0, 0(a0)", "frflags t0"])
def test_a_hart_without_floating_point_takes_it_for_illegal(board: Board, text: str):
    """Also if another hart has translated the same text."""
    _, context = load(board, f"{text}\necall")
    assert board.harts[0].run(context).cause == Cause.ECALL_U
    without = Board(16 << 20, 1, engine="native", floats=False)
    _, context = load(without, f"{text}\necall")
    assert without.harts[0].run(context)[:2] == (Cause.ILLEGAL_INSTRUCTION, CODE)
    without.power_off()


# ---- windows ------------------------------------------------------------------------------------


@pytest.mark.parametrize("change", ["unmap", "read-only", "another page"])
def test_a_mapping_that_went_away_is_reached_by_no_later_run(board: Board, change: str):
    space, context = load(board, "1: sd s0, 0(a0)\necall")
    hart = board.harts[0]
    old = space.page()
    space.map(DATA, old, R | W | U)
    hart.flush_tlb()
    assert hart.run(context).cause == Cause.ECALL_U
    new = space.page()
    entries = {
        "unmap": Cause.STORE_PAGE_FAULT,
        "read-only": Cause.STORE_PAGE_FAULT,
        "another page": Cause.ECALL_U,
    }
    space.map(DATA, new, R | (W if change == "another page" else U * 0) | U)
    if change == "unmap":
        space.map(DATA, new, U * 0)  # type: ignore[arg-type]
    hart.flush_tlb()
    board.memory.write(old, bytes(8))
    context.pc, context.x[8] = CODE, 77
    assert hart.run(context).cause == entries[change]
    assert board.memory.read(old, 8) == bytes(8)


def test_many_address_spaces_take_turns_in_few_windows(board: Board):
    hart = board.harts[0]
    spaces = [
        load(board, "ld t0, 0(a0)\nadd t0, t0, s1\nsd t0, 0(a0)\necall", x9=number) for number in range(400)
    ]
    for _ in range(2):
        for _, context in spaces:
            context.pc = CODE
            assert hart.run(context).cause == Cause.ECALL_U
    assert [context.x[5] for _, context in spaces] == [2 * number for number in range(400)]
    assert counts(board)["windows"] <= 256


@pytest.mark.parametrize("base", [1 << 38, (1 << 38) - 4, (1 << 64) - 8, 1 << 63, (1 << 39) + DATA])
def test_no_address_leaves_the_window(board: Board, base: int):
    for access, cause in (("ld t0, 4(a1)", Cause.LOAD_PAGE_FAULT), ("sd t0, 4(a1)", Cause.STORE_PAGE_FAULT)):
        _, context = load(board, access, x11=base)
        assert board.harts[0].run(context) == (cause, CODE, (base + 4) % (1 << 64))


def test_a_jump_into_the_middle_of_a_block_finds_nothing_checked(board: Board):
    """The second load may not stand on what the first one has found out."""
    text = "la t0, 1f\nbeqz s0, 2f\nmv a1, s1\njr t0\n2: ld t1, 0(a1)\n1: ld t2, 0(a1)\n"
    text += "li s0, 1\nj 3f\n3: la t0, 1b\n"
    _, context = load(board, text + "mv a1, s1\njr t0", x11=DATA, x9=1 << 45)
    trap = board.harts[0].run(context)
    assert trap.cause == Cause.LOAD_PAGE_FAULT
    assert trap.tval == 1 << 45


LOAD = "65488b00 c3"
"""mov rax, gs:[rax]; ret"""


@pytest.mark.parametrize(
    ("code", "wrong"),
    [
        (LOAD, True),
        ("4c39f8 0f8704000000 " + LOAD, False),  # cmp rax, r15; ja behind the load
        ("4c39f8 0f8204000000 " + LOAD, True),  # jb
        ("4c39f8 0f8708000000 4883c001 " + LOAD, True),  # add rax, 1
        ("4d89c7 c3", True),  # mov r15, r8
        ("0f05 c3", True),  # syscall
        ("488b00 c3", True),  # mov rax, [rax]
    ],
)
def test_the_verifier_sees_what_could_leave_a_window(code: str, wrong: bool):
    decoder = Cs(CS_ARCH_X86, CS_MODE_64)
    decoder.detail = True
    text = bytes.fromhex(code)
    buffer = ctypes.create_string_buffer(text, len(text))
    start = ctypes.addressof(buffer)
    complaints = complaints_of(Walk(start, start + len(text), {start}, set()), decoder)
    assert bool(complaints) is wrong, complaints


# ---- texts --------------------------------------------------------------------------------------


def test_code_that_may_be_written_is_not_translated(board: Board):
    space = AddressSpace(board)
    page = space.page()
    for address in (CODE, DATA):
        space.map(address, page, R | X | U | (W if address == DATA else R))
    board.memory.write(page, assemble("li a0, 1\necall"))
    context = space.context()
    assert board.harts[0].run(context).cause == Cause.ECALL_U
    assert counts(board)["entries"] == 0


def test_texts_are_shared_and_go_with_the_last_one(board: Board):
    before = counts(board)["texts"]
    text = "li a0, 123\necall"
    for _ in range(20):
        _, context = load(board, text)
        assert board.harts[0].run(context).cause == Cause.ECALL_U
    assert counts(board)["texts"] == before + 1
    board.harts[0].invalidate(board.memory.base, board.memory.base + board.memory.size)
    _, context = load(board, "ecall")
    board.harts[0].run(context)
    board.harts[0].invalidate(board.memory.base, board.memory.base + board.memory.size)
    board.harts[0].execute(Context())
    assert counts(board)["texts"] == before


def test_a_hot_program_is_translated_again_with_better_registers(board: Board):
    """The loop goes on over the change with every register as it was."""
    body = "".join(f"add x{n}, x{n}, x{n - 1}\n" for n in range(12, 31))
    text = f"li x11, 1\nli s0, 2000000\n1: {body}addi s0, s0, -1\nbnez s0, 1b\necall"
    results = []
    for engine in ENGINES:
        other = Board(16 << 20, 1, engine=engine)
        _, context = load(other, text)
        assert other.harts[0].run(context).cause == Cause.ECALL_U
        results.append(list(context.x))
        other.power_off()
    assert results[0] == results[1]


# ---- calls and returns ---------------------------------------------------------------------------


def test_recursion_may_be_deeper_than_the_hosts_stack(board: Board):
    text = "li s0, 50000\ncall f\necall\nf: addi s1, s1, 1\nbeq s1, s0, 1f\nsd ra, 0(a0)\nmv s2, ra\n"
    text += "beqz s3, 2f\n2: call f\n1: addi s4, s4, 1\nli t0, 7\nbltu s4, t0, 3f\necall\n3: j 1b"
    _, context = load(board, text)
    assert board.harts[0].run(context).cause == Cause.ECALL_U
    assert context.x[9] == 50000


def test_returns_to_where_no_call_came_from(board: Board):
    text = (
        "la ra, 1f\nret\nebreak\n1: la t0, 2f\nori ra, t0, 1\nret\nebreak\n2: addi s0, s0, 1\ncall f\necall\n"
    )
    _, context = load(board, text + "f: mv t0, ra\ncall g\njr t0\ng: ret")
    assert board.harts[0].run(context).cause == Cause.ECALL_U
    assert context.x[8] == 1


# ---- a whole machine -----------------------------------------------------------------------------


def test_a_machine_of_it_runs_enclaves_and_counts():
    with penglai.Machine("64M", state=None, engine="native") as machine:
        for _ in range(30):
            assert machine.create("hello-world").run(timeout=60).value == 0
        assert machine.engine_counts["entries"] > 30


@pytest.mark.parametrize(("command", "found"), [("doctor", "native, and unicorn"), ("run", "elsewhere")])
def test_the_command_tells_of_it(command: str, found: str):
    done = subprocess.run(
        [PENGLAI, command, *(["hello-world", "--stats"] if command == "run" else [])],
        capture_output=True,
        text=True,
        check=True,
        timeout=PATIENCE,
        env=os.environ | {"PENGLAI_ENGINE": "native"},
    )
    assert found in done.stdout + done.stderr


# ---- stops ---------------------------------------------------------------------------------------

LOOPS = {
    "branch": "1: addi s0, s0, 1\nj 1b",
    "calls": "1: call f\nj 1b\nf: ret",
    "recursion": "f: call f",
    "jumps to registers": "la t0, 1f\n1: la t1, 2f\njr t1\n2: jr t0",
    "returns": "1: la ra, 2f\nret\n2: la ra, 1b\nret",
    "left to Unicorn": "1: fadd.d f0, f0, f0, rtz\nj 1b",
    "csr": "1: frflags t0\nj 1b",
    "fault": "1: lr.d t0, (a0)\nsc.d t1, t0, (a0)\nbnez t1, 1b\nj 1b",
}


@pytest.mark.parametrize("kind", LOOPS)
def test_every_cycle_can_be_stopped_and_has_a_deadline(kind: str):
    clock = ManualClock()
    board = Board(16 << 20, 1, clock, engine="native")
    hart = board.harts[0]
    _, context = load(board, LOOPS[kind])
    for step in count(1):
        hart.deadline = NEVER if step % 2 else 1_000_000 * step
        traps: list[int] = []
        thread = threading.Thread(target=lambda traps=traps: traps.append(hart.run(context).cause))
        thread.start()
        if step % 2:
            hart.interrupt()
        else:
            clock.advance(2_000_000)
        thread.join(PATIENCE)
        assert traps == [Cause.M_SOFTWARE_INTERRUPT if step % 2 else Cause.M_TIMER_INTERRUPT]
        hart.acknowledge()
        if step == 10:
            break
    board.power_off()


@pytest.mark.parametrize("kind", ["amo", "reservation"])
def test_atomics_of_two_harts_on_one_page_are_atomic(board: Board, kind: str):
    times = 3_000_000
    add = (
        "amoadd.d x0, t0, (a0)"
        if kind == "amo"
        else "2: lr.d t1, (a0)\nadd t1, t1, t0\nsc.d t2, t1, (a0)\nbnez t2, 2b"
    )
    meet = "li t0, 1\naddi a3, a0, 64\namoadd.d x0, t0, (a3)\nli t1, 2\n3: ld t2, 0(a3)\nbne t1, t2, 3b\n"
    loop = f"li s0, {times}\n1: {add}\naddi s0, s0, -1\nbnez s0, 1b\necall"
    spaces = [load(board, meet + loop) for _ in (0, 1)]
    shared = spaces[0][0].page()
    threads = []
    for (space, context), hart in zip(spaces, board.harts, strict=True):
        space.map(DATA, shared, R | W | U)
        threads.append(threading.Thread(target=hart.run, args=(context,)))
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(PATIENCE)
    assert int.from_bytes(board.memory.read(shared, 8), "little") == 2 * times
