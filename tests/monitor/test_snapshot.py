"""Snapshots at the monitor's own door: nothing is lost, nothing accepted that it did not seal, one life."""

import ctypes
import random
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import numpy as np
import pytest
from tests.support.fake import FakeEngine
from tests.support.rawhost import (
    ARGUMENT,
    EXIT,
    FOREVER,
    RW,
    RX,
    ImageSpec,
    RawHost,
    answering,
    call,
    calling,
    load_word,
    name_at,
    program,
    store,
)
from tests.support.snapshots import HEAD, PIECE_HEAD, Mover

from penglai.abi.ecall import EnclaveCall, Ocall
from penglai.abi.errors import ErrorCode
from penglai.abi.layout import HEAP_BASE, SHARED_BASE
from penglai.abi.limits import Limit
from penglai.abi.riscv import PAGE_SIZE, Pte
from penglai.abi.sbi import HostCall, ResumeReason, RunParam, RunValue
from penglai.abi.snapshot import Option, Policy, SnapshotHead, SnapshotRecord, Why
from penglai.abi.state import State
from penglai.machine import Board, HostPort
from penglai.machine.clock import ManualClock
from penglai.machine.store import Store
from penglai.monitor import freshness
from penglai.monitor.calls import NATIVE
from penglai.monitor.enclave import Enclave
from penglai.monitor.invariants import check
from penglai.monitor.original import tvm

WRITE = call(98, Ocall.WRITE)
YIELD = call(EnclaveCall.YIELD)


@pytest.fixture
def mover(raw: RawHost) -> Mover:
    return Mover(raw)


@pytest.fixture
def port(raw: RawHost) -> HostPort:
    return raw.board.host_port(raw.board.harts[0])


def record_of(raw: RawHost, eid: int) -> Enclave:
    found = raw.monitor.platform.registry.find(eid)
    assert found is not None
    return found


def stopped(raw: RawHost, text: str, port: HostPort) -> int:
    """An enclave that ran until it yielded, and is stopped."""
    eid = raw.make(text)
    raw.start(eid)
    assert raw.enter(eid, port) == (0, RunValue.YIELD)
    assert raw.call(HostCall.STOP, eid).error == 0
    return eid


def finish(raw: RawHost, eid: int, port: HostPort) -> int:
    """Let a stopped enclave go on to its end; its value."""
    assert raw.call(HostCall.RESUME, eid, ResumeReason.STOP).error == 0
    assert raw.enter(eid, port) == (0, RunValue.ENDED)
    return raw.word(4)


def image_of(raw: RawHost, eid: int) -> list[tuple[int, int, bytes]]:
    """Address, rights and content of all that an enclave has mapped as its own."""
    memory = raw.board.memory
    return [
        (address, int(entry) & 0xFF, memory.pages[page].tobytes())
        for address, page, entry in record_of(raw, eid).table.mappings()
        if address < SHARED_BASE
    ]


def facts_of(raw: RawHost, eid: int) -> list[object]:
    """All that goes into a snapshot, but pages."""
    found = record_of(raw, eid)
    context = found.context
    return [
        (found.kind, found.name, found.entry, found.measurement, found.state),
        (list(context.x), list(context.f), context.fcsr, context.pc, context.priv, context.owner),
        (found.handler, found.event_handler, found.events, found.reflected, found.ocall),
        (found.heap_pages, list(found.regions), found.page_count, len(found.image)),
        (found.account, found.policy, found.limits, found.uid),
    ]


MUCH = (
    call(98, Ocall.SBRK, 5 * PAGE_SIZE)
    + store(HEAP_BASE + 3 * PAGE_SIZE, 0x1111, 0x2222)
    + call(98, Ocall.MMAP, 0, 4 * PAGE_SIZE)
    + "mv s2, a0\nli t0, 77\nsd t0, 8(s2)\n"
    + call(98, Ocall.MMAP, 0x20_0000_0000, PAGE_SIZE)
    + call(EnclaveCall.SET_EVENTS, 0x1000, 2)
    + call(EnclaveCall.SET_HANDLER, 0x1000)
    + "li s0, 0x123456789abcdef0\nli s11, -5\n"
    + YIELD
)
"""Heap, mappings, handlers, and registers with something in them."""


