"""What an enclave can make grow ends where the host says, and want of it changes nothing."""

import itertools

import pytest
from tests.support.rawhost import EXIT, RawHost, call, name_at, program

from penglai.abi import layout
from penglai.abi.ecall import Ocall
from penglai.abi.errors import ErrorCode
from penglai.abi.limits import NO_LIMIT, Limit, Limits
from penglai.abi.riscv import PAGE_SIZE
from penglai.abi.sbi import HostCall, RunParam, RunValue
from penglai.machine import HostPort
from penglai.monitor.invariants import check
from penglai.monitor.ownership import SECURE
from penglai.monitor.registry import ID_LIMIT

NAME, REPORT = layout.STACK_TOP - 1024, layout.STACK_TOP - 8192
FAR = 0x20_0000_0000


@pytest.fixture
def port(raw: RawHost) -> HostPort:
    return raw.board.host_port(raw.board.harts[0])


def limit(raw: RawHost, kind: Limit, value: int, eid: int = 0) -> None:
    assert raw.call(HostCall.LIMIT, eid, kind, value) == (0, 0)


def counted(raw: RawHost, port: HostPort, step: str, before: str = "") -> int:
    """How often an enclave can do something before it is refused."""
    text = f"{before}li s5, 0\n1: {step}bltz a0, 9f\naddi s5, s5, 1\nj 1b\n9: mv a0, s5\n{EXIT}"
    spec = program(text)
    spec.stack_pages = 4
    return raw.value_of(port, spec)


MMAP = call(98, Ocall.MMAP, 0, PAGE_SIZE)
SPARSE = "slli a1, s5, 21\nli t0, 0x2000000000\nadd a1, a1, t0\n"
"""Each in a leaf table of its own."""
GET_ALL = call(98, Ocall.SHM_GET, 78, 16 * PAGE_SIZE) + call(84, 78)
SHM = "addi s6, s5, 1\n" + call(98, Ocall.SHM_GET, "mv a1, s6", PAGE_SIZE)


@pytest.mark.parametrize(
    "step",
    [
        MMAP,
        call(98, Ocall.SBRK, PAGE_SIZE),
        SHM,
        SHM + "bltz a0, 9f\n" + call(84, "mv a0, s6"),
        call(98, Ocall.MMAP, SPARSE, PAGE_SIZE),
        call(98, Ocall.MMAP, SPARSE, PAGE_SIZE) + "bltz a0, 9f\n" + call(98, Ocall.UNMAP, SPARSE, PAGE_SIZE),
    ],
    ids=["mmap", "sbrk", "shared memory", "attached twice counted", "sparse", "only tables"],
)
def test_pages(raw: RawHost, port: HostPort, step: str):
    """Page tables too: an enclave could map and unmap at ever new addresses."""
    base = raw.make(EXIT)
    enclave = next(each for each in raw.monitor.enclaves() if each.eid == base)
    limit(raw, Limit.PAGES, enclave.used + 40)
    free = raw.monitor.platform.ownership.free_pages
    times = counted(raw, port, step)
    assert 10 <= times <= 42
    assert raw.monitor.platform.ownership.free_pages == free, "all is back, and nothing was asked of the host"


def test_regions(raw: RawHost, port: HostPort):
    limit(raw, Limit.REGIONS, 7)
    assert counted(raw, port, MMAP) == 7
    split = "slli a2, s5, 12\nadd a0, s7, a2\nli a1, 0x20000\nsub a1, a1, a2\nli t0, 4096\nadd a2, a0, t0\n"
    before = call(98, Ocall.MMAP, FAR, 0x20000) + "mv s7, a0\n"
    assert counted(raw, port, split + "li a6, 0x100101\nli a7, 92\necall\n", before) == 6
    hole = "slli a1, s5, 13\nadd a1, a1, s7\nli t0, 4096\nadd a1, a1, t0\nli a2, 4096\nli a0, 2\n"
    assert counted(raw, port, hole + "li a6, 0x100101\nli a7, 98\necall\n", before) == 6


