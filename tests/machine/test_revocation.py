"""What went away is in no window of any hart when the call that took it away returns."""

import os
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.support.bare import CODE, DATA, ENGINES, READ_ONLY, AddressSpace, R, U, W, X, assemble, load
from tests.support.waiting import PATIENCE, until

import penglai
from penglai.abi.riscv import PAGE_SIZE, Cause
from penglai.machine import Board, PhysicalMemory
from penglai.machine.engine import Native

pytestmark = pytest.mark.skipif("native" not in ENGINES, reason="there is no native engine here")

NOTHING = U * 0


@pytest.fixture
def board() -> Board:
    return Board(16 << 20, 2, engine="native")


def maps() -> Iterator[tuple[range, str, int, int]]:
    """This process's mappings: the addresses, their rights, and offset and number of the file."""
    for line in Path("/proc/self/maps").read_text().splitlines():
        place, rights, offset, _, number, *_ = line.split()
        start, end = (int(each, 16) for each in place.split("-"))
        yield range(start, end), rights[:3], int(offset, 16), int(number)


def windows_on(memory: PhysicalMemory) -> list[range]:
    """Physical pages that can be accessed in this process beside the RAM that the machine itself reads."""
    inode, found = os.fstat(memory.fd).st_ino, []
    own = range(memory.address, memory.address + memory.size)
    for place, rights, offset, number in maps():
        if number == inode and rights != "---" and place.start not in own:
            first = memory.base + offset
            found.append(range(first, first + len(place), PAGE_SIZE))
    return found


def is_shown(board: Board, page: int) -> bool:
    return any(page in mapped for mapped in windows_on(board.memory))


@pytest.mark.parametrize("change", ["unmapped", "read-only", "another page", "table gone"])
def test_a_mapping_that_went_away_is_in_no_harts_window(board: Board, change: str):
    space, context = load(board, "ld t0, 0(a0)\nsd t0, 0(a0)\nld t1, 0(a2)\necall")
    page, other = space.page(), space.page()
    space.map(DATA, page, R | W | U)
    for hart in board.harts:
        context.pc = CODE
        assert hart.run(context).cause == Cause.ECALL_U
    assert sum(page in mapped for mapped in windows_on(board.memory)) == 2
    if change == "table gone":
        board.memory.write(space.root, bytes(PAGE_SIZE))
    else:
        space.map(DATA, other, {"unmapped": NOTHING, "read-only": R | U}.get(change, R | W | U))  # type: ignore[arg-type]
    for hart in board.harts:
        hart.flush_tlb(context.satp)
        assert sum(page in mapped for mapped in windows_on(board.memory)) == (hart.id == 0)
    assert not is_shown(board, page)


def test_the_addresses_of_a_mapping_that_went_away_stay_the_windows(board: Board):
    """Whatever else the process maps, it is not there."""
    space, context = load(board, "ld t0, 0(a0)\necall")
    before = {place.start for place, rights, _, _ in maps() if rights != "---"}
    board.harts[0].run(context)
    shown = [place.start for place, rights, _, _ in maps() if rights == "rw-" and place.start not in before]
    space.map(DATA, space.page(), NOTHING)  # type: ignore[arg-type]
    board.harts[0].flush_tlb(context.satp)
    now = [(place, rights) for place, rights, _, _ in maps()]
    assert shown
    for address in shown:
        assert any(address in place for place, _ in now)
    assert any(rights == "---" and address in place for place, rights in now for address in shown)


def test_what_is_still_mapped_stays(board: Board):
    space, context = load(board, "ld t0, 0(a0)\nld t1, 0(a2)\necall")
    gone, stays = space.page(), space.page()
    space.map(DATA, gone, R | W | U)
    space.map(READ_ONLY, stays, R | U)
    hart = board.harts[0]
    hart.run(context)
    space.map(DATA, gone, NOTHING)  # type: ignore[arg-type]
    hart.flush_tlb(context.satp)
    assert (is_shown(board, gone), is_shown(board, stays)) == (False, True)