def test_everything_comes_back_as_it_was(raw: RawHost, mover: Mover, port: HostPort):
    eid = stopped(
        raw,
        MUCH + load_word("a0", HEAP_BASE + 3 * PAGE_SIZE + 8) + "ld t0, 8(s2)\nadd a0, a0, t0\n" + EXIT,
        port,
    )
    pieces = mover.pieces(eid)
    facts, image = facts_of(raw, eid), image_of(raw, eid)
    assert mover.go(eid).error == 0
    assert raw.call(HostCall.STOP, eid).error == ErrorCode.NO_SUCH_ENCLAVE
    check(raw.monitor)
    restored = mover.restore(pieces)
    assert restored > eid
    assert facts_of(raw, restored) == facts
    assert image_of(raw, restored) == image
    check(raw.monitor)
    assert finish(raw, restored, port) == 0x2222 + 77
    check(raw.monitor)


def test_all_registers_come_back(raw: RawHost, mover: Mover):
    eid = raw.make(FOREVER)
    raw.start(eid)
    assert raw.call(HostCall.STOP, eid).error == 0
    chance = random.Random(5)
    context = record_of(raw, eid).context
    for number in range(1, 32):
        context.x[number] = chance.getrandbits(64)
    for number in range(32):
        context.f[number] = chance.getrandbits(64)
    context.fcsr, context.pc = 0xE5, chance.getrandbits(64) & ~1
    before = bytes(context)
    restored = record_of(raw, mover.restore(mover.move(eid))).context
    restored.satp = context.satp
    assert bytes(restored) == before


def test_a_fresh_enclave_is_fresh_again(raw: RawHost, mover: Mover, port: HostPort):
    eid = raw.make("addi a0, a2, 7\n" + EXIT)
    restored = mover.restore(mover.move(eid))
    assert raw.state(restored) is State.FRESH
    raw.start(restored)
    assert raw.enter(restored, port) == (0, RunValue.ENDED)
    assert raw.word(4) == 7


def test_what_it_owned_is_free_after_it_moved(raw: RawHost, mover: Mover, port: HostPort):
    before = raw.snapshot()
    eid = stopped(raw, MUCH + EXIT, port)
    pieces = mover.move(eid)
    assert raw.snapshot() == before
    assert raw.call(HostCall.DESTROY, mover.restore(pieces)).error == 0
    assert raw.snapshot() == before


def shadow_spec(raw: RawHost, secret: bytes = b"shared") -> ImageSpec:
    """Code, a page that nobody can write, and one that each instance has for itself."""
    code = raw.assemble(YIELD + load_word("a0", 0x5000) + EXIT)
    return ImageSpec({0x1000: (RX, code), 0x3000: (Pte.R, secret * 600), 0x5000: (RW, b"\x2a")})


def test_an_instance_shares_the_pages_of_the_same_shadow_again(raw: RawHost, mover: Mover, port: HostPort):
    shadow = raw.make_shadow(shadow_spec(raw))
    eid = raw.instance(shadow)
    assert raw.enter(eid, port) == (0, RunValue.YIELD)
    assert raw.call(HostCall.STOP, eid).error == 0
    image = image_of(raw, eid)
    pieces = mover.pieces(eid)
    assert sum(map(len, pieces)) < 3 * PAGE_SIZE, "its own page and some of its stack, not what it shares"
    assert mover.go(eid).error == 0
    assert raw.call(HostCall.DESTROY_SHADOW, shadow).error == 0
    assert mover.refusal(pieces) == Why.SHADOW
    raw.make_shadow(shadow_spec(raw, b"others"), name="others")
    assert mover.refusal(pieces) == Why.SHADOW
    again = raw.make_shadow(shadow_spec(raw))
    restored = mover.restore(pieces)
    assert image_of(raw, restored) == image
    assert record_of(raw, restored).template is record_of(raw, again)
    check(raw.monitor)
    assert raw.call(HostCall.DESTROY_SHADOW, again).error == 0
    check(raw.monitor)
    assert finish(raw, restored, port) == 0x2A
    check(raw.monitor)


