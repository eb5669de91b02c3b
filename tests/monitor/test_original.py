"""The profile "tvm" is as safe for others as the native one: what it gives away is the enclave's own."""

import pytest
from tests.support.ecalls import attacker, rows_of, run_to_its_end
from tests.support.rawhost import EXIT, FOREVER, RawHost, answering, call, calling, load_word, store

from penglai.abi import layout
from penglai.abi.ecall import PRIVATE, EnclaveCall, Ocall
from penglai.abi.errors import ErrorCode
from penglai.abi.firmware import Extension
from penglai.abi.limits import Limit
from penglai.abi.riscv import PAGE_SIZE
from penglai.abi.sbi import HostCall, RunValue
from penglai.abi.state import State
from penglai.machine import Board, HostPort
from penglai.monitor.invariants import check
from penglai.monitor.original import tvm

ENCLAVES, ROWS = 60, 12
ENDING = {*PRIVATE, EnclaveCall.YIELD, EnclaveCall.EXIT}
ARGUMENT = layout.STACK_TOP - 128
LENT = 0x20_0000_0000


@pytest.fixture
def raw(board: Board) -> RawHost:
    return RawHost(board, 2, tvm())


@pytest.fixture
def port(raw: RawHost) -> HostPort:
    return raw.board.host_port(raw.board.harts[0])


@pytest.mark.parametrize("seed", range(6))
def test_no_call_of_an_enclave_touches_another(raw: RawHost, port: HostPort, seed: int):
    server = raw.make_server("server", "mv a3, a0\n" + answering("a3"))
    victim = raw.make(FOREVER)
    free = raw.monitor.platform.ownership.free_pages
    images = [(each, raw.board.memory.pages[each.image].copy()) for each in raw.monitor.enclaves()]
    rows = [row for row in rows_of(seed, 4 * ENCLAVES * ROWS) if row[0] in set(EnclaveCall) - ENDING]
    for start in range(0, ENCLAVES * ROWS, ROWS):
        eid = raw.make(attacker(rows[start : start + ROWS]))
        run_to_its_end(raw, port, eid)
        check(raw.monitor)
    for enclave, image in images:
        assert (raw.board.memory.pages[enclave.image] == image).all()
    assert (raw.state(victim), raw.state(server)) == (State.FRESH, State.IDLE)
    assert raw.monitor.platform.ownership.free_pages == free


MAP = call(98, Ocall.MMAP, LENT, PAGE_SIZE)
KEEPER = store(ARGUMENT, 0, 7, 0, 0, 0, 0) + call(95, ARGUMENT)


@pytest.mark.parametrize("ending", [EXIT, "unimp\n", FOREVER])
def test_pages_that_a_server_keeps_are_its_own_until_its_end(raw: RawHost, port: HostPort, ending: str):
    before = raw.monitor.platform.ownership.free_pages
    server = raw.make_server("server", KEEPER)
    pages = raw.info(server).pages
    caller = raw.make(MAP + calling("server", 7, LENT, PAGE_SIZE) + ending)
    raw.start(caller)
    while raw.info(server).pages == pages:  # on a busy machine its turn may end before it has called
        if ending == FOREVER:
            port.ecall(Extension.TIME, 0, port.time() + 10_000)
        assert raw.enter(caller, port).error == 0
    check(raw.monitor)
    assert raw.info(server).pages == pages + 1
    if ending == FOREVER:
        assert raw.call(HostCall.DESTROY, caller).error == 0
    assert raw.call(HostCall.DESTROY, caller).error == ErrorCode.NO_SUCH_ENCLAVE
    check(raw.monitor)
    assert raw.call(HostCall.DESTROY_SERVER, server).error == 0
    check(raw.monitor)
    assert raw.monitor.platform.ownership.free_pages == before


def test_what_is_given_back_is_at_its_place(raw: RawHost, port: HostPort):
    """The whole region moves, and req_size less than in the call is as good as nothing."""
    back = "mv s2, a1\nmv s3, a2\n" + store(ARGUMENT, 0, 7, "s2", "s3", 0, 0) + call(95, ARGUMENT)
    less = "mv s2, a1\nli s3, 4096\n" + store(ARGUMENT, 0, 7, "s2", "s3", 0, 0) + call(95, ARGUMENT)
    where = layout.STACK_TOP - 256 + 64
    for name, text, expected in (("back", back, LENT), ("less", less, 0)):
        raw.make_server(name, text)
        map_two = call(98, Ocall.MMAP, LENT, 2 * PAGE_SIZE)
        program = map_two + calling(name, 7, LENT, 2 * PAGE_SIZE) + load_word("a0", where + 16)
        assert raw.value_of(port, program + "li a6, 0x100101\nli a7, 99\necall\n") == expected
        check(raw.monitor)


def test_limits_hold(raw: RawHost, port: HostPort):
    eid = raw.make("1:\n" + call(98, Ocall.MMAP, 0, PAGE_SIZE) + "bgez a0, 1b\n" + EXIT)
    assert raw.call(HostCall.LIMIT, eid, Limit.PAGES, 40).error == 0
    raw.start(eid)
    assert raw.enter(eid, port) == (0, RunValue.ENDED)
    text = "li s0, 0\n1:\nmv a1, s0\nli a0, 9\nli a2, 4096\nli a6, 0x100101\nli a7, 98\necall\n"
    eid = raw.make(text + "addi s0, s0, 1\nbeqz a0, 1b\nmv a0, s0\n" + EXIT)
    assert raw.call(HostCall.LIMIT, eid, Limit.SHARED, 9).error == 0
    raw.start(eid)
    assert raw.enter(eid, port) == (0, RunValue.ENDED)
    assert raw.word(4) == 10


def test_the_stack_of_an_instance_is_as_dirty_as_the_originals_and_only_that(raw: RawHost, port: HostPort):
    shadow = raw.make_shadow(EXIT)
    eid = raw.instance(shadow)
    (record,) = [enclave for enclave in raw.monitor.enclaves() if enclave.eid == eid]
    dirty = raw.monitor.platform.profile.dirty
    assert dirty is not None
    stack = raw.board.memory.pages[record.image[-2:]]
    assert (stack == dirty).all()
    assert stack.any()
    (template,) = [enclave for enclave in raw.monitor.enclaves() if enclave.eid == shadow]
    assert raw.board.memory.pages[template.image[0]].any()
    assert not (raw.board.memory.pages[template.image[0]] == dirty).all()
