"""A hart in S-mode: traps, interrupts, wfi, devices, and a bus that shows only the host's pages."""

import threading

import numpy as np
import pytest
from tests.machine.test_traps import ALL_FORMS
from tests.support.bare import R, U, W, X, assemble
from tests.support.smode import (
    CODE,
    DATA,
    FAR,
    INTERRUPT,
    SEI,
    SETUP,
    SIE,
    SPIE,
    SSI,
    STI,
    SUM,
    Bare,
    Tables,
    Trapped,
    bare,
)

from penglai.abi.riscv import NS_PER_TICK, PAGE_SIZE, Cause
from penglai.machine import ManualClock
from penglai.machine.supervisor import Exit

CALL = "li a7, 7\necall\n"
UNMAPPED = 0x55_5000
USER_CODE = 0x10_0000
USER_DATA = 0x20_0000
USER_ENTRY = "la t1, user\ncsrw sepc, t1\nli t1, 0x100\ncsrc sstatus, t1\nsret\n"
"""sret to `user` in U-mode."""


def page(address: int) -> np.ndarray:
    return np.array([(address - CODE) // PAGE_SIZE])


def hide(program: Bare, address: int, visible: bool = False) -> None:
    with program.memory.lock:
        program.memory.show(page(address), visible=visible)


# ---- calls -------------------------------------------------------------------------------------


def test_a_call_of_s_mode_comes_with_its_registers_and_goes_on_with_the_answer():
    text = "li a0, 1\nli a1, 2\nli a2, 3\nli a6, 8\nli a7, 9\necall\nmv a2, a0\nmv a3, a1\necall"
    with bare(text) as program:
        assert program.call() == [1, 2, 3, 0, 0, 0, 8, 9]
        program.hart.exit.a[0], program.hart.exit.a[1] = 77, (1 << 64) - 2
        assert program.call() == [77, (1 << 64) - 2, 77, (1 << 64) - 2, 0, 0, 8, 9]


def test_a_call_of_u_mode_goes_to_s_mode():
    with bare(f"{SETUP}{USER_ENTRY}user: nop\ncall: ecall\n") as program:
        at = CODE + len(assemble(f"{SETUP}{USER_ENTRY}nop\n" + "trap:user:"))
        assert program.trap() == Trapped(Cause.ECALL_U, at, 0, user=True, interrupts_were_on=False)


def test_sret_goes_back_where_the_trap_came_from():
    text = f"""{SETUP}
    la t0, handler
    csrw stvec, t0
    {USER_ENTRY}
user:
    li s0, 0
1:  addi s0, s0, 1
    ecall
    j 1b
.p2align 2
handler:
    csrr t0, sepc
    addi t0, t0, 4
    csrw sepc, t0
    li t0, 1000
    beq s0, t0, 2f
    sret
2:  mv a0, s0
    {CALL}"""
    with bare(text) as program:
        assert program.call()[0] == 1000


# ---- exceptions --------------------------------------------------------------------------------


def paged(levels: int, text: str, **registers: int) -> Bare:
    """A program that has switched translation on: its own code, DATA and FAR at their places."""
    program = Bare(f"{SETUP}csrw satp, s11\nsfence.vma\n{text}", x27=0, **registers)
    tables = Tables(program.memory, levels)
    tables.identity(CODE, 4 * PAGE_SIZE, R | X)
    tables.identity(DATA, PAGE_SIZE, R | W)
    tables.identity(FAR, PAGE_SIZE, R | W)
    program.tables = tables  # type: ignore[attr-defined]
    program.hart._quick.supervisor_set_x(program.hart._pointer, 27, tables.satp)
    return program


@pytest.mark.parametrize("levels", [3, 4, 5])
@pytest.mark.parametrize(("name", "text", "offset", "cause"), ALL_FORMS, ids=[form[0] for form in ALL_FORMS])
def test_every_form_of_access_reports_its_address(
    levels: int, name: str, text: str, offset: int, cause: Cause
):
    fs = "li t0, 0x6000\ncsrs sstatus, t0\n"
    program = paged(levels, f"{fs}li t0, 77\naccess: {text}\n", x11=UNMAPPED)
    trapped = program.trap()
    assert (trapped.cause, trapped.tval, trapped.user) == (cause, UNMAPPED + offset, False)
    program.memory.close()


@pytest.mark.parametrize("instruction", [0, 0xFFFFFFFF, 0x0000_100B])
def test_an_illegal_instruction_is_reported_with_its_bits(instruction: int):
    with bare(f"{SETUP}.p2align 2\nhere: .word {instruction}\n") as program:
        trapped = program.trap()
        assert trapped.cause == Cause.ILLEGAL_INSTRUCTION
        bits = instruction if instruction & 3 == 3 else instruction & 0xFFFF
        assert trapped.tval == bits


def test_a_breakpoint_goes_to_s_mode():
    with bare(f"{SETUP}ebreak\n") as program:
        trapped = program.trap()
        assert (trapped.cause, trapped.tval) == (Cause.BREAKPOINT, trapped.epc)


def test_user_pages_are_for_s_mode_only_when_it_says_so():
    text = f"ld a0, 0(a1)\n{CALL}"
    program = paged(3, text, x11=USER_DATA)
    program.tables.map(USER_DATA, DATA, R | W | U)  # type: ignore[attr-defined]
    trapped = program.trap()
    assert (trapped.cause, trapped.tval) == (Cause.LOAD_PAGE_FAULT, USER_DATA)
    program = paged(3, f"li t0, {SUM}\ncsrs sstatus, t0\n{text}", x11=USER_DATA)
    program.tables.map(USER_DATA, DATA, R | W | U)  # type: ignore[attr-defined]
    program.memory.write(DATA, (123).to_bytes(8, "little"))
    assert program.call()[0] == 123


def test_s_mode_never_executes_user_pages():
    program = paged(3, "jr a1\n", x11=USER_CODE)
    program.tables.map(USER_CODE, CODE, R | X | U)  # type: ignore[attr-defined]
    trapped = program.trap()
    assert (trapped.cause, trapped.epc, trapped.tval) == (Cause.FETCH_PAGE_FAULT, USER_CODE, USER_CODE)


def test_an_instruction_that_reaches_into_a_missing_page_faults_there():
    program = paged(3, "jr a1\n", x11=FAR + PAGE_SIZE - 4)
    program.tables.map(FAR, FAR, R | X)  # type: ignore[attr-defined]
    program.memory.write(FAR + PAGE_SIZE - 4, assemble("c.addi s0, 1\n.short 0x0003"))
    trapped = program.trap()
    assert (trapped.cause, trapped.epc, trapped.tval) == (
        Cause.FETCH_PAGE_FAULT,
        FAR + PAGE_SIZE - 2,
        FAR + PAGE_SIZE,
    )
    assert program.hart.registers()[8] == 1, "what stood before it was executed"


def test_an_instruction_that_reaches_into_a_page_that_has_gone_since_faults_there():
    """What was translated before knows both pages, and is found when the second one is not there any more."""
    program = paged(
        3, "la s2, back\njr s1\nback: li a7, 1\necall\nsfence.vma\njr s1\n", x9=FAR + PAGE_SIZE - 4
    )
    for page in (FAR, FAR + PAGE_SIZE):
        program.tables.map(page, page, R | X)  # type: ignore[attr-defined]
    program.memory.write(FAR + PAGE_SIZE - 4, assemble("c.addi s0, 1\n.option norvc\njr s2\n"))
    program.call()
    program.memory.write(program.tables.entry(FAR + PAGE_SIZE), bytes(8))  # type: ignore[attr-defined]
    trapped = program.trap()
    assert (trapped.cause, trapped.epc, trapped.tval) == (
        Cause.FETCH_PAGE_FAULT,
        FAR + PAGE_SIZE - 2,
        FAR + PAGE_SIZE,
    )
    assert program.hart.registers()[8] == 2, "what stood before it was executed, each time"


def test_rdtime_counts_the_machines_clock_in_s_and_u_mode():
    clock = ManualClock()
    clock.advance(1234 * NS_PER_TICK)
    text = f"{SETUP}rdtime s0\n{USER_ENTRY}user: rdtime a3\nmv a4, s0\necall"
    with bare(text, clock) as program:
        program.trap()
        assert program.hart.registers()[8] == 1234
        assert program.hart.registers()[14] == 1234


# ---- interrupts --------------------------------------------------------------------------------

ENABLE_ALL = f"li t0, {1 << SSI | 1 << STI | 1 << SEI}\ncsrw sie, t0\n"
ON = f"csrsi sstatus, {SIE}\n"
SPIN = "spin: addi s1, s1, 1\nj spin\n"


def test_the_timer_interrupts_a_busy_guest_when_its_time_has_come():
    clock = ManualClock()
    with bare(f"{SETUP}{ENABLE_ALL}{ON}{CALL}{SPIN}", clock) as program:
        program.call()
        program.hart.set_timer(50)
        thread = threading.Timer(0, clock.advance, [49 * NS_PER_TICK])
        thread.start()
        thread.join()
        program.hart.request()
        assert program.run() is Exit.REQUEST, "not yet"
        clock.advance(NS_PER_TICK)
        assert program.trap().cause == INTERRUPT | STI


RETURNING = """
la t0, quick
csrw stvec, t0
j begin
.p2align 2
quick:
    csrr t0, scause
    bltz t0, late
    csrr t0, sepc
    addi t0, t0, 4
    csrw sepc, t0
    sret
late:
    rdtime a0
    ecall
begin:
"""
"""Traps are returned from, behind their instruction; an interrupt reports the time."""


IN_TIME = 150_000 // NS_PER_TICK
"""Ticks that an interrupt may be late, at least once: the hart's thread may have no core just then."""
TRIES = 100
NEVER = 1 << 64


@pytest.mark.parametrize("often", [".word 0x00100073", "rdtime t1"], ids=["traps", "rdtime"])
def test_the_timer_is_on_time_in_a_guest_that_only_traps(often: str):
    """The clock is not read at each trap, and a trap takes longer than the blocks around it."""
    busy = "li t0, 20000000\nbusy: addi t0, t0, -1\nbnez t0, busy\n"
    late = [NEVER]
    while min(late) >= IN_TIME and len(late) <= TRIES:
        with bare(f"{RETURNING}{ENABLE_ALL}{ON}{busy}{CALL}again: {often}\nj again\n") as program:
            program.call()
            due = program.clock.now() // NS_PER_TICK + 2_000
            program.hart.set_timer(due)
            late.append(program.call()[0] - due)
    assert 0 <= min(late) < IN_TIME


def test_a_timer_in_the_past_interrupts_at_once():
    with bare(f"{SETUP}{ENABLE_ALL}{ON}{CALL}here: nop\nli a7, 8\necall") as program:
        program.call()
        program.hart.set_timer(0)
        trapped = program.trap()
        assert (trapped.cause, trapped.interrupts_were_on) == (INTERRUPT | STI, True)


def test_setting_the_timer_anew_takes_the_interrupt_back():
    text = f"{SETUP}{ENABLE_ALL}{CALL}csrr a0, sip\nli a7, 8\necall\ncsrr a0, sip\n{ON}li a7, 9\necall"
    with bare(text, ManualClock()) as program:
        program.call()
        program.hart.set_timer(0)
        assert program.call()[0] == 1 << STI
        program.hart.set_timer(1000)
        assert program.call()[0] == 0


@pytest.mark.parametrize("gate", ["csrsi", "csrs", "sret"])
def test_a_pending_interrupt_is_taken_right_behind_the_instruction_that_lets_it_in(gate: str):
    openers = {
        "csrsi": ON,
        "csrs": f"li t0, {SIE}\ncsrs sstatus, t0\n",
        "sret": f"li t0, {SPIE | 0x100}\ncsrs sstatus, t0\nla t0, there\ncsrw sepc, t0\nsret\nnop\nthere:\n",
    }
    text = f"{SETUP}{ENABLE_ALL}{CALL}li s0, 1\n{openers[gate]}li s0, 2\nli a7, 8\necall"
    with bare(text) as program:
        program.call()
        program.hart.hold_external_interrupt(True)
        assert program.trap().cause == INTERRUPT | SEI
        assert program.hart.registers()[8] == 1, "not one instruction later"


def test_u_mode_is_interrupted_whatever_sie_says():
    with bare(f"{SETUP}{ENABLE_ALL}{CALL}{USER_ENTRY}user: j user") as program:
        program.call()
        program.hart.raise_software_interrupt()
        trapped = program.trap()
        assert (trapped.cause, trapped.user) == (INTERRUPT | SSI, True)


def test_a_software_interrupt_is_the_guests_to_clear():
    text = f"{SETUP}{CALL}csrr a0, sip\ncsrci sip, 2\ncsrr a1, sip\nli a7, 8\necall"
    with bare(text) as program:
        program.call()
        program.hart.raise_software_interrupt()
        assert program.call()[:2] == [1 << SSI, 0]


def test_an_external_interrupt_stays_until_it_is_let_go():
    text = f"{SETUP}{CALL}csrr a0, sip\nli t0, 0x222\ncsrc sip, t0\ncsrr a1, sip\n{CALL}csrr a0, sip\n{CALL}"
    with bare(text) as program:
        program.call()
        program.hart.hold_external_interrupt(True)
        assert program.call()[:2] == [1 << SEI, 1 << SEI]
        program.hart.hold_external_interrupt(False)
        assert program.call()[0] == 0


def test_interrupts_that_are_not_enabled_stay_pending():
    count = "li s0, 0\nli s1, 100000\n1: addi s0, s0, 1\nbne s0, s1, 1b\n"
    with bare(f"{SETUP}{ON}{CALL}{count}{CALL}") as program:
        program.call()
        program.hart.hold_external_interrupt(True)
        program.hart.raise_software_interrupt()
        program.hart.set_timer(0)
        assert program.call()[7] == 7


def test_wfi_waits_for_an_interrupt_and_goes_on_behind_it():
    text = f"{SETUP}{ENABLE_ALL}{CALL}wfi\nli a0, 5\nli a7, 8\necall"
    with bare(text) as program:
        program.call()
        waiting = threading.Event()

        def wake() -> None:
            waiting.wait()
            program.hart.hold_external_interrupt(True)

        thread = threading.Thread(target=wake)
        thread.start()
        waiting.set()
        assert program.call()[0] == 5, "with SIE off it goes on without a trap"
        thread.join()


def test_wfi_ends_with_the_timer():
    with bare(f"{SETUP}{ENABLE_ALL}{CALL}wfi\nrdtime a0\nli a7, 8\necall") as program:
        program.call()
        due = program.clock.ticks() + 20_000
        program.hart.set_timer(due)
        assert program.call()[0] >= due


def test_wfi_with_an_interrupt_pending_does_not_wait():
    with bare(f"{SETUP}{ENABLE_ALL}{CALL}wfi\nwfi\nwfi\nli a7, 8\necall") as program:
        program.call()
        program.hart.raise_software_interrupt()
        assert program.call()[7] == 8


def test_a_request_ends_wfi():
    with bare(f"{SETUP}wfi\nli a7, 8\necall") as program:
        program.hart.request()
        assert program.run() is Exit.REQUEST
        thread = threading.Thread(target=program.hart.interrupt)
        thread.start()
        assert program.run() is Exit.REQUEST
        thread.join()


def test_interrupts_in_idle_lose_nothing():
    """Linux's idle loop: wfi with interrupts off, then on; each tick is counted exactly once.

    On a slow machine the next tick can come before interrupts are off again: then the last turn counts two.
    """
    text = f"""la t0, handler
    csrw stvec, t0
    {ENABLE_ALL}
    li s2, 2000
    li a7, 1
    ecall
1:  wfi
    {ON}
    csrci sstatus, {SIE}
    blt s1, s2, 1b
    mv a0, s1
    {CALL}
.p2align 2
handler:
    addi s1, s1, 1
    li a7, 1
    ecall
    sret"""
    with bare(text) as program:
        ticks = -1
        while (call := program.call())[7] == 1:
            ticks += 1
            program.hart.set_timer(program.clock.ticks() + 100)
        assert call[0] == ticks >= 2000


# ---- the bus -----------------------------------------------------------------------------------

ACCESSES = {
    "ld": ("ld a0, 0(a1)", Cause.LOAD_ACCESS),
    "lb": ("lb a0, 0(a1)", Cause.LOAD_ACCESS),
    "lr": ("lr.d a0, (a1)", Cause.LOAD_ACCESS),
    "sd": ("sd a0, 0(a1)", Cause.STORE_ACCESS),
    "c.sw": ("c.sw a0, 0(a1)", Cause.STORE_ACCESS),
    "amo": ("amoadd.d a0, a0, (a1)", Cause.STORE_ACCESS),
    "jump": ("jr a1", Cause.FETCH_ACCESS),
}


@pytest.mark.parametrize("levels", [0, 3])
@pytest.mark.parametrize("name", ACCESSES)
def test_a_page_that_is_hidden_cannot_be_touched_in_any_way(name: str, levels: int):
    text, cause = ACCESSES[name]
    prepare = f"ld a0, 0(a1)\nsd a0, 0(a1)\n{CALL}"  # it is in the TLB, writable
    if levels:
        program = paged(levels, f"{prepare}{text}\n{CALL}", x11=FAR)
        program.tables.map(FAR, FAR, R | W | X)  # type: ignore[attr-defined]
    else:
        program = Bare(f"{SETUP}{prepare}{text}\n{CALL}", x11=FAR)
    program.memory.write(FAR, b"secret! ")
    program.call()
    hide(program, FAR)
    trapped = program.trap()
    assert (trapped.cause, trapped.tval) == (cause, FAR)
    assert program.memory.read(FAR, 8) == b"secret! ", "and nothing has changed there"
    program.memory.close()


def test_a_page_that_is_shown_again_is_as_it_was_left():
    text = f"{SETUP}ld a0, 0(a1)\n{CALL}ld a0, 0(a1)\n{CALL}"
    with bare(text, x11=FAR) as program:
        hide(program, FAR)
        assert program.trap().cause == Cause.LOAD_ACCESS
    with bare(text, x11=FAR) as program:
        program.call()
        hide(program, FAR)
        program.memory.write(FAR, (99).to_bytes(8, "little"))
        hide(program, FAR, visible=True)
        program.hart._quick.supervisor_set_x(program.hart._pointer, 11, FAR)
        program.hart.exit.a[1] = FAR
        assert program.call()[0] == 99


def test_an_access_that_reaches_into_a_hidden_page_reports_that_part():
    with bare(f"{SETUP}ld a0, 0(a1)\n", x11=FAR + PAGE_SIZE - 4) as program:
        hide(program, FAR + PAGE_SIZE)
        trapped = program.trap()
        assert (trapped.cause, trapped.tval) == (Cause.LOAD_ACCESS, FAR + PAGE_SIZE)


def test_neighbours_of_hidden_pages_are_still_there():
    text = f"{SETUP}ld s0, 0(a1)\nld s1, 0(a2)\n{CALL}"
    with bare(text, x11=FAR - 8, x12=FAR + PAGE_SIZE) as program:
        program.memory.write(FAR - 8, (5).to_bytes(8, "little"))
        program.memory.write(FAR + PAGE_SIZE, (6).to_bytes(8, "little"))
        hide(program, FAR)
        program.call()
        assert program.hart.registers()[8:10] == [5, 6]


def test_translation_through_a_hidden_table_fails():
    """The walk itself must not read what the host may not read."""
    program = paged(3, f"ld a0, 0(a1)\n{CALL}sfence.vma\nld a0, 0(a2)\n{CALL}", x11=USER_DATA, x12=USER_DATA)
    program.tables.map(USER_DATA, DATA, R | W)  # type: ignore[attr-defined]
    program.call()
    hide(program, program.tables.entry(USER_DATA))  # type: ignore[attr-defined]
    assert program.trap().cause in (Cause.LOAD_PAGE_FAULT, Cause.LOAD_ACCESS)


def test_code_that_is_hidden_stops_in_its_tracks():
    """A loop in a page that vanishes faults at its next instruction, though it was translated."""
    with bare(f"{SETUP}jr a1\n", x11=FAR) as program:
        program.memory.write(FAR, assemble("1: addi s0, s0, 1\nj 1b"))
        done = threading.Event()

        def vanish() -> None:
            while program.hart._thread is None:
                pass
            hide(program, FAR)
            done.set()

        thread = threading.Thread(target=vanish)
        thread.start()
        assert program.run() is Exit.REQUEST
        done.wait()
        thread.join()
        trapped = program.trap()
        assert trapped.cause == Cause.FETCH_ACCESS
        assert FAR <= trapped.epc < FAR + PAGE_SIZE


def test_other_content_in_a_page_that_was_away_is_translated_anew():
    text = f"{SETUP}jalr a1\nli a7, 1\necall\nli a1, {FAR}\njalr a1\nli a7, 2\necall"
    with bare(text, x11=FAR) as program:
        program.memory.write(FAR, assemble("li a0, 1\nret"))
        assert program.call()[0] == 1
        hide(program, FAR)
        program.memory.write(FAR, assemble("li a0, 2\nret"))
        hide(program, FAR, visible=True)
        assert program.call()[0] == 2


def test_code_that_a_device_has_written_is_translated_anew():
    text = f"{SETUP}jalr a1\nli a7, 1\necall\nli a1, {FAR}\njalr a1\nli a7, 2\necall"
    with bare(text, x11=FAR) as program:
        program.memory.write(FAR, assemble("li a0, 1\nret"))
        assert program.call()[0] == 1
        code = assemble("li a0, 2\nret")
        program.memory.write(FAR, code)
        program.hart.written(FAR, len(code))
        assert program.call()[0] == 2


# ---- devices -----------------------------------------------------------------------------------

DEVICE = 0x1000_0000
LOADS = {
    "lb": (1, 0x80, -128),
    "lbu": (1, 0x80, 0x80),
    "lh": (2, 0x8000, -0x8000),
    "lhu": (2, 0xFFFF, 0xFFFF),
    "lw": (4, 0x8000_0000, -0x8000_0000),
    "lwu": (4, 0xFFFF_FFFF, 0xFFFF_FFFF),
    "ld": (8, 1 << 63, -(1 << 63)),
    "c.lw": (4, 0xFFFF_FFFF, -1),
    "c.ld": (8, 42, 42),
}


@pytest.mark.parametrize("name", LOADS)
def test_a_device_is_loaded_from_in_every_width(name: str):
    size, value, expected = LOADS[name]
    with bare(f"{SETUP}{name} a0, 8(a1)\n{CALL}", x11=DEVICE) as program:
        assert program.run() is Exit.DEVICE
        record = program.hart.exit
        assert (record.address, record.bytes, record.store) == (DEVICE + 8, size, 0)
        record.value = value
        assert program.call()[0] == expected % (1 << 64)


STORES = {"sb": 1, "sh": 2, "sw": 4, "sd": 8, "c.sw": 4, "c.sd": 8}


@pytest.mark.parametrize(("name", "size"), STORES.items())
def test_a_device_is_stored_to_in_every_width(name: str, size: int):
    value = 0x1122_3344_5566_7788
    with bare(f"{SETUP}{name} a0, 16(a1)\n{CALL}", x10=value, x11=DEVICE) as program:
        assert program.run() is Exit.DEVICE
        record = program.hart.exit
        assert (record.address, record.bytes, record.store) == (DEVICE + 16, size, 1)
        assert record.value == value & ((1 << 8 * size) - 1)
        assert program.call()[0] == value


def test_a_device_behind_a_translation_is_reached_at_its_physical_address():
    program = paged(3, f"lw a0, 4(a1)\n{CALL}", x11=USER_DATA)
    program.tables.map(USER_DATA, DEVICE, R | W)  # type: ignore[attr-defined]
    assert program.run() is Exit.DEVICE
    assert program.hart.exit.address == DEVICE + 4


def test_where_no_device_is_an_access_faults():
    with bare(f"{SETUP}lw a0, 0(a1)\n{CALL}", x11=DEVICE) as program:
        assert program.run() is Exit.DEVICE
        program.hart.no_device()
        trapped = program.trap()
        assert (trapped.cause, trapped.tval) == (Cause.LOAD_ACCESS, DEVICE)


@pytest.mark.parametrize("text", ["amoadd.w a0, a0, (a1)", "lw a0, 1(a1)", "jr a1", "lr.w a0, (a1)"])
def test_what_no_device_can_answer_is_an_access_fault(text: str):
    with bare(f"{SETUP}{text}\n{CALL}", x11=DEVICE) as program:
        assert program.trap().cause in (Cause.LOAD_ACCESS, Cause.STORE_ACCESS, Cause.FETCH_ACCESS)


def test_beyond_ram_is_nothing():
    with bare(f"{SETUP}sd a0, 0(a1)\n", x11=CODE + (1 << 40)) as program:
        assert program.trap().cause == Cause.STORE_ACCESS


# ---- exactness ---------------------------------------------------------------------------------


def test_requests_lose_nothing_and_do_nothing_twice():
    text = f"""{SETUP}
1:  addi s4, s4, 1
    amoadd.d zero, s2, (s1)
2:  lr.d t0, (s3)
    addi t0, t0, 1
    sc.d t1, t0, (s3)
    bnez t1, 2b
    ld t0, 0(s5)
    beqz t0, 1b
    {CALL}"""
    with bare(text, x9=DATA, x18=1, x19=DATA + 64, x20=0, x21=FAR) as program:
        stop = threading.Event()

        def disturb() -> None:
            while not stop.is_set():
                program.hart.request()
                program.hart.raise_software_interrupt()

        thread = threading.Thread(target=disturb)
        thread.start()
        requests = 0
        while program.run() is Exit.REQUEST:
            requests += 1
            if requests == 100:
                program.memory.write(FAR, b"\1")  # that is enough
        stop.set()
        thread.join()
        rounds = program.hart.registers()[20]
        assert rounds > 100
        assert (program.word(DATA), program.word(DATA + 64)) == (rounds, rounds)
