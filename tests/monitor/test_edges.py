"""What mutation testing found that nobody looked at: each of these survived a change of the monitor."""

import ctypes
import threading
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from tests.support.rawhost import EXIT, RawHost, answering, call, calling, load_word, name_at, program, store
from tests.support.waiting import PATIENCE

from penglai.abi import layout
from penglai.abi.ecall import Ocall
from penglai.abi.errors import ErrorCode, MonitorBug
from penglai.abi.limits import Limit
from penglai.abi.report import MonitorPart
from penglai.abi.riscv import CHUNK_SIZE, PAGE_SIZE, RAM_BASE
from penglai.abi.sbi import HostCall, ResumeReason, RunValue
from penglai.abi.state import State
from penglai.machine import Board, HostPort
from penglai.monitor import ownership as owners
from penglai.monitor.enclave import Enclave
from penglai.monitor.ending import dissolve
from penglai.monitor.ownership import SECURE
from penglai.monitor.regions import Region, Regions, Source
from penglai.monitor.registry import SecureShm

EXIT_WITH_A0 = call(99)
MINUS_ONE = (1 << 64) - 1
NAME, SCRATCH = layout.STACK_TOP - 1024, layout.STACK_TOP - 2048
WRITE = call(98, Ocall.WRITE)


@pytest.fixture
def port(raw: RawHost) -> HostPort:
    return raw.board.host_port(raw.board.harts[0])


def record(raw: RawHost, eid: int) -> Enclave:
    return next(each for each in raw.monitor.enclaves() if each.eid == eid)


def test_the_host_learns_how_many_calls_an_enclave_has_made(raw: RawHost, port: HostPort):
    raw.make_server("server", answering("x0"))
    eid = raw.make(calling("server") + WRITE + call(90) + call(89) + EXIT)
    raw.start(eid)
    assert raw.enter(eid, port) == (0, RunValue.OCALL)
    assert raw.answer(eid, port=port) == (0, RunValue.YIELD)
    info = raw.info(eid)
    assert (info.calls, info.server_calls, info.ocalls) == (5, 1, 1)


def test_memory_that_is_attached_is_not_extended_however_much_is_asked(raw: RawHost, port: HostPort):
    """The host is not even asked for it."""
    text = call(98, Ocall.SHM_GET, 7, PAGE_SIZE) + call(84, 7) + call(98, Ocall.SHM_EXTEND, 7, 8 << 20)
    assert raw.value_of(port, text + EXIT_WITH_A0) == MINUS_ONE


def test_a_key_of_one_byte(raw: RawHost, port: HostPort):
    assert raw.value_of(port, call(88, 0, SCRATCH, 1) + EXIT_WITH_A0) == 0


def test_a_report_is_in_the_enclaves_memory(raw: RawHost, port: HostPort):
    eid = raw.make(
        call(94, 0, SCRATCH, 1) + load_word("a0", SCRATCH + ctypes.sizeof(MonitorPart)) + EXIT_WITH_A0
    )
    page, hash_ = raw.page(), ctypes.sizeof(MonitorPart)
    assert raw.call(HostCall.ATTEST, eid, page, 1).error == 0
    raw.start(eid)
    assert raw.enter(eid, port) == (0, RunValue.ENDED)
    assert raw.word(4) == int.from_bytes(raw.memory.read(page + hash_, 8), "little")


@pytest.mark.parametrize(
    "round_",
    [
        call(98, Ocall.MMAP, 0, 8 * PAGE_SIZE)
        + "mv s6, a0\nli t0, 0x3000\nadd a2, s6, t0\n"
        + call(92, "mv a0, s6", 8 * PAGE_SIZE)
        + call(98, Ocall.UNMAP, "mv a1, s6", 8 * PAGE_SIZE),
        call(98, Ocall.SHM_GET, 7, 8 * PAGE_SIZE) + call(98, Ocall.SHM_DESTROY, 7),
    ],
    ids=["mmap, split, unmapped", "shared memory"],
)
def test_what_is_let_go_counts_no_more(raw: RawHost, port: HostPort, round_: str):
    """Again and again, and never beyond the limit."""
    eid = raw.make(
        "li s5, 40\n1:\n"
        + round_
        + "bltz a0, 2f\naddi s5, s5, -1\nbnez s5, 1b\n2: mv a0, s5\n"
        + EXIT_WITH_A0
    )
    assert raw.call(HostCall.LIMIT, eid, Limit.PAGES, record(raw, eid).used + 30) == (0, 0)
    raw.start(eid)
    assert raw.enter(eid, port) == (0, RunValue.ENDED)
    assert raw.word(4) == 0


RACING: dict[str, Callable[[RawHost, int], int]] = {
    "stop": lambda raw, eid: raw.call(HostCall.STOP, eid).error,
    "run": lambda raw, eid: raw.call(HostCall.RUN, eid, raw.run_param()).error,
    "resume": lambda raw, eid: raw.call(HostCall.RESUME, eid, ResumeReason.STOP).error,
    "no resume": lambda raw, eid: raw.call(HostCall.RESUME, eid, 99).error,
    "destroy": lambda raw, eid: raw.call(HostCall.DESTROY, eid).error,
    "attest": lambda raw, eid: raw.call(HostCall.ATTEST, eid, raw.page(), 1).error,
    "info": lambda raw, eid: raw.call(HostCall.INFO, eid, raw.page(), 0).error,
    "limit": lambda raw, eid: raw.call(HostCall.LIMIT, eid, Limit.PAGES, 1).error,
}