def test_an_instance_whose_shadow_was_destroyed_moves(raw: RawHost, mover: Mover, port: HostPort):
    before = raw.snapshot()
    shadow = raw.make_shadow(shadow_spec(raw))
    eid = raw.instance(shadow)
    assert raw.call(HostCall.STOP, eid).error == 0
    assert raw.call(HostCall.DESTROY_SHADOW, shadow).error == 0
    pieces = mover.move(eid)
    assert raw.snapshot() == before, "the shadow went with its last instance"
    raw.make_shadow(shadow_spec(raw))
    assert raw.state(mover.restore(pieces)) is State.STOPPED


def test_pages_of_zeros_are_not_in_it(raw: RawHost, mover: Mover, port: HostPort):
    small = stopped(raw, YIELD + EXIT, port)
    large = stopped(raw, call(98, Ocall.MMAP, 0, 200 * PAGE_SIZE) + YIELD + EXIT, port)
    sizes = [sum(map(len, mover.pieces(eid))) for eid in (small, large)]
    assert sizes[1] - sizes[0] < 256


def test_a_piece_has_a_limit_and_the_pieces_together_are_all_of_it(
    raw: RawHost, mover: Mover, port: HostPort
):
    eid = stopped(raw, call(98, Ocall.MMAP, 0, 700 * PAGE_SIZE) + "mv s2, a0\n" + YIELD + EXIT, port)
    record = record_of(raw, eid)
    (region,) = record.regions
    pages = record.table.pages_at(region.start, region.page_count)
    content = np.random.default_rng(1).integers(0, 256, (700, PAGE_SIZE), dtype=np.uint8)
    content[::7] = 0
    raw.board.memory.pages[pages] = content
    pieces = mover.move(eid)
    assert len(pieces) > 4
    restored = record_of(raw, mover.restore(pieces))
    there = restored.table.pages_at(region.start, region.page_count)
    assert (raw.board.memory.pages[there] == content).all()


# ---- what stays outside ------------------------------------------------------------------------


def test_an_ocall_that_waits_is_made_again(raw: RawHost, mover: Mover, port: HostPort):
    eid = raw.make("li s0, 3\n" + WRITE + "add a0, a0, s0\n" + EXIT)
    raw.start(eid)
    assert raw.enter(eid, port) == (0, RunValue.OCALL)
    assert raw.call(HostCall.STOP, eid).error == 0
    restored = mover.restore(mover.move(eid))
    assert raw.info(restored).ocalls == raw.info(restored).calls == 0
    assert raw.call(HostCall.RESUME, restored, ResumeReason.STOP).error == 0
    assert raw.enter(restored, port) == (0, RunValue.OCALL)
    assert raw.answer(restored, port=port) == (0, RunValue.ENDED)
    assert raw.word(4) == 3
    assert raw.word(0) == Ocall.WRITE


def test_an_answer_between_two_pieces_drops_the_snapshot(raw: RawHost, mover: Mover, port: HostPort):
    eid = raw.make(WRITE + EXIT)
    raw.start(eid)
    assert raw.enter(eid, port) == (0, RunValue.OCALL)
    assert raw.call(HostCall.STOP, eid).error == 0
    assert mover.begin(eid).error == 0
    assert raw.answer(eid).error == 0
    assert mover.next(eid) == (ErrorCode.GENERIC, Why.ABANDONED)
    assert mover.go(eid) == (ErrorCode.GENERIC, Why.ABANDONED)


@pytest.mark.parametrize("size", [0, PAGE_SIZE, 3 * PAGE_SIZE])
def test_the_hosts_shared_memory_has_to_be_there_again(raw: RawHost, mover: Mover, size: int):
    paddr, length = raw.stage(program("1: j 1b\n", raw.assemble))
    shm = raw.page()
    raw.page()
    eid = raw.call(HostCall.CREATE, raw.param(paddr, length, shm_paddr=shm, shm_size=2 * PAGE_SIZE)).value
    pieces = mover.move(eid)
    fields = {"shm_paddr": shm, "shm_size": size} if size else {}
    assert mover.refusal(pieces, **fields) == Why.SHM
    restored = mover.restore(pieces, shm_paddr=shm, shm_size=2 * PAGE_SIZE)
    assert [int(page) for page in record_of(raw, restored).shm] == [
        raw.board.memory.page_of(shm) + n for n in (0, 1)
    ]
    check(raw.monitor)


