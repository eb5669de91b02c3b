"""Pages that change hands between host and enclave, and memory that they share."""

import pytest
from tests.support.bare import assemble
from tests.support.rawhost import (
    EXIT,
    RW,
    RX,
    ImageSpec,
    RawHost,
    answering,
    call,
    calling,
    lending,
    load_word,
    name_at,
    store,
)

from penglai.abi import layout
from penglai.abi.ecall import OURS, Ocall
from penglai.abi.errors import AccessFault, ErrorCode
from penglai.abi.riscv import CHUNK_SIZE, PAGE_SIZE, RAM_BASE
from penglai.abi.sbi import HostCall, ResumeReason, RunParam, RunValue
from penglai.abi.state import State
from penglai.machine import HostPort
from penglai.machine.memory import Mapping
from penglai.monitor.invariants import check

EXIT_WITH_A0 = call(99)
RETURN_RELAY = call(98, Ocall.RETURN_RELAY, OURS)
REGION = RAM_BASE + (8 << 20)
"""Pages of the host that tests use for nothing else."""
SIZE = 3 * PAGE_SIZE
MINUS_ONE = (1 << 64) - 1


@pytest.fixture
def port(raw: RawHost) -> HostPort:
    return raw.board.host_port(raw.board.harts[0])


def start(raw: RawHost, eid: int, pa: int = REGION, size: int = SIZE) -> int:
    param = raw.page()
    raw.memory.write(param, bytes(RunParam(pa, size)))
    return raw.call(HostCall.RUN, eid, param).error


READ = "ld a0, 0(a3)\n"


def test_the_enclave_has_what_the_host_wrote_and_the_host_has_it_no_more(raw: RawHost, port: HostPort):
    raw.memory.write(REGION, (1234).to_bytes(8, "little"))
    eid = raw.make(READ + call(89) + EXIT_WITH_A0)
    assert start(raw, eid) == 0
    for pa in (REGION, REGION + SIZE - 8):
        with pytest.raises(AccessFault):
            raw.memory.read(pa, 8)
        with pytest.raises(AccessFault):
            raw.memory.write(pa, bytes(8))
    raw.memory.read(REGION + SIZE, 8)
    check(raw.monitor)
    assert raw.info(eid).pages == 3 + 3


def test_where_they_lie(raw: RawHost, port: HostPort):
    eid = raw.make("sub a0, a3, a4\n" + EXIT_WITH_A0)
    start(raw, eid)
    assert raw.enter(eid, port) == (0, RunValue.ENDED)
    assert raw.word(4) == layout.RELAY_BASE - SIZE


@pytest.mark.parametrize("ending", [EXIT, "unimp\n", "destroy"])
def test_at_the_end_they_are_the_hosts_and_empty(raw: RawHost, port: HostPort, ending: str):
    raw.memory.write(REGION, b"from the host")
    before = raw.snapshot()
    eid = raw.make("li t0, 0x5ec2e7\nsd t0, 8(a3)\n" + ("1: j 1b\n" if ending == "destroy" else ending))
    start(raw, eid)
    if ending == "destroy":
        raw.call(HostCall.DESTROY, eid)
    else:
        raw.enter(eid, port)
    assert raw.memory.read(REGION, SIZE) == bytes(SIZE)
    assert raw.snapshot() == before


def test_returned_they_carry_what_the_enclave_wrote(raw: RawHost, port: HostPort):
    write = "li t0, 42\nsd t0, 0(a3)\n"
    after = "mv s0, a0\nmv s1, a1\nld a0, 0(a1)\nadd a0, a0, a2\nadd a0, a0, s0\n"
    eid = raw.make(write + RETURN_RELAY + after + EXIT_WITH_A0)
    start(raw, eid)
    assert raw.enter(eid, port) == (0, RunValue.OCALL)
    assert (raw.word(0), raw.state(eid)) == (Ocall.RETURN_RELAY, State.OCALL)
    assert raw.memory.read(REGION, 8) == (42).to_bytes(8, "little")
    check(raw.monitor)
    raw.memory.write(REGION, (7).to_bytes(8, "little"))
    again = raw.call(
        HostCall.RESUME, eid, ResumeReason.OCALL, Ocall.RETURN_RELAY, REGION, PAGE_SIZE, port=port
    )
    assert again == (0, RunValue.ENDED)
    assert raw.word(4) == 7 + PAGE_SIZE


