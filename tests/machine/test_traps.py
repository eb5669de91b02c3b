"""A trap tells exactly what happened: cause, epc, tval, and registers as they were."""

import pytest
from tests.support.bare import CODE, DATA, READ_ONLY, UNMAPPED, AddressSpace, R, U, W, assemble, load, run

from penglai.abi.riscv import PAGE_SIZE, Cause
from penglai.machine import NEVER, Board, Context

NON_CANONICAL = 1 << 45
PATIENCE = 10_000
"""Blocks after which a program that should have trapped has not."""


def trap_of(board: Board, text: str | bytes, pc: int = CODE, **registers: int) -> tuple[object, Context]:
    _, context = load(board, text, **registers)
    context.pc = pc
    trap = run(board, context, PATIENCE)
    assert trap.epc == context.pc
    return trap, context


MEMORY_FORMS = {
    # name: (instruction that uses address a1 + offset, offset, bytes)
    "lb": ("lb t0, 3(a1)", 3),
    "lbu": ("lbu t0, -3(a1)", -3),
    "lh": ("lh t0, 2(a1)", 2),
    "lhu": ("lhu t0, 2(a1)", 2),
    "lw": (".option norvc\nlw t0, 4(a1)", 4),
    "lwu": ("lwu t0, 4(a1)", 4),
    "ld": (".option norvc\nld t0, 2040(a1)", 2040),
    "ld negative": ("ld t0, -2048(a1)", -2048),
    "flw": ("flw f0, 4(a1)", 4),
    "fld": (".option norvc\nfld f0, 8(a1)", 8),
    "lr.w": ("lr.w t0, (a1)", 0),
    "lr.d": ("lr.d t0, (a1)", 0),
    "c.lw": ("c.lw a0, 68(a1)", 68),
    "c.ld": ("c.ld a0, 200(a1)", 200),
    "c.fld": ("c.fld fa0, 248(a1)", 248),
    "c.lwsp": ("mv sp, a1\nc.lwsp a0, 252(sp)", 252),
    "c.ldsp": ("mv sp, a1\nc.ldsp a0, 504(sp)", 504),
    "c.fldsp": ("mv sp, a1\nc.fldsp fa0, 40(sp)", 40),
}
STORE_FORMS = {
    "sb": ("sb t0, 3(a1)", 3),
    "sh": ("sh t0, -2(a1)", -2),
    "sw": (".option norvc\nsw t0, 4(a1)", 4),
    "sd": (".option norvc\nsd t0, 2040(a1)", 2040),
    "sd negative": ("sd t0, -2048(a1)", -2048),
    "fsw": ("fsw f0, 4(a1)", 4),
    "fsd": (".option norvc\nfsd f0, 8(a1)", 8),
    "amoadd.w": ("amoadd.w t0, t0, (a1)", 0),
    "amoswap.d": ("amoswap.d t0, t0, (a1)", 0),
    "amomaxu.d": ("amomaxu.d t0, t0, (a1)", 0),
    "c.sw": ("c.sw a0, 124(a1)", 124),
    "c.sd": ("c.sd a0, 64(a1)", 64),
    "c.fsd": ("c.fsd fa0, 192(a1)", 192),
    "c.swsp": ("mv sp, a1\nc.swsp a0, 132(sp)", 132),
    "c.sdsp": ("mv sp, a1\nc.sdsp a0, 328(sp)", 328),
    "c.fsdsp": ("mv sp, a1\nc.fsdsp fa0, 64(sp)", 64),
}
ALL_FORMS = [
    *((name, text, offset, Cause.LOAD_PAGE_FAULT) for name, (text, offset) in MEMORY_FORMS.items()),
    *((name, text, offset, Cause.STORE_PAGE_FAULT) for name, (text, offset) in STORE_FORMS.items()),
]


@pytest.mark.parametrize(("name", "text", "offset", "cause"), ALL_FORMS, ids=[form[0] for form in ALL_FORMS])
def test_every_form_of_access_reports_its_address(
    board: Board, name: str, text: str, offset: int, cause: Cause
):
    trap, context = trap_of(board, f"nop\nli t0, 77\n{text}\necall")
    prologue = len(assemble("nop\nli t0, 77" + ("\nmv sp, a1" if "sp" in name else "")))
    assert trap == (cause, CODE + prologue, UNMAPPED + offset)
    assert context.x[5] == 77