@pytest.mark.slow
@pytest.mark.parametrize("read", [call(EnclaveCall.CLOCK), "rdtime a0\n"])
def test_time_never_goes_back(tmp_path: Path, read: str):
    """The other machine's clock is an hour behind."""
    pieces, seen = [], []
    for ahead in (3_600_000_000_000, 0):
        clock = ManualClock()
        clock.advance(ahead)
        raw = RawHost(Board(16 << 20, 1, clock, Store(tmp_path / "state")))
        mover, port = Mover(raw), raw.board.host_port(raw.board.harts[0])
        if not pieces:
            eid = stopped(raw, read + "mv s1, a0\n" + YIELD + read + EXIT, port)
            seen.append(record_of(raw, eid).context.x[9])
            pieces = mover.move(eid)
        else:
            seen.append(finish(raw, mover.restore(pieces), port))
        raw.board.power_off()
    assert seen[0] <= seen[1] < seen[0] + 60_000_000_000


# ---- servers -----------------------------------------------------------------------------------

SERVER = "addi a3, a0, 1\n" + answering("a3")
AFTER = (
    store(ARGUMENT - 512, 7, 0, 0, 0, 0, 0)
    + call(96, "mv a0, s1", ARGUMENT - 512)
    + load_word("a0", ARGUMENT - 504)
    + EXIT
)


def test_a_handle_means_the_same_server_where_it_has_another_id(raw: RawHost, mover: Mover, port: HostPort):
    raw.make_server("server", SERVER)
    eid = stopped(raw, calling("server") + YIELD + AFTER, port)
    handle = record_of(raw, eid).context.x[9]
    pieces = mover.move(eid)
    assert raw.call(HostCall.DESTROY_SERVER, handle).error == 0
    assert mover.refusal(pieces) == Why.SERVER
    other = raw.make_server("server", EXIT)
    assert mover.refusal(pieces) == Why.SERVER, "the name alone does not make it the same"
    assert raw.call(HostCall.DESTROY_SERVER, other).error == 0
    again = raw.make_server("server", SERVER)
    assert again != handle
    assert finish(raw, mover.restore(pieces), port) == 8


def test_a_new_handle_is_none_of_the_old_ones(raw: RawHost, mover: Mover, port: HostPort):
    """An id here may be what a handle was there."""
    raw.make_server("server", SERVER)
    eid = stopped(raw, name_at(ARGUMENT, "server") + YIELD + call(97, ARGUMENT) + EXIT, port)
    restored = mover.restore(mover.move(eid))
    handle = finish(raw, restored, port)
    assert handle >= 1 << 31


def test_after_a_report_a_name_means_that_program_or_nobody(raw: RawHost, mover: Mover, port: HostPort):
    report = call(94, ARGUMENT, ARGUMENT - 1024, 5)
    server = raw.make_server("server", SERVER)
    eid = stopped(raw, name_at(ARGUMENT, "server") + report + YIELD + call(97, ARGUMENT) + EXIT, port)
    other = mover.pieces(eid)
    assert mover.go(eid).error == 0
    assert raw.call(HostCall.DESTROY_SERVER, server).error == 0
    raw.make_server("server", EXIT)
    assert finish(raw, mover.restore(other), port) == (1 << 64) - 1


# ---- refused, with the reason ------------------------------------------------------------------


def refused(raw: RawHost, mover: Mover, eid: int, why: Why, options: int = 0) -> None:
    before = raw.snapshot()
    assert mover.begin(eid, options) == (ErrorCode.GENERIC, why)
    assert raw.snapshot() == before