def test_who_does_not_ask_for_their_place_keeps_every_register_but_a0(raw: RawHost, port: HostPort):
    text = (
        call(98, Ocall.RETURN_RELAY, 5, 6) + "slli a1, a1, 8\nor a0, a0, a1\nor a0, a0, a2\n" + EXIT_WITH_A0
    )
    eid = raw.make(text)
    start(raw, eid)
    assert raw.enter(eid, port) == (0, RunValue.OCALL)
    answer = (ResumeReason.OCALL, Ocall.RETURN_RELAY, REGION, SIZE)
    assert raw.call(HostCall.RESUME, eid, *answer, port=port) == (0, RunValue.ENDED)
    assert raw.word(4) == 5 << 8 | 6


def test_running_again_with_none(raw: RawHost, port: HostPort):
    eid = raw.make(RETURN_RELAY + "or a0, a0, a1\nor a0, a0, a2\n" + EXIT_WITH_A0)
    assert start(raw, eid, 0, 0) == 0
    assert raw.enter(eid, port) == (0, RunValue.OCALL)
    assert raw.answer(eid, Ocall.RETURN_RELAY, port=port) == (0, RunValue.ENDED)
    assert raw.word(4) == 0


def test_a_stop_while_the_host_has_them(raw: RawHost, port: HostPort):
    eid = raw.make(RETURN_RELAY + "ld a0, 0(a1)\n" + EXIT_WITH_A0)
    start(raw, eid)
    raw.enter(eid, port)
    assert raw.call(HostCall.STOP, eid).error == 0
    raw.memory.write(REGION, (9).to_bytes(8, "little"))
    answer = (ResumeReason.OCALL, Ocall.RETURN_RELAY, REGION, SIZE)
    assert raw.call(HostCall.RESUME, eid, *answer, port=port) == (0, RunValue.TIMER)
    assert raw.state(eid) is State.STOPPED
    assert raw.call(HostCall.RESUME, eid, ResumeReason.STOP).error == 0
    assert raw.enter(eid, port) == (0, RunValue.ENDED)
    assert raw.word(4) == 9


HIDDEN = RAM_BASE + (16 << 20) - CHUNK_SIZE
BAD_REGIONS = [
    (REGION + 8, PAGE_SIZE, ErrorCode.BAD_ARGUMENT),
    (REGION, 5, ErrorCode.BAD_ARGUMENT),
    (HIDDEN, PAGE_SIZE, ErrorCode.SECURITY),
    (HIDDEN - PAGE_SIZE, 2 * PAGE_SIZE, ErrorCode.SECURITY),
    (0, PAGE_SIZE, ErrorCode.SECURITY),
    (RAM_BASE + (16 << 20), PAGE_SIZE, ErrorCode.SECURITY),
    ((1 << 64) - PAGE_SIZE, 2 * PAGE_SIZE, ErrorCode.SECURITY),
    (REGION, 1 << 63, ErrorCode.BAD_ARGUMENT),
]


@pytest.mark.parametrize(("pa", "size", "error"), BAD_REGIONS, ids=str)
def test_what_is_not_the_hosts_cannot_be_given(raw: RawHost, port: HostPort, pa: int, size: int, error: int):
    eid = raw.make(RETURN_RELAY + EXIT)
    before = raw.snapshot()
    assert start(raw, eid, pa, size) == error
    assert (raw.snapshot(), raw.state(eid)) == (before, State.FRESH)
    assert start(raw, eid, 0, 0) == 0
    raw.enter(eid, port)
    answer = (ResumeReason.OCALL, Ocall.RETURN_RELAY, pa, size)
    assert raw.call(HostCall.RESUME, eid, *answer, port=port).error == error
    assert (raw.snapshot(), raw.state(eid)) == (before, State.OCALL)


def test_what_is_in_use_elsewhere_cannot_be_given(raw: RawHost):
    first, second = raw.make(EXIT), raw.make(EXIT)
    buffer = int(raw.kernel_buffer)
    assert start(raw, first) == 0
    for pa in (REGION, buffer):
        assert start(raw, second, pa, PAGE_SIZE) == ErrorCode.SECURITY
    check(raw.monitor)


def test_a_page_that_a_program_of_the_host_has_mapped_cannot_be_given(raw: RawHost):
    mapping = raw.memory.map(REGION, SIZE, Mapping)
    eid = raw.make(EXIT)
    assert start(raw, eid) == ErrorCode.SECURITY
    chunk = REGION & -CHUNK_SIZE
    assert raw.call(HostCall.MEMORY_EXTEND, chunk, CHUNK_SIZE).error == ErrorCode.SECURITY
    view = memoryview(mapping)
    with pytest.raises(BufferError):
        mapping.close()
    assert start(raw, eid) == ErrorCode.SECURITY
    view.release()
    mapping.close()
    mapping.close()
    assert start(raw, eid) == 0
    with pytest.raises(AccessFault):
        raw.memory.map(REGION, SIZE, Mapping)