def test_another_address_space_keeps_what_it_has(board: Board):
    hart, first, second = board.harts[0], *(load(board, "ld t0, 0(a0)\necall") for _ in range(2))
    page = first[0].page()
    for space, context in (first, second):
        space.map(DATA, page, R | W | U)
        assert hart.run(context).cause == Cause.ECALL_U
    first[0].map(DATA, page, NOTHING)  # type: ignore[arg-type]
    hart.flush_tlb(first[1].satp)
    assert sum(page in mapped for mapped in windows_on(board.memory)) == 1


@pytest.mark.parametrize("same", [True, False], ids=["this one", "another one"])
def test_a_hart_that_executes_an_address_space_is_not_waited_for(board: Board, same: bool):
    """It loses its mapping in the middle of its run; another's goes without its notice."""
    space, context = load(board, "1: addi t0, t0, 1\nsd t0, 0(a0)\nj 1b")
    page = space.page()
    space.map(DATA, page, R | W | U)
    victim, hart = (space, context), board.harts[0]
    if not same:
        victim = load(board, "sd t0, 0(a0)\necall")
        hart.run(victim[1])
    traps: list[int] = []
    thread = threading.Thread(target=lambda: traps.append(hart.run(context).cause))
    thread.start()
    until(lambda: any(board.memory.read(page, 8)))
    victim[0].map(DATA, page, NOTHING)  # type: ignore[arg-type]
    hart.flush_tlb(victim[1].satp)
    before = board.memory.read(page, 8)
    assert is_shown(board, page) is not same
    if not same:
        until(lambda: board.memory.read(page, 8) != before)
        hart.interrupt()
    thread.join(PATIENCE)
    assert traps == [Cause.STORE_PAGE_FAULT if same else Cause.M_SOFTWARE_INTERRUPT]
    assert not same or board.memory.read(page, 8) == before


@pytest.mark.parametrize("busy", [False, True])
def test_an_address_space_that_ended_leaves_nothing(board: Board, busy: bool):
    """No page at once, and no window and no code once the hart has ended what it runs meanwhile."""
    hart = board.harts[0]
    _, context = load(board, "ld t0, 0(a0)\necall")
    assert hart.run(context).cause == Cause.ECALL_U
    assert len(windows_on(board.memory)) == 1
    _, other = load(board, "1: addi t0, t0, 1\nj 1b")
    thread = threading.Thread(target=hart.run, args=(other,))
    if busy:
        entries = board.engine.counts()["entries"]
        thread.start()
        until(lambda: board.engine.counts()["entries"] > entries)
    hart.flush_tlb(context.satp, ended=True)
    left = windows_on(board.memory)
    hart.interrupt()
    if busy:
        thread.join(PATIENCE)
        hart.flush_tlb(other.satp, ended=True)
    hart.invalidate(board.memory.base, board.memory.base + board.memory.size)
    assert left == []
    assert (board.engine.counts()["windows"], board.engine.counts()["texts"]) == (0, 0)


def test_its_root_may_be_that_of_the_next_one(board: Board):
    """The same satp, with a program of its own."""
    space, context = load(board, "ld a3, 0(a0)\nli a4, 1\necall")
    hart = board.harts[0]
    assert hart.run(context).cause == Cause.ECALL_U
    hart.flush_tlb(context.satp, ended=True)
    page = space.page()
    space.map(CODE, page, R | X | U)
    board.memory.write(page, board.memory.read(page, 0))
    assert hart.run(space.context()).cause == Cause.ILLEGAL_INSTRUCTION


FAR = 0x400000


