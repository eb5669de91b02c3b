"""Every call, of enclaves and of the host, with every kind of bad number: an error, or that enclave's end."""

import itertools
import random

import pytest
from tests.support.ecalls import WORD, attacker, rows_of, run_to_its_end
from tests.support.rawhost import EXIT, RW, ImageSpec, RawHost, answering, call

from penglai.abi.ecall import Ocall
from penglai.abi.riscv import CHUNK_SIZE, PAGE_SIZE, RAM_BASE
from penglai.abi.sbi import HostCall, RunValue
from penglai.abi.state import State
from penglai.machine import HostPort
from penglai.monitor.invariants import check

ROWS_PER_RUN = 3000


@pytest.fixture
def port(raw: RawHost) -> HostPort:
    return raw.board.host_port(raw.board.harts[0])


@pytest.mark.parametrize("seed", range(12))
def test_no_call_of_an_enclave_touches_another(raw: RawHost, port: HostPort, seed: int):
    """A victim with marked memory, a server and a shadow stay exactly as they are."""
    mark = ImageSpec({0x1000: (RW ^ 4 | 8, b"\x13\0\0\0"), 0x5000: (RW, b"marked " * 500)}, entry=0x1000)
    victim = raw.make(mark)
    server = raw.make_server("server", "mv a3, a0\n" + answering("a3"))
    raw.make_shadow(mark)
    free = raw.monitor.platform.ownership.free_pages
    (record, *others) = raw.monitor.enclaves()
    pages = raw.board.memory.pages
    images = [(enclave, pages[enclave.image].copy()) for enclave in (record, *others)]
    run_to_its_end(raw, port, raw.make(attacker(rows_of(seed, ROWS_PER_RUN))))
    check(raw.monitor)
    for enclave, image in images:
        assert (pages[enclave.image] == image).all(), enclave
    assert (raw.state(victim), raw.state(server)) == (State.FRESH, State.IDLE)
    parcels = sum(
        len(parcel.pages) for queue in raw.monitor.platform.registry.parcels.values() for parcel in queue
    )
    assert raw.monitor.platform.ownership.free_pages + parcels == free


def test_memory_that_an_enclave_asks_for_is_bounded_by_what_the_host_gives(raw: RawHost, port: HostPort):
    eid = raw.make("1:\n" + call(98, Ocall.MMAP, 0, PAGE_SIZE) + "bgez a0, 1b\n" + EXIT)
    raw.start(eid)
    assert raw.enter(eid, port) == (0, RunValue.OCALL)
    assert (raw.word(0), raw.word(1)) == (Ocall.SBRK, PAGE_SIZE)
    assert raw.answer(eid, Ocall.SBRK, 0, port) == (0, RunValue.ENDED)
    check(raw.monitor)


HOST_NUMBERS = [
    0,
    1,
    7,
    8,
    RAM_BASE,
    RAM_BASE + 8,
    RAM_BASE + PAGE_SIZE,
    RAM_BASE + (16 << 20) - CHUNK_SIZE,
    RAM_BASE + (16 << 20) - 8,
    RAM_BASE + (16 << 20),
    1 << 31,
    1 << 32,
    1 << 56,
    1 << 63,
    WORD - PAGE_SIZE,
    WORD - 8,
    WORD - 1,
]
EIDS = [0, 4, 1 << 31, (1 << 32) + 1, WORD - 1]


@pytest.mark.parametrize("function", [call for call in HostCall if call is not HostCall.MEMORY_RECLAIM])
def test_no_call_of_the_host_with_bad_numbers_changes_anything(raw: RawHost, function: HostCall):
    """Eids that are nobody's, addresses that are not the host's, not aligned, or wrap."""
    victims = [raw.make(EXIT), raw.make_server("server", EXIT), raw.make_shadow(EXIT)]
    assert victims == [1, 2, 3]
    states = [raw.state(eid) for eid in victims]
    before = raw.snapshot()
    addressed = function in (
        HostCall.CREATE,
        HostCall.CREATE_SERVER,
        HostCall.CREATE_SHADOW,
        HostCall.MEMORY_EXTEND,
        HostCall.SCHRODINGER_INIT,
    )
    chance = random.Random(int(function))
    for first in HOST_NUMBERS if addressed else EIDS:
        for _ in range(40):
            rest = [chance.choice(HOST_NUMBERS) for _ in range(4)]
            result = raw.call(function, first, *rest)
            harmless = function in (
                HostCall.SM_INIT,
                HostCall.DEBUG_PRINT,
                HostCall.SCHRODINGER_INIT,
                HostCall.LIMIT,
            )
            assert result.error < 0 or harmless, (first, rest)
    assert raw.snapshot() == before
    assert [raw.state(eid) for eid in victims] == states


@pytest.mark.parametrize("function", [HostCall.ATTEST, HostCall.RUN, HostCall.RUN_SHADOW, HostCall.INFO])
def test_good_ids_with_bad_addresses(raw: RawHost, function: HostCall):
    victims = [raw.make(EXIT), raw.make_server("server", EXIT), raw.make_shadow(EXIT)]
    before = raw.snapshot()
    bad = [number for number in HOST_NUMBERS if number and not RAM_BASE <= number < RAM_BASE + (8 << 20)]
    for eid, first, second in itertools.product(victims, bad, bad):
        assert raw.call(function, eid, first, second).error < 0
    assert raw.snapshot() == before