def test_pages_that_others_planted_do_not_go_back_with_the_enclaves_own(raw: RawHost, port: HostPort):
    """An attacker's relay pages come through an honest server to a victim, which keeps a secret on them."""
    page, where = 0x2000, layout.STACK_TOP - 256
    post = (
        "beqz a1, 1f\n"
        + store(page, "a1", "a2")
        + answering("x0")
        + "1:\n"
        + load_word("s2", page)
        + load_word("s3", page + 8)
        + answering("x0", "s2", "s3")
    )
    raw.make_server("post", ImageSpec({0x1000: (RX, assemble(post)), page: (RW, bytes(7) + b"\1")}))
    plant = "mv s5, a3\nmv s6, a4\n" + name_at(where, "post") + store(where + 64, 0, 0, "s5", "s6", 0, 0)
    keep = calling("post", 0) + load_word("s4", where + 64 + 32) + "li t0, 0x5ec2e7\nsd t0, 0(s4)\n"
    attacker = raw.make(plant + call(93, where, where + 64) + EXIT)
    victim = raw.make(keep + RETURN_RELAY + "ld a0, 0(s4)\n" + EXIT_WITH_A0)
    planted, own = REGION + SIZE, REGION + 2 * SIZE
    assert start(raw, attacker, planted, PAGE_SIZE) == 0
    assert raw.enter(attacker, port) == (0, RunValue.ENDED)
    assert start(raw, victim, own, PAGE_SIZE) == 0
    assert raw.enter(victim, port) == (0, RunValue.OCALL)
    assert raw.memory.owns(own, PAGE_SIZE)
    assert not raw.memory.owns(planted, PAGE_SIZE)
    check(raw.monitor)
    assert raw.answer(victim, Ocall.RETURN_RELAY, port=port) == (0, RunValue.ENDED)
    assert raw.word(4) == 0x5EC2E7, "it still has its secret"
    assert raw.memory.read(planted, PAGE_SIZE) == bytes(PAGE_SIZE), "and at its end it is scrubbed"


def test_pages_that_come_home_from_a_server_go_back(raw: RawHost, port: HostPort):
    raw.make_server("helper", answering("x0"))
    eid = raw.make("mv s6, a3\nmv s7, a4\n" + lending("helper", "s6", "s7") + RETURN_RELAY + EXIT)
    assert start(raw, eid) == 0
    assert raw.enter(eid, port) == (0, RunValue.OCALL)
    assert raw.memory.owns(REGION, SIZE)


def test_pages_in_many_pieces_all_go_back(raw: RawHost, port: HostPort):
    cut = call(92, "mv a0, s6", SIZE, "li t0, 4096\nadd a2, s6, t0")
    eid = raw.make("mv s6, a3\n" + cut + RETURN_RELAY + EXIT)
    assert start(raw, eid) == 0
    assert raw.enter(eid, port) == (0, RunValue.OCALL)
    assert raw.memory.owns(REGION, SIZE)
    check(raw.monitor)


def test_they_can_be_lent_to_a_server(raw: RawHost, port: HostPort):
    raw.make_server("server", "ld t2, 0(a1)\naddi t2, t2, 1\nsd t2, 0(a1)\n" + answering("x0"))
    raw.memory.write(REGION, (41).to_bytes(8, "little"))
    text = "mv s2, a3\nmv s3, a4\n" + lending("server", "s2", "s3") + RETURN_RELAY + EXIT
    eid = raw.make(text)
    start(raw, eid)
    assert raw.enter(eid, port) == (0, RunValue.OCALL)
    assert raw.memory.read(REGION, 8) == (42).to_bytes(8, "little")
    check(raw.monitor)


def test_a_response_keeps_clear_of_what_is_lent(raw: RawHost, port: HostPort):
    """The host's relay pages lie where responses go; lent, their place stays theirs."""
    give = call(98, Ocall.MMAP, 0, PAGE_SIZE) + "li t2, 99\nsd t2, 0(a0)\nmv a3, a0\nli a4, 4096\n"
    raw.make_server("server", give + answering("x0", "a3", "a4"))
    raw.memory.write(REGION, (41).to_bytes(8, "little"))
    where = layout.STACK_TOP - 256
    text = (
        "mv s2, a3\nmv s3, a4\n"
        + lending("server", "s2", "s3")
        + f"li t1, {where + 64 + 32}\nld t1, 0(t1)\nld a0, 0(t1)\nld t0, 0(s2)\nadd a0, a0, t0\n"
        + EXIT_WITH_A0
    )
    eid = raw.make(text)
    start(raw, eid)
    assert raw.enter(eid, port) == (0, RunValue.ENDED)
    assert raw.word(4) == 99 + 41
    check(raw.monitor)