def test_one_in_a_call_of_a_server_is_refused(raw: RawHost, mover: Mover, port: HostPort):
    raw.make_server("server", WRITE + SERVER)
    eid = raw.make(calling("server") + EXIT)
    raw.start(eid)
    assert raw.enter(eid, port) == (0, RunValue.OCALL)
    assert raw.call(HostCall.STOP, eid).error == 0
    refused(raw, mover, eid, Why.CALLING)


def test_relay_pages_are_refused(raw: RawHost, mover: Mover):
    eid, param = raw.make(FOREVER), raw.run_param()
    raw.memory.write(param, bytes(RunParam(relay_pa=raw.page(), relay_size=PAGE_SIZE)))
    assert raw.call(HostCall.RUN, eid, param).error == 0
    assert raw.call(HostCall.STOP, eid).error == 0
    refused(raw, mover, eid, Why.RELAY)


@pytest.mark.parametrize(
    "text", [call(98, Ocall.SHM_GET, 5, PAGE_SIZE), call(98, Ocall.SHM_GET, 5, PAGE_SIZE) + call(84, 5)]
)
def test_secure_shared_memory_is_refused(raw: RawHost, mover: Mover, port: HostPort, text: str):
    refused(raw, mover, stopped(raw, text + YIELD + EXIT, port), Why.SHARED)


def test_the_policy_decides(raw: RawHost, mover: Mover, port: HostPort):
    for policy, moves, clones in ((None, True, False), (0, False, False), (2, False, True), (3, True, True)):
        text = "" if policy is None else call(EnclaveCall.SET_POLICY, policy)
        eid = stopped(raw, text + YIELD + EXIT, port)
        for options, allowed in ((0, moves), (Option.CLONE, clones)):
            if allowed:
                assert mover.begin(eid, options).error == 0
            else:
                refused(raw, mover, eid, Why.POLICY, options)


@pytest.mark.parametrize("policy", [4, 7, 1 << 63])
def test_a_policy_that_there_is_not_is_refused(raw: RawHost, port: HostPort, policy: int):
    assert raw.value_of(port, call(EnclaveCall.SET_POLICY, policy) + EXIT) == (1 << 64) - 1


def test_the_profile_of_the_original_has_none(board: Board):
    raw = RawHost(board, profile=tvm())
    mover = Mover(raw)
    refused(raw, mover, raw.make(FOREVER), Why.PROFILE)


