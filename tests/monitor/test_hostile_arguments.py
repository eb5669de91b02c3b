"""Every call, of enclaves and of the host, with every kind of bad number: an error, or that enclave's end."""

import itertools
import random

import pytest
from tests.support.rawhost import EXIT, RW, ImageSpec, RawHost, answering, call, program

from penglai.abi import layout
from penglai.abi.ecall import EnclaveCall, Ocall
from penglai.abi.riscv import CHUNK_SIZE, PAGE_SIZE, RAM_BASE
from penglai.abi.sbi import HostCall, RunValue
from penglai.abi.state import State
from penglai.machine import HostPort
from penglai.monitor.invariants import check

WORD = 1 << 64
TABLE = 0x10000
"""Where the program below has its rows: a7, a0 to a3."""
ROW = 40
ROWS_PER_RUN = 3000

CALL_ALL = f"""
li s0, {TABLE}
ld s1, 0(s0)
addi s0, s0, 8
1: beqz s1, 2f
ld a7, 0(s0)
ld a0, 8(s0)
ld a1, 16(s0)
ld a2, 24(s0)
ld a3, 32(s0)
addi s0, s0, {ROW}
addi s1, s1, -1
li a6, 0x100101
ecall
j 1b
2: {EXIT}
"""

ADDRESSES = [
    0,
    1,
    8,
    layout.TEXT_BASE,
    layout.TEXT_BASE + 3,
    TABLE,
    TABLE + 5,
    layout.HEAP_BASE,
    layout.MMAP_TOP - PAGE_SIZE,
    layout.MMAP_TOP,
    layout.STACK_TOP - PAGE_SIZE,
    layout.STACK_TOP - 8,
    layout.STACK_TOP,
    layout.SHARED_BASE,
    layout.KERNEL_BUFFER,
    layout.KERNEL_BUFFER + PAGE_SIZE - 4,
    layout.KERNEL_BUFFER - 8,
    RAM_BASE,
    RAM_BASE + (16 << 20) - PAGE_SIZE,
    1 << 38,
    1 << 39,
    1 << 63,
    WORD - PAGE_SIZE,
    WORD - 8,
    WORD - 1,
]
SIZES = [
    0,
    1,
    7,
    32,
    PAGE_SIZE,
    PAGE_SIZE + 1,
    2 * PAGE_SIZE,
    CHUNK_SIZE,
    1 << 40,
    1 << 63,
    WORD - PAGE_SIZE,
    WORD - 1,
]
NUMBERS = [*ADDRESSES, *SIZES]

ENDLESS = (EnclaveCall.EXIT,)


@pytest.fixture
def port(raw: RawHost) -> HostPort:
    return raw.board.host_port(raw.board.harts[0])


def rows_of(seed: int, count: int) -> list[tuple[int, int, int, int, int]]:
    """Calls with random bad numbers; each function and ocall often, in random order."""
    chance = random.Random(seed)
    functions = [function for function in EnclaveCall if function not in ENDLESS] + [0, 50, 100, WORD - 1]
    rows = []
    for _ in range(count):
        function = chance.choice([*functions, *([EnclaveCall.OCALL] * len(Ocall))])
        first = (
            chance.choice([*Ocall, 0, 13, WORD - 1])
            if function == EnclaveCall.OCALL
            else chance.choice(NUMBERS)
        )
        rows.append((int(function), int(first), *(chance.choice(NUMBERS) for _ in range(3))))
    return rows


def attacker(rows: list[tuple[int, ...]]) -> ImageSpec:
    table = b"".join(word.to_bytes(8, "little") for word in (len(rows), *itertools.chain(*rows)))
    spec = program(CALL_ALL)
    for start in range(0, len(table), PAGE_SIZE):
        spec.pages[TABLE + start] = (RW, table[start : start + PAGE_SIZE])
    return spec


def run_to_its_end(raw: RawHost, port: HostPort, eid: int) -> None:
    """Run an enclave, refusing whatever it asks of the host."""
    raw.start(eid)
    result = raw.enter(eid, port)
    while result.value in (RunValue.OCALL, RunValue.YIELD, RunValue.TIMER):
        assert result.error == 0
        if result.value == RunValue.OCALL:
            result = raw.answer(eid, raw.word(0), port=port)
        else:
            result = raw.enter(eid, port)
    assert result.value in (RunValue.ENDED, RunValue.FAULTED)


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
        len(parcel.region.pages)
        for queue in raw.monitor.platform.registry.parcels.values()
        for parcel in queue
        if parcel.region
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
            harmless = function in (HostCall.SM_INIT, HostCall.DEBUG_PRINT, HostCall.SCHRODINGER_INIT)
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