class TestSharedMemory:
    """Memory of the host that stays the host's and is mapped in enclaves."""

    def make(self, raw: RawHost, text: str, pa: int = REGION, size: int = SIZE) -> int:
        result = raw.create(text, shm_paddr=pa, shm_size=size)
        assert result.error == 0
        return result.value

    def test_both_see_what_the_other_writes(self, raw: RawHost, port: HostPort):
        loop = "1: ld t0, 0(a0)\nsd t0, 8(a0)\nsd a1, 16(a0)\nmv s0, a0\n" + call(89) + "mv a0, s0\nj 1b\n"
        eids = [self.make(raw, loop) for _ in range(2)]
        for eid in eids:
            raw.start(eid)
        for value in (5, 77):
            for eid in eids:
                raw.memory.write(REGION, value.to_bytes(8, "little") + bytes(16))
                assert raw.enter(eid, port) == (0, RunValue.YIELD)
                expected = value.to_bytes(8, "little") + SIZE.to_bytes(8, "little")
                assert raw.memory.read(REGION + 8, 16) == expected
        check(raw.monitor)
        for eid in eids:
            raw.call(HostCall.DESTROY, eid)
        check(raw.monitor)

    def test_it_lies_where_the_abi_says_and_is_not_measured(self, raw: RawHost, port: HostPort):
        eid = self.make(raw, EXIT_WITH_A0)
        other = raw.make(EXIT_WITH_A0)
        assert bytes(raw.info(eid).measurement) == bytes(raw.info(other).measurement)
        raw.start(eid)
        raw.enter(eid, port)
        assert raw.word(4) == layout.SHARED_BASE

    def test_it_is_not_scrubbed_and_not_given_away(self, raw: RawHost):
        raw.memory.write(REGION, b"the host's")
        eid = self.make(raw, EXIT)
        other = raw.make(EXIT)
        assert start(raw, other) == ErrorCode.SECURITY
        assert raw.call(HostCall.MEMORY_EXTEND, REGION & -CHUNK_SIZE, CHUNK_SIZE).error == ErrorCode.SECURITY
        raw.call(HostCall.DESTROY, eid)
        assert raw.memory.read(REGION, 10) == b"the host's"
        assert start(raw, other) == 0

    def test_a_kernel_buffer_is_none(self, raw: RawHost):
        raw.make(EXIT)
        before = raw.snapshot()
        result = raw.create(EXIT, shm_paddr=int(raw.kernel_buffer), shm_size=PAGE_SIZE)
        assert result.error in (0, ErrorCode.SECURITY)
        if result.error:
            assert raw.snapshot()[2] == before[2]


def test_reclaim_gives_whole_chunks_back(raw: RawHost):
    ownership = raw.monitor.platform.ownership
    eid = raw.make(EXIT)
    chunks = []
    while pa := raw.call(HostCall.MEMORY_RECLAIM).value:
        assert raw.memory.read(pa, CHUNK_SIZE) == bytes(CHUNK_SIZE)
        chunks.append(pa)
        check(raw.monitor)
    assert len(chunks) == 1, "the other one is in use"
    assert raw.call(HostCall.MEMORY_EXTEND, chunks[0], CHUNK_SIZE).error == 0
    raw.call(HostCall.DESTROY, eid)
    while raw.call(HostCall.MEMORY_RECLAIM).value:
        check(raw.monitor)
    assert ownership.free_pages == 0
    assert (ownership.snapshot() == 0).all()


def test_want_of_memory_leaves_the_pages_with_the_host(raw: RawHost, port: HostPort):
    """The enclave's table needs pages to map them: none are left, then the host gives some."""
    raw.memory.write(REGION, (1234).to_bytes(8, "little"))
    eid = raw.make(READ + EXIT_WITH_A0)
    ownership = raw.monitor.platform.ownership
    hoard = ownership.take(ownership.free_pages, -1)
    assert start(raw, eid) == ErrorCode.NO_MEMORY
    assert raw.memory.read(REGION, 8) == (1234).to_bytes(8, "little")
    assert raw.state(eid) is State.FRESH
    ownership.release((hoard, -1))
    check(raw.monitor)
    assert start(raw, eid) == 0
    assert raw.enter(eid, port) == (0, RunValue.ENDED)
    assert raw.word(4) == 1234