@pytest.mark.parametrize("name", RACING)
def test_an_enclave_that_ends_while_a_call_waits_for_its_lock_is_gone(raw: RawHost, name: str):
    eid = raw.make(EXIT)
    enclave, registry = record(raw, eid), raw.monitor.platform.registry
    found, errors = threading.Event(), list[int]()
    real = registry.find

    def find(number: int) -> Enclave | None:
        result = real(number)
        found.set()
        return result

    registry.find = find  # type: ignore[method-assign]
    with enclave.lock:
        thread = threading.Thread(target=lambda: errors.append(RACING[name](raw, eid)))
        thread.start()
        assert found.wait(PATIENCE)
        dissolve(raw.monitor.platform, enclave, State.DESTROYED)
    thread.join(PATIENCE)
    assert errors == [ErrorCode.NO_SUCH_ENCLAVE]


def test_what_pages_are_not_is_a_bug_of_the_monitors(raw: RawHost):
    ownership = raw.monitor.platform.ownership
    pages = ownership.take(2, 42)
    for act in (
        lambda: ownership.hand_back(pages, 42),
        lambda: ownership.hand_back(pages, 43),
        lambda: ownership.assign(pages, 43, 42),
        lambda: ownership.release((pages, 43)),
        lambda: ownership.unshare(int(pages[0])),
        lambda: ownership.detach(pages),
    ):
        before = ownership.snapshot()
        with pytest.raises(MonitorBug):
            act()
        assert (ownership.snapshot() == before).all()


def test_a_page_that_is_not_mapped_has_no_number(raw: RawHost):
    table = record(raw, raw.make(EXIT)).table
    with pytest.raises(MonitorBug, match="not mapped"):
        table.pages_at(layout.TEXT_BASE, 2)


def test_a_gap_that_fits_exactly():
    regions = Regions()
    assert regions.gap_below(0x1000, 0x5000, 0x4000) == 0x1000
    assert regions.gap_below(0x1000, 0x5000, 0x5000) is None
    regions.add(Region(0x2000, 0x3000, Source.POOL))
    assert regions.gap_below(0x1000, 0x5000, 0x2000) == 0x3000
    assert regions.gap_above(0x1000, 0x5000, 0x1000) == 0x1000


def test_lent_regions_that_adjoin_come_back_as_one():
    regions = Regions()
    for start, end, lent in (
        (0x1000, 0x2000, True),
        (0x2000, 0x4000, True),
        (0x4000, 0x5000, False),
        (0x5000, 0x6000, True),
        (0x7000, 0x8000, True),
        (0x8000, 0x9000, True),
    ):
        regions.add(Region(start, end, Source.POOL, lent))
    taken = [(region.start, region.end) for region in regions.take_lent(0x1000, 0x9000)]
    assert taken == [(0x1000, 0x4000), (0x5000, 0x6000), (0x7000, 0x9000)]
    assert (len(regions), regions.pages) == (1, 1)


def test_a_key_that_another_enclave_takes_at_the_same_moment(raw: RawHost, port: HostPort):
    """Pages have been taken by then, and go back."""
    ownership, registry = raw.monitor.platform.ownership, raw.monitor.platform.registry
    real, free = ownership.take, ownership.free_pages

    def take(count: int, owner: int) -> np.ndarray:
        if owner == SECURE:
            registry.shared[7] = SecureShm(7, 99, [], 0)
        return real(count, owner)

    ownership.take = take  # type: ignore[method-assign]
    eid = raw.make(call(98, Ocall.SHM_GET, 7, PAGE_SIZE) + EXIT_WITH_A0)
    raw.start(eid)
    assert raw.enter(eid, port) == (0, RunValue.ENDED)
    assert raw.word(4) == MINUS_ONE
    del registry.shared[7]
    assert ownership.free_pages == free