def test_shared_memories(raw: RawHost, port: HostPort):
    limit(raw, Limit.SHARED, 5)
    assert counted(raw, port, SHM) == 5
    gone = SHM + "bltz a0, 9f\n" + call(98, Ocall.SHM_DESTROY, "mv a1, s6") + "li t0, 50\nsub a0, t0, s5\n"
    assert counted(raw, port, gone) == 51, "what was destroyed does not count"


@pytest.mark.parametrize(
    ("kind", "function"), [(Limit.HANDLES, call(97, NAME)), (Limit.REPORTED, call(94, NAME, REPORT, 1))]
)
def test_servers(raw: RawHost, port: HostPort, kind: Limit, function: str):
    limit(raw, kind, 2)
    for number in range(4):
        raw.make_server(f"s{number}", EXIT)
    digit = f"addi t2, s5, 48\nli t1, {NAME + 1}\nsb t2, 0(t1)\n"
    assert counted(raw, port, digit + function, name_at(NAME, "s0")) == 2


def test_one_enclave_can_have_other_limits(raw: RawHost, port: HostPort):
    text = f"li s5, 0\n1: {MMAP}bltz a0, 9f\naddi s5, s5, 1\nj 1b\n9: mv a0, s5\n{EXIT}"
    eid, other = raw.make(text), raw.make(text)
    limit(raw, Limit.REGIONS, 3, eid)
    limit(raw, Limit.REGIONS, 5, other)
    for each, expected in ((eid, 3), (other, 5)):
        raw.start(each)
        assert raw.enter(each, port) == (0, RunValue.ENDED)
        assert raw.word(4) == expected


def test_a_create_that_is_too_large_fails_before_anything_was_taken(raw: RawHost):
    limit(raw, Limit.PAGES, 8)
    before = raw.snapshot()
    assert raw.create(EXIT).error == ErrorCode.ALLOCATION_FAILED
    assert raw.snapshot() == before
    limit(raw, Limit.PAGES, NO_LIMIT)
    assert raw.create(EXIT).error == 0


def test_relay_pages_that_are_too_many_stay_the_hosts(raw: RawHost):
    limit(raw, Limit.REGIONS, 0)
    eid, page = raw.make(EXIT), raw.page()
    param = raw.page()
    raw.memory.write(param, bytes(RunParam(relay_pa=page, relay_size=PAGE_SIZE)))
    before = raw.snapshot()
    assert raw.call(HostCall.RUN, eid, param).error == ErrorCode.ALLOCATION_FAILED
    assert raw.snapshot() == before
    assert raw.memory.owns(page, PAGE_SIZE)


@pytest.mark.parametrize(("eid", "kind"), [(0, 5), (0, 1 << 63), (77, 0), ((1 << 64) - 1, 1)])
def test_a_limit_that_is_none_is_refused(raw: RawHost, eid: int, kind: int):
    assert raw.call(HostCall.LIMIT, eid, kind, 1).error < 0
    assert raw.monitor.platform.registry.limits == Limits()
    check(raw.monitor)


def test_no_enclave_uses_the_machines_ids_up(raw: RawHost, port: HostPort):
    """The ids of what it makes again and again are not those that the host needs for the next enclave."""
    first = raw.make(EXIT)
    again = (
        "li s2, 300\n1:\n" + call(98, Ocall.SHM_GET, 0, PAGE_SIZE) + call(98, Ocall.SHM_DESTROY, "mv a1, a0")
    )
    raw.value_of(port, again + "addi s2, s2, -1\nbnez s2, 1b\n" + EXIT)
    assert raw.make(EXIT) == first + 2


def test_without_ids_nothing_is_made_and_nothing_is_lost(raw: RawHost, port: HostPort):
    shadow, eid = raw.make_shadow(EXIT), raw.make(GET_ALL + EXIT)
    raw.start(eid)
    raw.monitor.platform.registry._ids = itertools.count(ID_LIMIT)
    before = raw.snapshot()
    assert raw.create(EXIT).error == ErrorCode.ALLOCATION_FAILED
    result = raw.call(HostCall.RUN_SHADOW, shadow, raw.shadow_run_param())
    assert result.error == ErrorCode.ALLOCATION_FAILED
    assert raw.snapshot() == before
    assert raw.enter(eid, port) == (0, RunValue.ENDED)
    check(raw.monitor)
    assert not (raw.monitor.platform.ownership.snapshot() == SECURE).any()
