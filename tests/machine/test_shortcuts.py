"""What a hart does in the place of Unicorn's own functions: nothing is lost by it but time.

Pages of code may be stored to at every address at which they are mapped; stores to where nothing is leave
their block at once; whoever else uses Unicorn is not concerned.
"""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.support.bare import AddressSpace, R, U, W, X, assemble

from penglai.abi.riscv import Cause
from penglai.machine import Board
from penglai.machine.library import unicorn_library

ALIASES = {0x20000: R | X, 0x31000: R | W, 0x42000: R | W | X}
"""Where the page of code is mapped, and with which rights: it is executed where it may be, and stored to."""
CALLED = [at for at, rights in ALIASES.items() if X in rights]
STORED = [at for at, rights in ALIASES.items() if W in rights]
SLOTS = 4
"""Functions in that page, of 8 bytes; as many words of data lie in the same page."""
DATA_OFFSET = 0x800
NOWHERE = 0x20000
S0, S1 = 8, 9

Step = tuple[str, int, int, int]
"""What to do; where; with which slot; which value."""

steps = st.lists(
    st.one_of(
        st.tuples(st.just("write"), st.sampled_from(STORED), st.integers(0, SLOTS - 1), st.integers(0, 2047)),
        st.tuples(st.just("store"), st.sampled_from(STORED), st.integers(0, SLOTS - 1), st.integers(0, 2047)),
        st.tuples(st.just("call"), st.sampled_from(CALLED), st.integers(0, SLOTS - 1), st.just(0)),
        st.tuples(st.just("load"), st.sampled_from(sorted(ALIASES)), st.integers(0, SLOTS - 1), st.just(0)),
    ),
    max_size=60,
)


def text_of(step: Step) -> str:
    """Assembler: s1 = 31 * s1 + what came of it."""
    what, at, slot, value = step
    if what == "write":  # li a0, value; ret
        return (
            f"li t0, {at + 8 * slot}\nli t1, {value << 20 | 0x513}\nsw t1, 0(t0)\n"
            "li t1, 0x8067\nsw t1, 4(t0)\nfence.i"
        )
    if what == "store":
        return f"li t0, {at + DATA_OFFSET + 8 * slot}\nli t1, {value}\nsd t1, 0(t0)"
    if what == "store often":
        return (
            f"li t0, {at + DATA_OFFSET + 8 * slot}\nli t1, 3000\n"
            f"1: sd t1, 0(t0)\naddi t1, t1, -1\nbnez t1, 1b\nli t1, {value}\nsd t1, 0(t0)"
        )
    get = f"li t0, {at + 8 * slot}\njalr t0" if what == "call" else f"ld a0, {DATA_OFFSET - 2048}(t2)"
    point = f"li t2, {at + 8 * slot + 2048}\n" if what == "load" else ""
    return f"{point}{get}\nmul s1, s1, s3\nadd s1, s1, a0"


def expected(program: list[Step]) -> int:
    total = 0
    memory = {("write", slot): slot for slot in range(SLOTS)} | {("store", slot): 0 for slot in range(SLOTS)}
    for what, _, slot, value in program:
        if what in ("write", "store", "store often"):
            memory[what.partition(" ")[0], slot] = value
        else:
            total = total * 31 + memory["write" if what == "call" else "store", slot]
    return total % (1 << 64)


def result_of(program: list[Step]) -> int:
    board = Board(4 << 20, 1)
    space = AddressSpace(board)
    page = space.page()
    for at, rights in ALIASES.items():
        space.map(at, page, rights | U)
    space.code(0x1000, assemble("\n".join(map(text_of, program)) + "\necall"))
    context = space.context(pc=0x1000, x19=31)
    assert board.harts[0].run(context).cause == Cause.ECALL_U
    board.power_off()
    return int(context.x[S1])


@given(program=steps)
def test_code_is_translated_anew_however_its_page_is_stored_to(program: list[Step]):
    first = [("write", STORED[0], slot, slot) for slot in range(SLOTS)]
    assert result_of([*first, *program]) == expected(program)


def test_code_that_is_written_at_one_address_runs_at_another():
    """As just-in-time compilers do it that have no page both writable and executable."""
    program: list[Step] = []
    for value in range(40):
        program += [("write", 0x31000, 0, value), ("call", 0x20000, 0, 0)]
    assert result_of(program) == expected(program)