def test_memory_in_too_many_pieces_is_refused(raw: RawHost, mover: Mover, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("penglai.monitor.snapshot.MAX_PIECE", 850)
    refused(raw, mover, raw.make(FOREVER), Why.SPLIT)


@pytest.mark.parametrize("options", [2, 3, 1 << 31, 1 << 63])
def test_options_that_there_are_not_are_refused(raw: RawHost, mover: Mover, options: int):
    assert mover.begin(raw.make(FOREVER), options).error == ErrorCode.BAD_ARGUMENT


def test_a_buffer_that_is_too_small_is_told_how_much_is_needed(raw: RawHost, mover: Mover):
    eid = raw.make(FOREVER)
    error, needed = mover.begin(eid, size=100)
    assert error == ErrorCode.BAD_ARGUMENT
    assert mover.begin(eid, size=needed) == (0, needed)
    error, needed = mover.next(eid, size=needed)
    assert error == ErrorCode.BAD_ARGUMENT
    assert mover.next(eid, size=needed) == (0, needed), "the same piece came again"


def test_the_buffer_has_to_be_the_hosts(raw: RawHost, mover: Mover):
    eid = raw.make(FOREVER)
    secret = raw.board.memory.address_of(int(record_of(raw, eid).image[0]))
    before = raw.snapshot()
    assert raw.call(HostCall.SNAPSHOT, eid, 0, secret, 1 << 20).error == ErrorCode.SECURITY
    assert mover.begin(eid).error == 0
    assert raw.call(HostCall.SNAPSHOT_PIECE, eid, mover.number, secret, 1 << 20).error == ErrorCode.SECURITY
    assert raw.snapshot() == before


def test_nothing_is_moved_before_every_piece_was_taken(raw: RawHost, mover: Mover):
    eid = raw.make(FOREVER)
    assert mover.go(eid) == (ErrorCode.GENERIC, Why.ABANDONED)
    assert mover.begin(eid).error == 0
    assert mover.go(eid) == (ErrorCode.GENERIC, Why.UNFINISHED)
    assert mover.next(eid).error == 0
    assert mover.next(eid) == (ErrorCode.GENERIC, Why.ABANDONED), "there are no more"
    assert mover.go(eid).error == 0


# ---- one life ----------------------------------------------------------------------------------


def test_a_snapshot_is_restored_once(raw: RawHost, mover: Mover):
    pieces = mover.move(raw.make(FOREVER))
    mover.restore(pieces)
    assert mover.refusal(pieces) == Why.SPENT


def test_of_two_that_restore_it_at_once_one_has_it(raw: RawHost, mover: Mover):
    pieces = mover.move(raw.make(FOREVER))
    eids = [mover.restore_first(*pieces[:2]).value for _ in range(2)]
    answers = [mover.restore_piece(eid, pieces[2]) for eid in eids]
    assert answers == [(0, 1), (ErrorCode.SECURITY, Why.SPENT)]
    assert [raw.state(eid) for eid in eids] == [State.FRESH, State.RESTORING]


def test_one_that_did_not_move_is_nobodys(raw: RawHost, mover: Mover):
    """Whoever keeps the pieces and lets the enclave go on has nothing."""
    eid = raw.make(FOREVER)
    pieces = mover.pieces(eid)
    raw.start(eid)
    assert mover.refusal(pieces) == Why.SPENT


@pytest.mark.parametrize("started", [False, True])
def test_one_that_has_gone_on_does_not_move_into_what_it_was(raw: RawHost, mover: Mover, started: bool):
    """It is stopped again, and looks as if nothing had been."""
    eid = raw.make(FOREVER)
    if started:
        raw.start(eid)
        assert raw.call(HostCall.STOP, eid).error == 0
    pieces = mover.pieces(eid)
    if started:
        assert raw.call(HostCall.RESUME, eid, ResumeReason.STOP).error == 0
    else:
        raw.start(eid)
    assert raw.call(HostCall.STOP, eid).error == 0
    assert mover.go(eid) == (ErrorCode.GENERIC, Why.ABANDONED)
    assert mover.refusal(pieces) == Why.SPENT
    assert raw.state(eid) is State.STOPPED


def test_an_old_one_is_refused(raw: RawHost, mover: Mover):
    first = mover.move(raw.make(FOREVER))
    second = mover.move(mover.restore(first))
    assert mover.refusal(first) == Why.OLD
    restored = mover.restore(second)
    assert record_of(raw, restored).generation == 2
    assert mover.refusal(first) == mover.refusal(second) == Why.SPENT


def test_who_begins_another_snapshot_takes_no_pieces_of_the_first(raw: RawHost, mover: Mover):
    """Two programs at once: one has all pieces of its own snapshot, and moves; the other one is told."""
    eid, other = raw.make(FOREVER), Mover(raw)
    assert mover.begin(eid).error == 0
    pieces = other.pieces(eid)
    assert mover.next(eid) == (ErrorCode.GENERIC, Why.ABANDONED)
    assert mover.go(eid) == (ErrorCode.GENERIC, Why.ABANDONED)
    assert other.go(eid).error == 0
    assert raw.state(mover.restore(pieces)) is State.FRESH


def test_pieces_of_two_snapshots_do_not_go_together(raw: RawHost, mover: Mover):
    eid = raw.make(FOREVER)
    one, other = mover.pieces(eid), mover.move(eid)
    assert mover.refusal([other[0], other[1], one[2]]) == Why.DAMAGED
    assert mover.refusal([other[0], one[1], other[2]]) == Why.DAMAGED
    assert mover.refusal(other) == 0


def test_clones_are_others_and_may_be_many(raw: RawHost, mover: Mover, port: HostPort):
    text = call(EnclaveCall.SET_POLICY, Policy.CLONE) + YIELD + call(EnclaveCall.GENERATION) + EXIT
    eid = stopped(raw, text, port)
    pieces = mover.pieces(eid, Option.CLONE)
    assert mover.go(eid).error == ErrorCode.BAD_ARGUMENT
    clones = [mover.restore(pieces) for _ in range(3)]
    assert len({record_of(raw, each).uid for each in (eid, *clones)}) == 4
    assert finish(raw, eid, port) == 0
    assert [finish(raw, each, port) for each in clones] == [1, 1, 1]


def test_the_list_of_snapshots_has_a_limit(raw: RawHost, mover: Mover, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(freshness, "MOST", 2)
    moved = [mover.move(raw.make(FOREVER)) for _ in range(2)]
    eid = raw.make(FOREVER)
    mover.pieces(eid)
    assert mover.go(eid) == (ErrorCode.GENERIC, Why.FULL)
    assert raw.state(eid) is State.FRESH
    assert mover.refusal(moved[0]) == 0
    assert mover.go(eid).error == 0


# ---- hostile snapshots -------------------------------------------------------------------------


def test_every_byte_counts(raw: RawHost, mover: Mover):
    """Of the heads, each; of what is sealed, some of every part: all of it is under one tag."""
    pieces = mover.move(raw.make(FOREVER))
    before, rewound = raw.snapshot(), raw.page()
    chance = random.Random(3)
    for part, piece in enumerate(pieces):
        heads = range(len(piece) if part == 0 else PIECE_HEAD)
        places = {
            *heads,
            *range(len(piece) - 16, len(piece)),
            *(chance.randrange(len(piece)) for _ in range(60)),
        }
        for place in sorted(places):
            bad = bytearray(piece)
            bad[place] ^= 1 << chance.randrange(8)
            damaged = [*pieces[:part], bytes(bad), *pieces[part + 1 :]]
            assert mover.refusal(damaged) >= Why.FORMAT, (part, place)
            raw.rewind_to(rewound)
        assert raw.snapshot() == before
    assert mover.refusal(pieces) == 0


def test_what_is_cut_off_or_in_another_order_is_refused(raw: RawHost, mover: Mover, port: HostPort):
    eid = stopped(raw, call(98, Ocall.MMAP, 0, 300 * PAGE_SIZE) + YIELD + EXIT, port)
    record = record_of(raw, eid)
    (region,) = record.regions
    raw.board.memory.pages[record.table.pages_at(region.start, region.page_count)] = 1
    head, first, *others = mover.move(eid)
    assert len(others) > 1
    for size in (0, 1, PIECE_HEAD, len(first) - 1):
        assert mover.refusal([head, first[:size], *others]) == Why.DAMAGED
    assert mover.refusal([head[:-1], b""]) == Why.FORMAT
    assert mover.refusal([head, others[0]]) == Why.DAMAGED
    assert mover.refusal([head, first, others[1]]) == Why.DAMAGED
    assert mover.refusal([head, first, first]) == Why.DAMAGED
    assert mover.refusal([head, first, others[0], others[0]]) == Why.DAMAGED
    for size in (1, PIECE_HEAD, len(others[0]) - 1):
        assert mover.refusal([head, first, others[0][:size]]) == Why.DAMAGED
    started = mover.restore_first(head, first)
    assert mover.restore_piece(started.value, others[0]) == (0, 0)
    for call_ in (HostCall.STOP, HostCall.SNAPSHOT_MOVE):
        assert raw.call(call_, started.value).error == ErrorCode.GENERIC, "one that is not whole does nothing"
    assert raw.call(HostCall.RUN, started.value, raw.run_param()).error == ErrorCode.GENERIC
    assert raw.call(HostCall.DESTROY, started.value).error == 0
    assert mover.refusal([head, first, *others]) == 0


def test_sizes_and_places_that_lie_are_refused(raw: RawHost, mover: Mover):
    pieces = mover.move(raw.make(FOREVER))
    before = raw.snapshot()
    whole = len(pieces[0] + pieces[1])
    for size in (0, HEAD - 1, HEAD, whole - 1, whole + 1, 1 << 22, 1 << 63, (1 << 64) - 1):
        assert mover.restore_first(*pieces[:2], blob_size=size).error < 0
    for place in (
        0,
        1,
        mover.buffer + 1,
        mover.buffer - 8,
        1 << 63,
        raw.board.memory.base + raw.board.memory.size,
    ):
        assert mover.restore_first(*pieces[:2], blob_pa=place).error < 0
    assert raw.snapshot() == before
    assert mover.refusal(pieces) == 0


Boards = Callable[[Path], RawHost]


@pytest.fixture
def on_board() -> Iterator[Boards]:
    """Makes hosts of boards whose storage is a directory."""
    with ExitStack() as stack:

        def make(directory: Path) -> RawHost:
            board = Board(16 << 20, 1, None, Store(directory), FakeEngine())
            stack.callback(board.power_off)
            return RawHost(board)

        yield make


def test_it_is_one_devices_whatever_process_has_it(tmp_path: Path, on_board: Boards):
    here, elsewhere, again = (on_board(tmp_path / name) for name in ("one", "two", "one"))
    pieces = Mover(here).move(here.make(FOREVER))
    assert Mover(elsewhere).refusal(pieces) == Why.DEVICE
    mover = Mover(again)
    restored = mover.restore(pieces)
    assert again.state(restored) is State.FRESH
    assert Mover(here).refusal(pieces) == Why.SPENT


def test_it_is_one_monitors(tmp_path: Path, on_board: Boards, monkeypatch: pytest.MonkeyPatch):
    here, again = on_board(tmp_path / "state"), on_board(tmp_path / "state")
    pieces = Mover(here).move(here.make(FOREVER))
    monkeypatch.setattr("penglai.monitor.keys.monitor_hash", lambda: bytes(range(32)))
    mover = Mover(again)
    assert mover.refusal(pieces) == Why.MONITOR
    head = SnapshotHead.from_buffer_copy(pieces[0])
    head.monitor[:] = bytes(range(32))
    assert mover.refusal([bytes(head), *pieces[1:]]) == Why.DAMAGED, "to say so is not enough"


def test_a_storage_that_fails_moves_nothing(tmp_path: Path, on_board: Boards):
    raw = on_board(tmp_path / "state")
    mover, eid = Mover(raw), raw.make(FOREVER)
    mover.pieces(eid)
    (tmp_path / "state").chmod(0o755)
    assert mover.go(eid) == (ErrorCode.GENERIC, Why.STORAGE)
    (tmp_path / "state").chmod(0o700)
    assert raw.state(eid) is State.FRESH
    assert mover.go(eid).error == 0


# ---- limits ------------------------------------------------------------------------------------


def test_a_host_that_gives_less_gets_nothing(raw: RawHost, mover: Mover):
    pieces = mover.move(raw.make(FOREVER))
    before = raw.snapshot()
    assert raw.call(HostCall.LIMIT, 0, Limit.PAGES, 3).error == 0
    assert mover.restore_first(*pieces[:2]).error == ErrorCode.ALLOCATION_FAILED
    assert raw.call(HostCall.LIMIT, 0, Limit.PAGES, 100).error == 0
    assert raw.snapshot() == before
    restored = mover.restore(pieces)
    assert record_of(raw, restored).limits.pages == 100


def test_without_memory_restore_tells_how_much_is_missing(mover: Mover, raw: RawHost, port: HostPort):
    eid = stopped(raw, call(98, Ocall.MMAP, 0, 900 * PAGE_SIZE) + YIELD + EXIT, port)
    pieces = mover.move(eid)
    other = raw.make(call(98, Ocall.MMAP, 0, 400 * PAGE_SIZE) + YIELD + EXIT)
    raw.start(other)
    assert raw.enter(other, port) == (0, RunValue.YIELD)
    before = raw.snapshot()
    error, missing = mover.restore_first(*pieces[:2])
    assert error == ErrorCode.NO_MEMORY
    assert 0 < missing < 400
    assert raw.snapshot() == before
    raw.give_chunk()
    assert raw.state(mover.restore(pieces)) is State.STOPPED


def test_the_record_is_what_the_page_says():
    assert (HEAD, PIECE_HEAD, ctypes.sizeof(SnapshotRecord)) == (184, 16, 840)
    assert NATIVE.snapshots