def test_a_store_to_a_read_only_page_faults_and_changes_nothing(board: Board):
    space, context = load(board, "li t0, -1\nsd t0, 8(a2)")
    trap = board.harts[0].run(context)
    assert trap == (Cause.STORE_PAGE_FAULT, CODE + 2, READ_ONLY + 8)
    assert not space.memory.pages[-1].any()


@pytest.mark.parametrize(
    ("text", "address", "cause", "tval"),
    [
        ("ld t1, 0(t0)", READ_ONLY + PAGE_SIZE - 4, Cause.LOAD_PAGE_FAULT, READ_ONLY + PAGE_SIZE),
        ("lw t1, 0(t0)", READ_ONLY + PAGE_SIZE - 2, Cause.LOAD_PAGE_FAULT, READ_ONLY + PAGE_SIZE),
        ("sd t1, 0(t0)", READ_ONLY - 4, Cause.STORE_PAGE_FAULT, READ_ONLY),
        ("ld t1, 0(t0)", DATA - 4, Cause.LOAD_PAGE_FAULT, DATA - 4),
        ("sd t1, 0(t0)", DATA - 1, Cause.STORE_PAGE_FAULT, DATA - 1),
    ],
)
def test_an_access_across_pages_reports_the_part_that_faulted(
    board: Board, text: str, address: int, cause: Cause, tval: int
):
    trap, _ = trap_of(board, f"li t1, -1\n{text}", x5=address)
    assert trap == (cause, CODE + 2, tval)


@pytest.mark.parametrize("text", ["amoadd.d t0, t0, (a0)", "amoswap.w t0, t0, (a0)"])
def test_a_misaligned_atomic_is_a_misaligned_store(board: Board, text: str):
    trap, _ = trap_of(board, text, x10=DATA + 1)
    assert trap == (Cause.STORE_MISALIGNED, CODE, DATA + 1)


def test_a_misaligned_reservation_is_a_misaligned_load(board: Board):
    trap, _ = trap_of(board, "lr.w t0, (a0)", x10=DATA + 2)
    assert trap == (Cause.LOAD_MISALIGNED, CODE, DATA + 2)


@pytest.mark.parametrize("target", [UNMAPPED, DATA, NON_CANONICAL, 0, 1 << 63])
def test_a_jump_to_where_no_code_is_faults_there(board: Board, target: int):
    trap, _ = trap_of(board, "jr t0", x5=target)
    assert trap == (Cause.FETCH_PAGE_FAULT, target, target)


@pytest.mark.parametrize("text", ["ld t1, 0(t0)", "sd t1, 0(t0)"])
def test_a_non_canonical_address_is_a_page_fault(board: Board, text: str):
    trap, _ = trap_of(board, text, x5=NON_CANONICAL)
    assert trap.cause in (Cause.LOAD_PAGE_FAULT, Cause.STORE_PAGE_FAULT)
    assert trap.tval == NON_CANONICAL


PRIVILEGED = {
    "wfi": 0x10500073,
    "sret": 0x10200073,
    "mret": 0x30200073,
    "sfence.vma": 0x12000073,
    "csrr t0, satp": 0x180022F3,
    "csrw satp, t0": 0x18029073,
    "csrr t0, mstatus": 0x300022F3,
    "csrw mtvec, t0": 0x30529073,
    "csrr t0, sstatus": 0x100022F3,
    "ones": 0xFFFFFFFF,
}


@pytest.mark.parametrize("instruction", PRIVILEGED.values(), ids=PRIVILEGED)
def test_privileged_instructions_are_illegal_in_user_mode(board: Board, instruction: int):
    trap, _ = trap_of(board, assemble("nop\nnop") + instruction.to_bytes(4, "little"))
    assert trap == (Cause.ILLEGAL_INSTRUCTION, CODE + 4, instruction)