def test_what_ends_the_process_ends_the_machine_too(raw: RawHost, monkeypatch: pytest.MonkeyPatch):
    def interrupted(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(raw.monitor.platform.ownership, "check_host", interrupted)
    with pytest.raises(KeyboardInterrupt):
        raw.call(HostCall.SCHRODINGER_INIT, RAM_BASE, PAGE_SIZE)
    monkeypatch.undo()
    with pytest.raises(MonitorBug, match="machine is stopped"):
        raw.call(HostCall.SCHRODINGER_INIT, RAM_BASE, PAGE_SIZE)


def test_what_the_host_is_told_of_relay_pages_and_what_a_sector_gives(raw: RawHost, port: HostPort):
    eid = raw.make(call(98, Ocall.RETURN_RELAY) + call(98, Ocall.READ_SECTOR, 3) + EXIT_WITH_A0)
    raw.start(eid)
    assert raw.enter(eid, port) == (0, RunValue.OCALL)
    assert (raw.word(0), raw.word(1)) == (Ocall.RETURN_RELAY, 0)
    assert raw.answer(eid, Ocall.RETURN_RELAY, port=port) == (0, RunValue.OCALL)
    assert (raw.word(0), raw.word(1)) == (Ocall.READ_SECTOR, 3)
    assert raw.answer(eid, Ocall.READ_SECTOR, 1, port) == (0, RunValue.ENDED)
    assert raw.word(4) == 0


@pytest.mark.parametrize("answer", [0, 1, MINUS_ONE, 1 << 63])
def test_a_question_and_its_answer_pass_as_they_are(raw: RawHost, port: HostPort, answer: int):
    eid = raw.make(call(98, Ocall.ASK, MINUS_ONE, 1 << 62) + EXIT_WITH_A0)
    raw.start(eid)
    assert raw.enter(eid, port) == (0, RunValue.OCALL)
    assert (raw.word(0), raw.word(1), raw.word(2)) == (Ocall.ASK, MINUS_ONE, 1 << 62)
    assert raw.answer(eid, Ocall.ASK, answer, port) == (0, RunValue.ENDED)
    assert raw.word(4) == answer


def test_a_mailbox_may_end_where_the_hosts_memory_does(raw: RawHost):
    hidden = raw.give_chunk()
    assert raw.create(EXIT, retval_pa=hidden - 8).error == 0
    assert raw.create(EXIT, retval_pa=hidden - 8 - CHUNK_SIZE).error == 0


@pytest.mark.parametrize(("pages", "result"), [(4096, 0), (4097, MINUS_ONE)])
def test_so_many_pages_may_be_on_their_way(pages: int, result: int):
    board = Board(64 << 20, 1)
    raw = RawHost(board, chunks=20)
    text = call(98, Ocall.MMAP, 0, pages * PAGE_SIZE) + f"mv s2, a0\nli s3, {pages * PAGE_SIZE}\n"
    text += name_at(NAME, "nobody") + store(SCRATCH, 0, 0, "s2", "s3", 0, 0) + call(93, NAME, SCRATCH)
    assert raw.value_of(board.host_port(board.harts[0]), program(text + EXIT_WITH_A0)) == result
    board.power_off()


class Noting:
    """In place of a lock: counts how often it is taken."""

    def __init__(self, inner: Any) -> None:
        self.inner, self.taken = inner, 0

    def acquire(self) -> None:
        self.taken += 1
        self.inner.acquire()

    def release(self) -> None:
        self.inner.release()

    def __enter__(self) -> None:
        self.acquire()

    def __exit__(self, *_: object) -> None:
        self.release()


def test_the_owner_array_is_read_and_changed_under_the_memorys_lock(raw: RawHost):
    ownership, page = raw.monitor.platform.ownership, raw.page()
    secret = ownership.take(2, 42)
    ownership._lock = lock = Noting(ownership._lock)  # type: ignore[assignment]
    for act in (
        ownership.snapshot,
        lambda: ownership.write_host(page, bytes(8)),
        lambda: ownership.read_host(page, 8),
        lambda: ownership.check_host(page, 8),
        lambda: ownership.assign(secret, 42, 43),
    ):
        before = lock.taken
        act()
        assert lock.taken > before
    for first, second in (
        (lambda: ownership.share(page), ownership.unshare),
        (lambda: ownership.attach(page, PAGE_SIZE), ownership.detach),
        (lambda: ownership.adopt(page, PAGE_SIZE, 44), lambda pages: ownership.hand_back(pages, 44)),
    ):
        before = lock.taken
        result = first()
        assert lock.taken > before
        before = lock.taken
        second(result)
        assert lock.taken > before


def test_the_registry_is_changed_under_its_lock(raw: RawHost):
    enclave, registry = record(raw, raw.make_shadow(EXIT)), raw.monitor.platform.registry
    registry.lock = lock = Noting(registry.lock)  # type: ignore[assignment]
    for act in (
        lambda: registry.reserve("name"),
        lambda: registry.unreserve("name"),
        registry.enclaves,
        registry.ghosts,
        lambda: registry.change_state(enclave, State.IDLE, State.BUSY),
        lambda: registry.remove(enclave),
        lambda: registry.add(enclave),
        lambda: registry.retire(enclave),
    ):
        before = lock.taken
        act()
        assert lock.taken == before + 1


def test_owners_that_are_no_enclaves_have_marks_that_no_eid_can_be():
    marks = [owners.HOST, owners.MONITOR, owners.FREE, owners.BUFFER, owners.SHM, SECURE]
    assert len(set(marks)) == len(marks)
    assert max(marks) == 0


def test_all_four_bytes_of_an_eid_are_written(raw: RawHost):
    word = raw.page()
    raw.memory.write(word, b"\xff" * 8)
    eid = raw.create(EXIT, eid_pa=word).value
    assert raw.memory.read(word, 8) == eid.to_bytes(4, "little") + b"\xff" * 4
