"""A hart can be taken out of the guest at any moment, and not one instruction is lost or done twice.

A stop from outside would execute stores and atomics twice, and a pc written inside a hook would be lost:
docs/engine.md.
"""

import os
import random
import threading
from collections.abc import Callable
from functools import partial

import pytest
from tests.support.bare import DATA, load, registers
from tests.support.waiting import PATIENCE, until

from penglai.abi.errors import MachineError
from penglai.abi.riscv import Cause
from penglai.machine import Board, Context, Hart, ManualClock, Trap

INTERRUPTS = 500

COUNTERS = {
    # Each adds 1 to s0 and, in memory, 1 to *a0: s0 is exact because registers are; memory must agree.
    "store": "1: ld t0, 0(a0)\naddi t0, t0, 1\nsd t0, 0(a0)\naddi s0, s0, 1\nj 1b",
    "amo": "1: li t0, 1\namoadd.d t1, t0, (a0)\naddi s0, s0, 1\nj 1b",
    "reservation": "1: lr.d t0, (a0)\naddi t0, t0, 1\nsc.d t1, t0, (a0)\nbnez t1, 1b\naddi s0, s0, 1\nj 1b",
    "compressed store": "mv s1, a0\n1: c.ld a5, 0(s1)\nc.addi a5, 1\nc.sd a5, 0(s1)\nc.addi s0, 1\nc.j 1b",
    "float store": "1: fld f0, 0(a0)\nfmv.x.d t0, f0\naddi t0, t0, 1\nfmv.d.x f0, t0\nfsd f0, 0(a0)\n"
    "addi s0, s0, 1\nj 1b",
}
S0 = 8


def counter_in_memory(board: Board, context: Context) -> int:
    """The u64 at DATA of the context's address space, also while it runs."""
    table = (context.satp & ((1 << 44) - 1)) << 12
    for shift in (30, 21, 12):
        entry = int(board.memory.words[board.memory.page_of(table)][DATA >> shift & 511])
        table = entry >> 10 << 12
    return int(board.memory.words[board.memory.page_of(table)][0])


def interrupt_at_random(
    hart: Hart, run: Callable[[], Trap], progress: Callable[[], int], times: int
) -> list[Trap]:
    """Run on a thread and interrupt it, again and again, each time after some more progress; the traps."""
    traps: list[Trap] = []
    go, gone = threading.Semaphore(0), threading.Semaphore(0)

    def body() -> None:
        for _ in range(times):
            go.acquire()
            traps.append(run())
            hart.acknowledge()
            gone.release()

    thread = threading.Thread(target=body)
    thread.start()
    steps = random.Random(4)
    for _ in range(times):
        goal = progress() + steps.randrange(1, 2000)
        go.release()
        until(lambda goal=goal: progress() >= goal)
        hart.interrupt()
        gone.acquire()
    thread.join()
    return traps


@pytest.mark.parametrize("kind", COUNTERS)
def test_stores_and_atomics_happen_once_however_often_the_hart_is_interrupted(board: Board, kind: str):
    _, context = load(board, COUNTERS[kind])
    hart = board.harts[0]
    progress = partial(counter_in_memory, board, context)
    traps = interrupt_at_random(hart, lambda: hart.run(context), progress, INTERRUPTS)
    assert {trap.cause for trap in traps} == {Cause.M_SOFTWARE_INTERRUPT}
    settle(hart, context)
    assert counter_in_memory(board, context) == context.x[S0]


def settle(hart: Hart, context: Context) -> None:
    """Run on, block by block, until memory and register have both been changed or neither."""
    start = context.x[S0]
    while context.x[S0] == start:
        hart.run(context, blocks=1)


@pytest.mark.parametrize("kind", COUNTERS)
def test_every_block_boundary_is_a_place_to_stop(board: Board, kind: str):
    _, whole = load(board, COUNTERS[kind])
    board.harts[0].run(whole, blocks=500)
    _, piecewise = load(board, COUNTERS[kind])
    piecewise_hart = board.harts[1]
    for _ in range(500):
        assert piecewise_hart.run(piecewise, blocks=1).cause == Cause.M_TIMER_INTERRUPT
    if kind == "reservation":  # a reservation does not survive a stop: the loop does more rounds
        assert counter_in_memory(board, piecewise) in (piecewise.x[S0], piecewise.x[S0] + 1)
        return
    assert registers(piecewise) == registers(whole)
    assert counter_in_memory(board, piecewise) == counter_in_memory(board, whole)


def test_traps_and_stops_at_once_lose_nothing(board: Board):
    """A trap is handled after the engine has returned, also with a stop in flight."""
    _, context = load(board, "1: addi s0, s0, 1\necall\naddi s1, s1, 1\nj 1b")
    hart = board.harts[0]
    ecalls = 0

    def run() -> Trap:
        nonlocal ecalls
        while True:
            trap = hart.run(context)
            if trap.cause != Cause.ECALL_U:
                return trap
            ecalls += 1
            context.pc = trap.epc + 4

    interrupt_at_random(hart, run, lambda: ecalls, 200)
    assert ecalls <= context.x[S0] <= ecalls + 1
    assert ecalls - 1 <= context.x[9] <= ecalls


def test_an_interrupted_hart_executes_nothing_until_acknowledged(board: Board):
    _, context = load(board, "1: addi s0, s0, 1\nj 1b")
    hart = board.harts[0]
    hart.interrupt()
    for _ in range(3):
        assert hart.run(context).cause == Cause.M_SOFTWARE_INTERRUPT
    assert context.x[S0] == 0
    hart.acknowledge()
    assert hart.run(context, blocks=10).cause == Cause.M_TIMER_INTERRUPT
    assert context.x[S0] > 0


