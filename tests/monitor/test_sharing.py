"""Secure memory that enclaves share: by key, seen by nobody else, gone with its last user."""

import threading
from typing import Any

import pytest
from tests.support.rawhost import EXIT, RawHost, call

from penglai.abi.ecall import Ocall
from penglai.abi.riscv import PAGE_SIZE
from penglai.abi.sbi import HostCall, RunValue
from penglai.machine import HostPort
from penglai.monitor.invariants import check
from penglai.monitor.registry import SecureShm

EXIT_WITH_A0 = call(99)
MINUS_ONE = (1 << 64) - 1
KEY = 0x1234
GET = call(98, Ocall.SHM_GET, KEY, 2 * PAGE_SIZE)
ATTACH, STAT = call(84, KEY), call(83, KEY)
DETACH, DESTROY = call(98, Ocall.SHM_DETACH, KEY), call(98, Ocall.SHM_DESTROY, KEY)
EXTEND = call(98, Ocall.SHM_EXTEND, KEY, PAGE_SIZE)
YIELD = call(89)


@pytest.fixture
def port(raw: RawHost) -> HostPort:
    return raw.board.host_port(raw.board.harts[0])


def start(raw: RawHost, port: HostPort, text: str) -> int:
    """Run a program to its first yield."""
    eid = raw.make(text)
    raw.start(eid)
    assert raw.enter(eid, port) == (0, RunValue.YIELD)
    check(raw.monitor)
    return eid


def run(raw: RawHost, port: HostPort, text: str) -> int:
    return raw.value_of(port, text + EXIT_WITH_A0)


def test_what_one_writes_the_other_reads(raw: RawHost, port: HostPort):
    before = raw.snapshot()
    creator = start(raw, port, GET + ATTACH + "mv s0, a0\nli t0, 42\nsd t0, 0(s0)\n" + YIELD + EXIT)
    assert run(raw, port, ATTACH + "ld a0, 0(a0)\n") == 42
    assert run(raw, port, STAT) == 2 * PAGE_SIZE
    raw.call(HostCall.DESTROY, creator)
    assert raw.snapshot() == before, "it went with its creator"
    assert run(raw, port, STAT) == MINUS_ONE


def test_it_outlives_its_creator_while_somebody_has_it(raw: RawHost, port: HostPort):
    before = raw.snapshot()
    creator = start(raw, port, GET + ATTACH + "mv s0, a0\n" + YIELD + EXIT)
    user = start(
        raw, port, ATTACH + "mv s0, a0\n" + YIELD + "li t0, 7\nsd t0, 0(s0)\nld a0, 0(s0)\n" + EXIT_WITH_A0
    )
    raw.enter(creator, port)
    check(raw.monitor)
    assert run(raw, port, ATTACH) == MINUS_ONE, "it is about to go"
    assert raw.enter(user, port) == (0, RunValue.ENDED)
    assert raw.word(4) == 7
    assert raw.snapshot() == before


def test_a_random_key(raw: RawHost, port: HostPort):
    fresh = call(98, Ocall.SHM_GET, 0, PAGE_SIZE)
    keys = {run(raw, port, fresh) for _ in range(4)}
    assert len(keys) == 4
    assert all(0 < key < 1 << 63 for key in keys)


def test_detached_it_is_a_fault(raw: RawHost, port: HostPort):
    eid = raw.make(GET + ATTACH + "mv s0, a0\n" + DETACH + "ld a0, 0(s0)\n" + EXIT)
    raw.start(eid)
    assert raw.enter(eid, port) == (0, RunValue.FAULTED)
    check(raw.monitor)


def test_attaching_twice_is_attaching_once(raw: RawHost, port: HostPort):
    assert run(raw, port, GET + ATTACH + "mv s0, a0\n" + ATTACH + "sub a0, a0, s0\n") == 0


def test_extending(raw: RawHost, port: HostPort):
    assert run(raw, port, GET + EXTEND) == 3 * PAGE_SIZE
    assert run(raw, port, GET + ATTACH + EXTEND) == MINUS_ONE, "not while it is attached"