@pytest.mark.parametrize(("pages", "step"), [(1, 1), (400, 1), (90, 2)], ids=["few", "many", "scattered"])
def test_the_window_of_one_that_ended_shows_the_next_ones_nothing(board: Board, pages: int, step: int):
    """They are mapped where it was, and reach what they map themselves, however it had been left."""
    hart = board.harts[0]
    walk = "ld t0, 0(a0)\n1: ld t1, 0(a1)\nadd a1, a1, a3\naddi s0, s0, -1\nbnez s0, 1b\necall"
    space, context = load(board, walk)
    secret = [space.page() for _ in range(pages * step)][::step]
    for number, page in enumerate(secret):
        space.map(FAR + number * PAGE_SIZE, page, R | W | U)
    context.a1, context.a3, context.s0 = FAR, PAGE_SIZE, pages
    assert hart.run(context).cause == Cause.ECALL_U
    assert all(is_shown(board, page) for page in secret)
    hart.flush_tlb(context.satp, ended=True)
    assert windows_on(board.memory) == []
    for address in (FAR, FAR + (pages - 1) * PAGE_SIZE, DATA):
        space, context = load(board, "ld t0, 0(a2)\nld t1, 0(a1)\necall")
        space.map(DATA, space.page(), NOTHING)  # type: ignore[arg-type]
        context.a1 = address
        assert hart.run(context)[::2] == (Cause.LOAD_PAGE_FAULT, address)
        assert not any(is_shown(board, page) for page in secret)
        hart.flush_tlb(context.satp, ended=True)


def test_code_rests_until_its_text_changes_hands(board: Board):
    """As that of a shadow does between two instances."""
    hart, code = board.harts[0], assemble("li a3, 7\necall")
    first = AddressSpace(board)
    (text,) = first.code(CODE, code)

    def run(space: AddressSpace) -> None:
        assert hart.run(space.context()).cause == Cause.ECALL_U
        hart.flush_tlb(space.context().satp, ended=True)

    run(first)
    once = board.engine.counts()
    assert (once["windows"], once["texts"]) == (0, 1)
    for _ in range(3):
        instance = AddressSpace(board)
        instance.map(CODE, text, R | X | U)
        run(instance)
    assert board.engine.counts()["code bytes"] == once["code bytes"]
    hart.invalidate(text + PAGE_SIZE, text + 2 * PAGE_SIZE)
    assert board.engine.counts()["texts"] == 1
    hart.invalidate(text, text + PAGE_SIZE)
    assert board.engine.counts()["texts"] == board.engine.counts()["cache bytes"] == 0


def test_code_that_rests_makes_room():
    board = Board(16 << 20, 1, engine=Native(256 << 10))
    for number in range(30):
        _, context = load(board, f"li a3, {number}\necall")
        entries = board.engine.counts()["entries"]
        assert board.harts[0].run(context).cause == Cause.ECALL_U
        assert board.engine.counts()["entries"] > entries
        board.harts[0].flush_tlb(context.satp, ended=True)
    assert 1 < board.engine.counts()["texts"] < 30
    board.power_off()


def test_a_shadow_keeps_the_code_of_its_instances():
    with penglai.Machine("64M", harts=1, state=None, engine="native") as machine:
        shadow = machine.create("hello-world", kind="shadow")
        assert shadow.run(timeout=PATIENCE).reason is penglai.Reason.EXITED
        kept = machine.engine_counts["texts"]
        assert shadow.run(timeout=PATIENCE).reason is penglai.Reason.EXITED
        assert kept == machine.engine_counts["texts"] > 0
        shadow.destroy()
        assert machine.engine_counts["cache bytes"] == 0


def test_enclaves_that_ended_leave_no_page_window_or_code():
    with penglai.Machine("64M", harts=2, state=None, engine="native") as machine:
        for demo in ("hello-world", "prime", "hello-world"):
            assert machine.create(demo).run(timeout=PATIENCE).reason is penglai.Reason.EXITED
        busy = machine.create("loop")
        busy.start()
        busy.stop()
        busy.resume()
        busy.destroy()
        counts = machine.engine_counts
        assert counts["entries"] > 0
        assert counts["windows"] == counts["texts"] == counts["code bytes"] == 0