def test_a_hart_leaves_a_context_alone_that_is_anothers(board: Board):
    _, context = load(board, "1: addi s0, s0, 1\nj 1b")
    context.owner = board.harts[1].owner
    before = bytes(context)
    assert board.harts[0].execute(context, blocks=10) == Cause.M_SOFTWARE_INTERRUPT
    context.owner = 0
    assert board.harts[0].execute(context, blocks=10) == Cause.M_SOFTWARE_INTERRUPT
    assert bytes(context)[: Context.owner.offset] == before[: Context.owner.offset]


def test_a_context_that_is_taken_without_an_interrupt_stops_the_machine(board: Board):
    _, context = load(board, "li t0, 1\nsd t0, 0(a0)\n1: j 1b")
    hart, errors = board.harts[0], []
    context.owner = hart.owner

    def run() -> None:
        try:
            hart.execute(context)
        except MachineError as error:
            errors.append(str(error))

    thread = threading.Thread(target=run)
    thread.start()
    until(lambda: counter_in_memory(board, context) == 1)
    context.owner = board.harts[1].owner
    hart.interrupt()
    thread.join()
    assert "given to another hart" in errors[0]


def test_interrupt_returns_only_when_the_context_is_saved(board: Board):
    _, context = load(board, "1: addi s0, s0, 1\nj 1b")
    hart = board.harts[0]
    for _ in range(200):
        thread = threading.Thread(target=lambda: hart.run(context))
        thread.start()
        hart.interrupt()
        frozen = registers(context)
        thread.join()
        assert registers(context) == frozen
        hart.acknowledge()


def test_several_threads_may_interrupt_one_hart(board: Board):
    _, context = load(board, "1: j 1b")
    hart = board.harts[0]
    runner = threading.Thread(target=lambda: hart.run(context))
    runner.start()
    interrupters = [threading.Thread(target=hart.interrupt) for _ in range(8)]
    for thread in interrupters:
        thread.start()
    for thread in (*interrupters, runner):
        thread.join(PATIENCE)
        assert not thread.is_alive()


def test_a_thread_that_was_lent_a_core_may_be_on_every_core_again():
    """More harts than cores, each interrupted by two threads: many wait for a core when they are to leave."""
    board = Board(16 << 20, 2 * len(os.sched_getaffinity(0)) + 1)
    _, context = load(board, "1: j 1b")
    locks = [threading.Lock() for _ in board.harts]
    done, restored = threading.Event(), threading.Event()
    found: list[set[int]] = []

    def run(hart: Hart) -> None:
        mine = Context.from_buffer_copy(context)
        while not done.is_set():
            hart.run(mine)
            with locks[hart.id]:  # not before who has interrupted it has seen it leave
                hart.acknowledge()
        restored.wait(PATIENCE)
        found.append(os.sched_getaffinity(0))

    def interrupt(seed: int) -> None:
        chance = random.Random(seed)
        for _ in range(300):
            hart = chance.choice(board.harts)
            with locks[hart.id]:
                hart.interrupt()

    runners = [threading.Thread(target=run, args=(hart,)) for hart in board.harts]
    interrupters = [threading.Thread(target=interrupt, args=(seed,)) for seed in (1, 2)]
    for thread in (*runners, *interrupters):
        thread.start()
    for thread in interrupters:
        thread.join(PATIENCE)
    done.set()
    for hart in board.harts:
        hart.interrupt()
    restored.set()
    for thread in runners:
        thread.join(PATIENCE)
        assert not thread.is_alive()
    assert found == [os.sched_getaffinity(0)] * len(board.harts)


def test_a_deadline_ends_a_run():
    clock = ManualClock()
    board = Board(16 << 20, 1, clock)
    _, context = load(board, "1: addi s0, s0, 1\nj 1b")
    hart = board.harts[0]
    hart.deadline = 1_000_000
    traps: list[Trap] = []
    thread = threading.Thread(target=lambda: traps.append(hart.run(context)))
    thread.start()
    clock.advance(999_999)
    thread.join(0.05)
    assert thread.is_alive(), "the deadline has not come"
    clock.advance(1)
    thread.join(PATIENCE)
    assert traps == [(Cause.M_TIMER_INTERRUPT, context.pc, 0)]
    assert hart.run(context).cause == Cause.M_TIMER_INTERRUPT, "a deadline that has passed comes at once"
    board.power_off()


def test_harts_run_at_the_same_time(board: Board):
    """Both are in the guest at once: each is interrupted while the other runs."""
    contexts = [load(board, "1: addi s0, s0, 1\nj 1b")[1] for _ in board.harts]
    threads = [
        threading.Thread(target=hart.run, args=(context,))
        for hart, context in zip(board.harts, contexts, strict=True)
    ]
    for thread in threads:
        thread.start()
    for hart in board.harts:
        hart.interrupt()
    for thread in threads:
        thread.join(PATIENCE)
        assert not thread.is_alive()


def test_blocks_are_counted_exactly(board: Board):
    _, context = load(board, "1: addi a0, a0, 1\nj 1b", x10=0)
    hart = board.harts[0]
    for total in range(1, 50):
        hart.run(context, blocks=1)
        assert context.a0 == total
    hart.run(context, blocks=1000)
    assert context.a0 == 1049