@pytest.mark.parametrize("text", [ATTACH, STAT, DETACH, DESTROY, EXTEND, GET + DETACH])
def test_what_is_not_there(raw: RawHost, port: HostPort, text: str):
    assert run(raw, port, text) == MINUS_ONE


@pytest.mark.parametrize("text", [DESTROY, EXTEND])
def test_what_is_anothers(raw: RawHost, port: HostPort, text: str):
    start(raw, port, GET + YIELD + EXIT)
    assert run(raw, port, text) == MINUS_ONE
    assert run(raw, port, call(98, Ocall.SHM_GET, KEY, 3 * PAGE_SIZE)) == MINUS_ONE, "it is smaller"
    assert run(raw, port, call(98, Ocall.SHM_GET, KEY, PAGE_SIZE)) == KEY


@pytest.mark.parametrize("size", [0, MINUS_ONE, 1 << 40])
def test_sizes_that_are_none(raw: RawHost, port: HostPort, size: int):
    assert run(raw, port, call(98, Ocall.SHM_GET, KEY, size)) == MINUS_ONE


def test_it_can_be_neither_unmapped_nor_passed_nor_split(raw: RawHost, port: HostPort):
    shared = GET + ATTACH + "mv s0, a0\n"
    for text in (
        call(98, Ocall.UNMAP, "mv a1, s0", 2 * PAGE_SIZE),
        "li t0, 4096\nadd a2, s0, t0\n" + call(92, "mv a0, s0", 2 * PAGE_SIZE),
    ):
        assert run(raw, port, shared + text) == MINUS_ONE


class Guarded:
    """Part of a dictionary or set that nobody may touch without the lock."""

    lock: threading.Lock

    def __getattribute__(self, name: str) -> Any:
        if name in ("add", "discard", "get", "pop"):
            assert object.__getattribute__(self, "lock").locked(), name
        return object.__getattribute__(self, name)

    def __bool__(self) -> bool:
        assert self.lock.locked()
        return len(self) > 0  # type: ignore[arg-type]


class GuardedSet(Guarded, set[int]):
    pass


class GuardedTable(Guarded, dict[int, SecureShm]):
    def __getitem__(self, key: int) -> SecureShm:
        assert self.lock.locked()
        return super().__getitem__(key)

    def __contains__(self, key: object) -> bool:
        assert self.lock.locked()
        return super().__contains__(key)

    def __setitem__(self, key: int, shared: SecureShm) -> None:
        assert self.lock.locked()
        shared.attached = GuardedSet(shared.attached)
        shared.attached.lock = self.lock
        super().__setitem__(key, shared)


def test_who_is_attached_is_looked_at_and_changed_under_the_registrys_lock(raw: RawHost, port: HostPort):
    """On every way: two enclaves that let go at once would both be the last one, or neither."""
    registry = raw.monitor.platform.registry
    before = raw.snapshot()
    plain, guarded = registry.shared, GuardedTable()
    guarded.lock = registry.lock
    registry.shared = guarded
    programs = [
        GET + EXTEND + STAT + ATTACH + ATTACH + DETACH + ATTACH + YIELD + EXIT,
        GET + ATTACH + YIELD + DETACH + EXIT,
        ATTACH + DESTROY + YIELD + EXIT,
    ]
    eids = [raw.make(text) for text in programs]
    for eid in eids:
        raw.start(eid)
        assert raw.enter(eid, port) == (0, RunValue.YIELD)
    assert raw.call(HostCall.DESTROY, eids[0]).error == 0
    for eid in eids[1:]:
        assert raw.enter(eid, port) == (0, RunValue.ENDED)
    last = raw.make(GET + ATTACH + DESTROY + DETACH + EXIT)
    raw.start(last)
    assert raw.enter(last, port) == (0, RunValue.ENDED)
    assert not len(guarded)
    registry.shared = plain
    assert raw.snapshot() == before