@pytest.mark.parametrize("at", STORED)
def test_stores_beside_code_may_be_many(at: int):
    """So many that its page is given up as one of code, until it is executed again."""
    program: list[Step] = []
    for value in range(4):
        program += [("write", at, 1, value), ("call", 0x20000, 1, 0), ("store often", at, 1, value + 7)]
        program += [("call", 0x20000, 1, 0), ("load", 0x20000, 1, 0)]
    assert result_of(program) == expected(program)


@pytest.mark.parametrize(
    "store",
    [
        *("sb a0, 0(t0)", "sh a0, 0(t0)", "sw a0, 0(t0)", "sd a0, 0(t0)", "c.sd a0, 0(a5)", "sd a0, -4(t1)"),
        *("fsw f0, 0(t0)", "fsd f0, 0(t0)", "amoadd.d a1, a0, (t0)", "amoswap.w a1, a0, (t0)"),
    ],
)
def test_a_store_to_where_nothing_is_leaves_its_block_at_once(board: Board, store: str):
    space = AddressSpace(board)
    space.code(0x1000, assemble(f"addi s0, s0, 1\n{store}\naddi s0, s0, 1\nsd s0, 8(t1)\necall"))
    space.map(NOWHERE - 0x1000, space.page(), R | W | U)
    space.map(NOWHERE, 0x1000_0000, R | W | U)
    context = space.context(pc=0x1000, x5=NOWHERE, x6=NOWHERE, x15=NOWHERE)
    for _ in range(2):  # translated, and then found
        trap = board.harts[0].run(context)
        assert (trap.cause, trap.tval) == (Cause.STORE_ACCESS, NOWHERE)
        assert trap.epc == context.pc == 0x1002
        assert context.x[S0] == 1
        context.pc, context.x[S0] = 0x1000, 0


RUN = """
from tests.support.bare import load
from penglai.abi.riscv import Cause
from penglai.machine import Board
from penglai.machine.library import unicorn_library
from penglai.machine.library import library

board = Board(4 << 20, 1)
_, context = load(board, "sd a0, 0(a0)\\nld s0, 0(a0)\\necall")
assert board.harts[0].run(context).cause == Cause.ECALL_U
assert context.x[8] == context.x[10]
print(library().quick.shortcuts_in_effect())
"""

OTHERS = """
import unicorn
from unicorn import riscv_const

machine = unicorn.Uc(unicorn.UC_ARCH_RISCV, unicorn.UC_MODE_RISCV64)
machine.mem_map(0, 0x2000)
# sd x0, 0(x5); addi x6, x6, 1; addi x6, x6, 1: a hook stops it behind the store
machine.mem_write(0, bytes.fromhex("23b00200 13031300 13031300"))
machine.reg_write(riscv_const.UC_RISCV_REG_X5, 0x1000)
machine.hook_add(unicorn.UC_HOOK_MEM_WRITE, lambda uc, *_: uc.emu_stop())
machine.emu_start(0, 12)
assert machine.reg_read(riscv_const.UC_RISCV_REG_X6) == 0
"""


PRELOADED = {**os.environ, "LD_PRELOAD": str(unicorn_library())}
"""An environment in which a process has loaded Unicorn for everybody, before its first instruction."""


def output_of(program: str, environment: dict[str, str] | None = None) -> str:
    return subprocess.run(
        [sys.executable, "-c", program], capture_output=True, check=True, text=True, env=environment
    ).stdout.strip()


@pytest.mark.parametrize("before", ["", "import unicorn\n"])
def test_harts_have_them(before: str):
    """Also in a process that has loaded Unicorn before: its harts then have a copy of it."""
    assert output_of(before + RUN) == "True"


def test_who_asks_is_told_which_extensions_there_are():
    program = "from penglai.machine.engine import choose; print(choose('unicorn').extensions())"
    assert "Zcb and rdtime by trap" in output_of(program)
    assert "Zcb and rdtime by trap" in output_of(f"import unicorn; {program}")
    assert "no Zcb" in output_of(program, PRELOADED)


@pytest.mark.parametrize("before", ["", "import unicorn\n"])
def test_nobody_else_in_the_process_has_them(before: str):
    assert output_of(before + RUN + OTHERS) == "True"


def test_without_them_harts_do_the_same():
    """As in a process that has loaded Unicorn for everybody."""
    assert output_of(RUN, PRELOADED) == "False"
    names = ("contexts", "hostile_code", "stops", "supervisor", "translation", "traps")
    files = [str(Path(__file__).with_name(f"test_{name}.py")) for name in names]
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", *files]
    done = subprocess.run(command, capture_output=True, check=False, text=True, env=PRELOADED)
    assert done.returncode == 0, done.stdout