@pytest.mark.parametrize("offset", [0, 2, 4094])
@pytest.mark.parametrize("halfword", [0x0000, 0x0004, 0x0010])
def test_an_illegal_16_bit_instruction_is_illegal_wherever_it_stands(
    board: Board, offset: int, halfword: int
):
    code = assemble("nop") * (offset // 2) + halfword.to_bytes(2, "little")
    trap, _ = trap_of(board, code, pc=CODE + offset)
    assert trap == (Cause.ILLEGAL_INSTRUCTION, CODE + offset, halfword)


@pytest.mark.parametrize("text", ["c.ebreak", ".option norvc\nebreak"])
def test_breakpoints(board: Board, text: str):
    trap, _ = trap_of(board, f"nop\n{text}")
    assert trap == (Cause.BREAKPOINT, CODE + 2, CODE + 2)


def test_an_ecall_stands_at_itself(board: Board):
    trap, context = trap_of(board, "li a7, 5\necall\nli a7, 6")
    assert trap == (Cause.ECALL_U, CODE + 2, 0)
    assert context.x[17] == 5


END_OF_PAGE = PAGE_SIZE - 2


def reaching_over(before: str) -> bytes:
    """Code whose last instruction begins in the last halfword of its page; the next page is not mapped."""
    body = assemble(f".option norvc\n{before}")
    return assemble("nop") * ((END_OF_PAGE - len(body)) // 2) + body + assemble(".option norvc\nnop")[:2]


def test_an_instruction_that_reaches_into_a_missing_page_faults_there(board: Board):
    code = reaching_over("li t1, 7\nsd t1, 0(a0)\nli t2, 9")
    trap, context = trap_of(board, code)
    assert trap == (Cause.FETCH_PAGE_FAULT, CODE + END_OF_PAGE, CODE + PAGE_SIZE)
    assert (context.x[6], context.x[7]) == (7, 9), "what stands before it was executed"
    again, _ = trap_of(board, code, pc=CODE + END_OF_PAGE)
    assert again == trap


def test_a_fault_before_such_an_instruction_comes_first(board: Board):
    trap, context = trap_of(board, reaching_over("li t1, 7\nsd t1, 0(a1)\nli t2, 9"), x7=1)
    assert trap == (Cause.STORE_PAGE_FAULT, CODE + END_OF_PAGE - 8, UNMAPPED)
    assert (context.x[6], context.x[7]) == (7, 1)


@pytest.mark.parametrize(
    ("text", "cause"),
    [
        ("ld t1, 0(t0)", Cause.LOAD_ACCESS),
        ("sd t1, 0(t0)", Cause.STORE_ACCESS),
        ("jr t0", Cause.FETCH_ACCESS),
    ],
)
def test_a_mapping_to_where_no_memory_is_gives_an_access_fault(board: Board, text: str, cause: Cause):
    space, context = load(board, text, x5=0x20000)
    permissions = U | (R | W if text != "jr t0" else R) | (8 if text == "jr t0" else 0)
    space.map(0x20000, 0x1000_0000, permissions)
    trap = board.harts[0].run(context)
    assert (trap.cause, trap.tval) == (cause, 0x20000)


def test_the_time_csr_counts_the_machines_clock(board: Board):
    before = board.clock.ticks()
    _, context = trap_of(board, "rdtime a0\nrdtime a1\nrdtime x0\necall")
    assert before <= context.x[10] <= context.x[11] <= board.clock.ticks()


def test_a_changed_rounding_mode_may_be_illegal_for_the_next_instruction(board: Board):
    trap, _ = trap_of(board, "li t0, 5\nfsrm t0\nfadd.d f0, f0, f0")
    assert trap.cause == Cause.ILLEGAL_INSTRUCTION


def test_deadline_never_means_never(board: Board):
    assert board.harts[0].deadline == NEVER


def test_memory_of_another_address_space_is_not_there(board: Board):
    other = AddressSpace(board)
    other.map(0x30000, other.page(), R | W | U)
    trap, _ = trap_of(board, "ld t0, 0(t0)", x5=0x30000)
    assert trap == (Cause.LOAD_PAGE_FAULT, CODE, 0x30000)
