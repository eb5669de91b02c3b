"""Calls of servers, at the monitor's own door: who runs, who waits, whose the pages are."""

import pytest
from tests.support.rawhost import (
    ARGUMENT,
    EXIT,
    FOREVER,
    RW,
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

from penglai.abi import layout
from penglai.abi.ecall import Ocall
from penglai.abi.errors import ErrorCode
from penglai.abi.limits import Limit
from penglai.abi.riscv import PAGE_SIZE, Pte
from penglai.abi.sbi import EnclaveType, HostCall, ResumeReason, RunValue
from penglai.abi.state import State
from penglai.machine import HostPort
from penglai.monitor.invariants import check

MINUS_ONE, MINUS_TWO = (1 << 64) - 1, (1 << 64) - 2
ANSWER = layout.STACK_TOP - 256 + 64
"""Where `calling` keeps its call_arg."""
RESP_VAL, RESP_VADDR, RESP_SIZE = ANSWER + 8, ANSWER + 32, ANSWER + 40

EXIT_WITH_A0 = call(99)
WRITE = call(98, Ocall.WRITE)
MMAP = call(98, Ocall.MMAP, 0, PAGE_SIZE)
DOUBLE = "slli a3, a0, 1\n" + answering("a3")


@pytest.fixture
def port(raw: RawHost) -> HostPort:
    return raw.board.host_port(raw.board.harts[0])


def run(raw: RawHost, port: HostPort, text: str | ImageSpec) -> int:
    return raw.value_of(port, text)


def in_server(raw: RawHost, port: HostPort, text: str, passing: str = "") -> tuple[int, int]:
    """(caller, server): the caller has called, and the server waits for an ocall."""
    server = raw.make_server("server", WRITE + text)
    caller = raw.make(passing or calling("server") + EXIT_WITH_A0)
    raw.start(caller)
    assert raw.enter(caller, port) == (0, RunValue.OCALL)
    assert raw.state(server) is State.BUSY
    check(raw.monitor)
    return caller, server


PASSING = (
    MMAP
    + "mv s2, a0\nli t0, 41\nsd t0, 0(s2)\n"
    + name_at(ANSWER - 64, "server")
    + call(97, ANSWER - 64)
    + store(ANSWER, 7, 0, "s2", PAGE_SIZE, 0, 0)
    + call(96, "", ANSWER)
)
"""Maps a page (address in s2) with 41 on it and passes it to the server."""


def test_a_call_carries_a_number_there_and_back(raw: RawHost, port: HostPort):
    raw.make_server("double", DOUBLE)
    value = run(raw, port, calling("double", 21) + load_word("a0", RESP_VAL) + EXIT_WITH_A0)
    assert value == 42
    assert run(raw, port, calling("double", 21) + EXIT_WITH_A0) == 0, "the result of a call that went well"


def test_a_server_begins_with_the_registers_of_the_abi_and_the_caller_keeps_its_own(
    raw: RawHost, port: HostPort
):
    others = [n for n in range(1, 32) if n not in (2, 10, 11, 12, 31)]
    nothing = "".join(f"or t6, t6, x{n}\n" for n in others)
    floats = "".join(f"fmv.x.d t0, f{n}\nor t6, t6, t0\n" for n in range(32))
    raw.make_server("nosy", nothing + floats + "mv a3, t6\n" + answering("a3"))
    marks = "".join(f"li s{n}, {0x1234500 + n}\n" for n in range(2, 12)) + "li t0, 7\nfmv.d.x f5, t0\n"
    same = "li a0, 0\n" + "".join(
        f"li t0, {0x1234500 + n}\nsub t0, t0, s{n}\nor a0, a0, t0\n" for n in range(2, 12)
    )
    text = marks + calling("nosy") + same + "fmv.x.d t0, f5\naddi t0, t0, -7\nor a0, a0, t0\n"
    assert run(raw, port, text + load_word("t0", RESP_VAL) + "or a0, a0, t0\n" + EXIT_WITH_A0) == 0


def test_what_a_server_keeps_in_memory_it_finds_again(raw: RawHost, port: HostPort):
    count = load_word("a3", 0x3000) + "addi a3, a3, 1\nsd a3, 0(t1)\n" + answering("a3")
    image = program(count)
    image.pages[0x3000] = (RW, b"\0")
    raw.make_server("counter", image)
    again = call(96, "mv a0, s1", ANSWER)
    assert run(raw, port, calling("counter") + again * 4 + load_word("a0", RESP_VAL) + EXIT_WITH_A0) == 5
    assert run(raw, port, calling("counter") + load_word("a0", RESP_VAL) + EXIT_WITH_A0) == 6


def test_caller_and_own_id(raw: RawHost, port: HostPort):
    inner = raw.make_server("inner", call(91) + "mv a3, a0\n" + answering("a3"))
    outer_text = (
        calling("inner") + load_word("a4", RESP_VAL) + call(90) + "sub a3, a4, a0\n" + answering("a3")
    )
    outer = raw.make_server("outer", outer_text)
    assert outer == inner + 1
    assert run(raw, port, calling("outer") + load_word("a0", RESP_VAL) + EXIT_WITH_A0) == 0
    direct = raw.make(calling("inner") + load_word("a0", RESP_VAL) + EXIT_WITH_A0)
    raw.start(direct)
    raw.enter(direct, port)
    assert raw.word(4) == direct
    assert run(raw, port, call(91) + EXIT_WITH_A0) == MINUS_ONE, "nobody calls a normal enclave"


def test_a_server_that_is_called_is_busy_for_others_and_for_itself(raw: RawHost, port: HostPort):
    raw.make_server("self", calling("self") + "mv a3, a0\n" + answering("a3"))
    assert run(raw, port, calling("self") + load_word("a0", RESP_VAL) + EXIT_WITH_A0) == MINUS_TWO
    in_server(raw, port, DOUBLE)
    assert run(raw, port, calling("server") + EXIT_WITH_A0) == MINUS_TWO


def test_a_chain_that_bites_its_tail_is_busy(raw: RawHost, port: HostPort):
    raw.make_server("a", calling("b") + load_word("a3", RESP_VAL) + answering("a3"))
    raw.make_server("b", calling("a") + "mv a3, a0\n" + answering("a3"))
    assert run(raw, port, calling("a") + load_word("a0", RESP_VAL) + EXIT_WITH_A0) == MINUS_TWO


def test_names_are_unique_among_servers(raw: RawHost):
    server = raw.make_server("one", DOUBLE)
    before = raw.snapshot()
    paddr, size = raw.stage(program(DOUBLE))
    for name, error in ((b"one", ErrorCode.EXISTS), (b"", ErrorCode.BAD_ARGUMENT)):
        assert raw.call(HostCall.CREATE_SERVER, raw.param(paddr, size, name=name, type=1)).error == error
    assert raw.snapshot() == before
    assert raw.call(HostCall.DESTROY_SERVER, server).error == 0
    raw.make_server("one", DOUBLE)
    raw.make(EXIT)


def test_names_of_other_bytes_are_other_names(raw: RawHost):
    """One of them is no UTF-8, and the other is how it is written down."""
    for name in (b"\xff", b"\\xff", b"\\\\xff"):
        paddr, size = raw.stage(program(EXIT))
        param = raw.param(paddr, size, name=name, type=EnclaveType.SERVER)
        assert raw.call(HostCall.CREATE_SERVER, param).error == 0, name


def test_a_refused_server_leaves_its_name_free(raw: RawHost):
    paddr, size = raw.stage(program(DOUBLE, bits={0x9000: Pte.R | Pte.W | Pte.X | Pte.U | Pte.V}))
    assert raw.call(HostCall.CREATE_SERVER, raw.param(paddr, size, name=b"one", type=1)).error < 0
    raw.make_server("one", DOUBLE)


@pytest.mark.parametrize("name", ["nobody", "serve", "server1", ""])
def test_acquiring_nobody(raw: RawHost, port: HostPort, name: str):
    raw.make_server("server", DOUBLE)
    raw.make(program(EXIT))
    assert run(raw, port, name_at(ARGUMENT, name) + call(97, ARGUMENT) + EXIT_WITH_A0) == MINUS_ONE


NAME, REPORT, MEASURED = layout.STACK_TOP - 1024, layout.STACK_TOP - 8192, layout.STACK_TOP - 8192 + 512
ONE, OTHER = "li s0, 1\n" + answering("s0"), "li s0, 1001\n" + answering("s0")


def measured(raw: RawHost, eid: int) -> str:
    """Stores the measurement of a server at MEASURED."""
    digest = bytes(raw.info(eid).measurement)
    return store(MEASURED, *(int.from_bytes(digest[n : n + 8], "little") for n in range(0, 32, 8)))


def swapped(raw: RawHost, port: HostPort, text: str) -> tuple[int, int]:
    """Run a client that yields once; meanwhile the server "vault" becomes another.  (its end, its value)"""
    server = raw.make_server("vault", ONE)
    eid = raw.make(ImageSpec(program(text.replace("@measured", measured(raw, server))).pages, stack_pages=4))
    raw.start(eid)
    assert raw.enter(eid, port) == (0, RunValue.YIELD)
    assert raw.call(HostCall.DESTROY_SERVER, server).error == 0
    raw.make_server("vault", OTHER)
    result = raw.enter(eid, port)
    assert result == (0, RunValue.ENDED), result
    check(raw.monitor)
    return result.value, raw.word(4)


ACQUIRE_MEASURED = "@measured" + name_at(NAME, "vault") + call(4, NAME, MEASURED) + "mv s1, a0\n"
CALL_HANDLE = store(ANSWER, 7, 0, 0, 0, 0, 0) + call(96, "mv a0, s1", ANSWER)


def test_a_server_is_acquired_by_its_measurement(raw: RawHost, port: HostPort):
    server = raw.make_server("vault", ONE)
    text = (
        ACQUIRE_MEASURED.replace("@measured", measured(raw, server)) + CALL_HANDLE + load_word("a0", RESP_VAL)
    )
    assert run(raw, port, ImageSpec(program(text + EXIT_WITH_A0).pages, stack_pages=4)) == 1


@pytest.mark.parametrize("byte", [0, 31])
def test_a_server_of_another_measurement_is_not_acquired(raw: RawHost, port: HostPort, byte: int):
    server = raw.make_server("vault", ONE)
    flip = f"li t1, {MEASURED + byte}\nlbu t0, 0(t1)\nxori t0, t0, 1\nsb t0, 0(t1)\n"
    text = measured(raw, server) + flip + name_at(NAME, "vault") + call(4, NAME, MEASURED) + EXIT_WITH_A0
    assert run(raw, port, ImageSpec(program(text).pages, stack_pages=4)) == MINUS_ONE
    assert run(raw, port, name_at(NAME, "vault") + call(4, NAME, 0) + EXIT_WITH_A0) == MINUS_ONE


def test_a_handle_means_its_server_for_ever(raw: RawHost, port: HostPort):
    _, value = swapped(raw, port, ACQUIRE_MEASURED + call(89) + CALL_HANDLE + EXIT_WITH_A0)
    assert value == MINUS_ONE, "the call of the one that was measured fails; the other one is not called"


def test_after_a_report_the_name_means_the_server_that_was_reported_on(raw: RawHost, port: HostPort):
    report = name_at(NAME, "vault") + call(94, NAME, REPORT, 99)
    assert swapped(raw, port, report + call(89) + call(97, NAME) + EXIT_WITH_A0)[1] == MINUS_ONE
    again = report + call(89) + call(94, NAME, REPORT, 99) + call(97, NAME) + "mv s1, a0\n" + CALL_HANDLE
    raw.call(HostCall.DESTROY_SERVER, next(e.eid for e in raw.monitor.enclaves()))
    assert swapped(raw, port, again + load_word("a0", RESP_VAL) + EXIT_WITH_A0)[1] == 1001, "a new report"


def test_after_a_report_an_asynchronous_call_goes_to_that_server_or_nowhere(raw: RawHost, port: HostPort):
    report = name_at(NAME, "vault") + call(94, NAME, REPORT, 99)
    send = store(ANSWER, 7, 0, 0, 0, 0, 0) + call(93, NAME, ANSWER)
    assert swapped(raw, port, report + call(89) + send + EXIT_WITH_A0)[1] == MINUS_ONE
    assert not raw.monitor.platform.registry.parcels


def test_handles_of_dead_servers_do_not_count(raw: RawHost, port: HostPort):
    assert raw.call(HostCall.LIMIT, 0, Limit.HANDLES, 2).error == 0
    made = [raw.make_server(f"server{number}", DOUBLE) for number in range(3)]
    acquire = [name_at(NAME, f"server{number}") + call(97, NAME) for number in range(3)]
    text = "".join(acquire[:2]) + acquire[2] + "mv s2, a0\n" + call(89) + acquire[2] + "slt s2, s2, x0\n"
    eid = raw.make(text + "sub a0, a0, s2\n" + EXIT_WITH_A0)
    raw.start(eid)
    assert raw.enter(eid, port) == (0, RunValue.YIELD)
    assert raw.call(HostCall.DESTROY_SERVER, made[0]).error == 0
    assert raw.enter(eid, port) == (0, RunValue.ENDED)
    assert raw.word(4) == made[2] - 1, "refused first, then acquired"


def test_a_handle_has_to_be_acquired(raw: RawHost, port: HostPort):
    server = raw.make_server("server", DOUBLE)
    argument = store(ARGUMENT, 1, 0, 0, 0, 0, 0)
    for handle in (server, 0, server + 1, MINUS_ONE):
        assert run(raw, port, argument + call(96, handle, ARGUMENT) + EXIT_WITH_A0) == MINUS_ONE


BAD_POINTERS = [
    0,
    8,
    layout.TEXT_BASE,  # readable, not writable
    layout.STACK_TOP,
    layout.STACK_TOP - 40,  # its end is not mapped
    layout.HEAP_BASE,
    1 << 38,
    layout.KERNEL_BUFFER + PAGE_SIZE - 8,
    1 << 63,
    MINUS_ONE,
    MINUS_ONE - 7,
    0x8000_0000,
    *(ARGUMENT | 1 << bit for bit in (39, 40, 63)),  # good, but for bits that are not bit 38's
    ARGUMENT | ((1 << 25) - 1) << 39,
]


@pytest.mark.parametrize("pointer", BAD_POINTERS, ids=hex)
def test_bad_pointers_are_refused_and_nothing_changes(raw: RawHost, port: HostPort, pointer: int):
    raw.make_server("server", DOUBLE)
    acquired = name_at(ARGUMENT, "server") + call(97, ARGUMENT) + "mv s1, a0\n"
    for text in (
        call(96, "mv a0, s1", pointer),
        call(94, 0, pointer, 1),
        call(93, ARGUMENT, pointer),
        call(88, 0, pointer, 4096),
        call(98, Ocall.GETRANDOM, pointer, 48),
        call(95, pointer),
        call(97, pointer),
        call(94, pointer, ARGUMENT, 1),
    ):
        if text == call(94, 0, ARGUMENT, 1):
            continue  # no name is its own report, at a good place
        assert run(raw, port, acquired + text + EXIT_WITH_A0) == MINUS_ONE, text


def test_a_bad_answer_leaves_the_server_running(raw: RawHost, port: HostPort):
    tries = "".join(call(95, pointer) + "and s0, s0, a0\n" for pointer in BAD_POINTERS if pointer != 0x1000)
    raw.make_server("server", "li s0, -1\n" + tries + "mv a3, s0\n" + answering("a3"))
    assert run(raw, port, calling("server") + load_word("a0", RESP_VAL) + EXIT_WITH_A0) == MINUS_ONE


@pytest.mark.parametrize("address", [layout.STACK_TOP - PAGE_SIZE, 8, (1 << 64) - 1])
def test_an_answer_with_pages_that_are_none_is_one_without(raw: RawHost, port: HostPort, address: int):
    """Programs leave in resp_vaddr and resp_size what their stack had."""
    raw.make_server("server", store(ARGUMENT, 0, 5, 0, 0, address, PAGE_SIZE) + call(95, ARGUMENT))
    words = "".join(load_word(f"s{2 + n}", RESP_VAL + offset) for n, offset in enumerate((0, 24, 32)))
    text = calling("server") + words + "or a0, a0, s2\nor a0, a0, s3\nor a0, a0, s4\n" + EXIT_WITH_A0
    assert run(raw, port, text) == 5


def test_a_server_finds_its_own_shared_memory_at_each_call(raw: RawHost, port: HostPort):
    shm, _ = raw.page(), raw.page()
    raw.make_server("server", "sub a3, a3, a4\n" + answering("a3"), shm_paddr=shm, shm_size=2 * PAGE_SIZE)
    text = calling("server") + load_word("a0", RESP_VAL) + EXIT_WITH_A0
    for _ in range(2):
        assert run(raw, port, text) == layout.SHARED_BASE - 2 * PAGE_SIZE


class TestPages:
    """Pages that go with a call."""

    ADD_ONE = "ld t2, 0(a1)\naddi t2, t2, 1\nsd t2, 0(a1)\nmv a3, a0\n" + answering("a3")

    def test_they_are_lent_for_the_length_of_the_call(self, raw: RawHost, port: HostPort):
        caller, server = in_server(raw, port, "mv s0, a0\n", PASSING + "ld a0, 0(s2)\n" + EXIT_WITH_A0)
        records = {enclave.eid: enclave for enclave in raw.monitor.enclaves()}
        assert len(list(records[caller].regions)) == 0
        (region,) = records[server].regions
        assert (region.start, region.lent) == (layout.RELAY_BASE, True)
        owner = raw.monitor.platform.ownership.snapshot()
        assert owner[records[server].table.pages_at(region.start, 1)].tolist() == [server]

    def test_what_the_server_wrote_is_there_when_they_come_back(self, raw: RawHost, port: HostPort):
        raw.make_server("server", self.ADD_ONE)
        again = store(ANSWER, 7, 0, "s2", PAGE_SIZE, 0, 0) + "mv a0, s1\n"
        text = PASSING.replace("li a7, 96", "mv s1, a0\nli a7, 96")
        assert run(raw, port, text + "ld a0, 0(s2)\n" + EXIT_WITH_A0) == 42
        assert run(raw, port, text + again + call(96, "", ANSWER) + "ld a0, 0(s2)\n" + EXIT_WITH_A0) == 43

    def test_a_response_of_the_same_pages_is_at_the_old_address(self, raw: RawHost, port: HostPort):
        raw.make_server("server", answering("a0", "a1", "a2"))
        text = PASSING + load_word("a3", RESP_VADDR) + "sub a0, a3, s2\n" + EXIT_WITH_A0
        assert run(raw, port, text) == 0

    def test_a_response_of_other_pages_is_the_callers_for_good(self, raw: RawHost, port: HostPort):
        give = MMAP + "li t2, 99\nsd t2, 0(a0)\nmv a3, a0\nli a4, 4096\n" + answering("x0", "a3", "a4")
        server = raw.make_server("server", give)
        fetch = load_word("a3", RESP_VADDR) + "ld a0, 0(a3)\n"
        assert run(raw, port, calling("server") + fetch + EXIT_WITH_A0) == 99
        text = calling("server") + load_word("a0", RESP_VADDR) + EXIT_WITH_A0
        assert run(raw, port, text) == layout.RELAY_BASE
        text = calling("server") + load_word("a0", RESP_SIZE) + EXIT_WITH_A0
        assert run(raw, port, text) == PAGE_SIZE
        assert raw.info(server).pages == 3, "nothing is left with the server"

    def test_pages_that_the_server_lets_go_are_gone(self, raw: RawHost, port: HostPort):
        raw.make_server("server", call(98, Ocall.UNMAP, "mv a1, a1", PAGE_SIZE) + answering("x0"))
        eid = raw.make(PASSING + "ld a0, 0(s2)\n" + EXIT_WITH_A0)
        raw.start(eid)
        assert raw.enter(eid, port) == (0, RunValue.FAULTED)
        check(raw.monitor)

    def test_passing_on_what_was_lent(self, raw: RawHost, port: HostPort):
        """A server lends to another one what was lent to it: it comes home through both."""
        raw.make_server("far", self.ADD_ONE)
        pass_on = (
            "mv s2, a1\nmv s3, a2\n"
            + name_at(ANSWER - 64, "far")
            + call(97, ANSWER - 64)
            + store(ANSWER, 7, 0, "s2", "s3", 0, 0)
            + call(96, "", ANSWER)
            + "mv a1, s2\n"
            + self.ADD_ONE
        )
        raw.make_server("server", pass_on)
        assert run(raw, port, PASSING + "ld a0, 0(s2)\n" + EXIT_WITH_A0) == 43

    def test_a_part_that_was_split_off_comes_home_too(self, raw: RawHost, port: HostPort):
        two = PASSING.replace(f"li a2, {PAGE_SIZE}", f"li a2, {2 * PAGE_SIZE}").replace(
            f"li t0, {PAGE_SIZE}", f"li t0, {2 * PAGE_SIZE}"
        )
        assert two != PASSING
        split = (
            "mv s2, a1\nli s3, 4096\nadd s4, s2, s3\n"
            + call(92, "mv a0, s2", 2 * PAGE_SIZE, "mv a2, s4")
            + "mv s5, a0\n"
            + call(98, Ocall.UNMAP, "mv a1, s2", PAGE_SIZE)
            + "or s5, s5, a0\nli t2, 5\nsd t2, 0(s4)\n"
            + answering("s5", "s4", "s3")
        )
        raw.make_server("server", split)
        fetch = load_word("a3", RESP_VADDR) + "ld a0, 0(a3)\nsub a3, a3, s2\nadd a0, a0, a3\n"
        assert run(raw, port, two + fetch + EXIT_WITH_A0) == 5 + PAGE_SIZE

    @pytest.mark.parametrize(
        ("address", "size"),
        [
            (layout.STACK_TOP - PAGE_SIZE, PAGE_SIZE),
            (layout.TEXT_BASE, PAGE_SIZE),
            (layout.HEAP_BASE, PAGE_SIZE),
            (layout.KERNEL_BUFFER, PAGE_SIZE),
            (layout.MMAP_TOP - 2 * PAGE_SIZE, PAGE_SIZE),
            (layout.MMAP_TOP - 2 * PAGE_SIZE, 3 * PAGE_SIZE),
            (layout.MMAP_TOP - PAGE_SIZE, PAGE_SIZE),
            (layout.MMAP_TOP - 2 * PAGE_SIZE + 8, 2 * PAGE_SIZE - 8),
            (layout.MMAP_TOP - 2 * PAGE_SIZE, MINUS_ONE),
            (0, PAGE_SIZE),
            (MINUS_ONE, MINUS_ONE),
        ],
    )
    def test_only_a_whole_region_can_be_passed(self, raw: RawHost, port: HostPort, address: int, size: int):
        raw.make_server("server", DOUBLE)
        heap = call(98, Ocall.SBRK, PAGE_SIZE) + call(98, Ocall.MMAP, 0, 2 * PAGE_SIZE)
        assert run(raw, port, heap + calling("server", 1, address, size) + EXIT_WITH_A0) == MINUS_ONE

    def test_the_argument_must_not_lie_on_the_pages(self, raw: RawHost, port: HostPort):
        raw.make_server("server", DOUBLE)
        text = (
            MMAP
            + "mv s2, a0\n"
            + name_at(ANSWER - 64, "server")
            + call(97, ANSWER - 64)
            + "sd s2, 16(s2)\nli t0, 4096\nsd t0, 24(s2)\n"
            + call(96, "", "mv a1, s2")
        )
        assert run(raw, port, text + EXIT_WITH_A0) == MINUS_ONE

    def test_a_call_for_which_memory_has_to_be_found(self, raw: RawHost, port: HostPort):
        """The server's tables need a page; the pool is empty; the host gives a chunk, or has none."""
        for given, expected in ((False, MINUS_ONE), (True, 0)):
            server = raw.make_server("server", DOUBLE)
            caller = raw.make(PASSING + EXIT_WITH_A0)
            raw.start(caller)
            ownership = raw.monitor.platform.ownership
            drain = ownership.free_pages - 1 - 2  # the caller's mmap takes a page and perhaps two tables
            hoard = ownership.take(drain, -1)
            result = raw.enter(caller, port)
            while result == (0, RunValue.OCALL):
                assert raw.word(0) == Ocall.SBRK
                if given:
                    raw.give_chunk()
                result = raw.answer(caller, Ocall.SBRK, raw.word(1) if given else 0, port)
            assert result == (0, RunValue.ENDED)
            assert raw.word(4) == expected
            ownership.release((hoard, -1))
            raw.call(HostCall.DESTROY_SERVER, server)
            check(raw.monitor)


class TestLifeCycleInAChain:
    """Stop, resume and destroy of a caller whose server runs."""

    def test_a_stop_stops_the_chain_and_resume_goes_on_in_the_server(self, raw: RawHost, port: HostPort):
        caller, server = in_server(
            raw, port, DOUBLE, calling("server", 4) + load_word("a0", RESP_VAL) + EXIT_WITH_A0
        )
        assert raw.call(HostCall.STOP, caller).error == 0
        assert raw.answer(caller) == (0, RunValue.TIMER), "the answer is kept"
        assert raw.enter(caller, port).error == ErrorCode.GENERIC
        assert raw.state(server) is State.BUSY
        assert raw.call(HostCall.RESUME, caller, ResumeReason.STOP).error == 0
        assert raw.enter(caller, port) == (0, RunValue.ENDED)
        assert raw.word(4) == 0, "a0 was the result of the server's ocall"
        assert raw.state(server) is State.IDLE

    def test_destroying_the_caller_leaves_the_server_callable(self, raw: RawHost, port: HostPort):
        caller, server = in_server(raw, port, DOUBLE, PASSING + EXIT_WITH_A0)
        assert raw.call(HostCall.DESTROY, caller).error == 0
        check(raw.monitor)
        assert raw.state(server) is State.IDLE
        assert raw.info(server).pages == 3
        again = raw.make(calling("server") + EXIT_WITH_A0)
        raw.start(again)
        assert raw.enter(again, port) == (0, RunValue.OCALL)
        assert raw.answer(again, port=port) == (0, RunValue.ENDED)

    def test_destroying_the_bottom_of_a_long_chain(self, raw: RawHost, port: HostPort):
        servers = [
            raw.make_server("far", WRITE + FOREVER),
            raw.make_server("middle", calling("far") + FOREVER),
            raw.make_server("server", calling("middle") + FOREVER),
        ]
        before = raw.snapshot()
        caller = raw.make(PASSING + EXIT)
        raw.start(caller)
        assert raw.enter(caller, port) == (0, RunValue.OCALL)
        assert [raw.state(server) for server in servers] == [State.BUSY] * 3
        assert raw.call(HostCall.DESTROY, caller).error == 0
        assert [raw.state(server) for server in servers] == [State.IDLE] * 3
        assert raw.snapshot()[2] == before[2]
        check(raw.monitor)

    def test_a_busy_server_cannot_be_destroyed(self, raw: RawHost, port: HostPort):
        caller, server = in_server(raw, port, DOUBLE)
        assert raw.call(HostCall.DESTROY_SERVER, server).error == ErrorCode.GENERIC
        assert raw.answer(caller, port=port) == (0, RunValue.ENDED)
        assert raw.call(HostCall.DESTROY_SERVER, server).error == 0

    @pytest.mark.parametrize("ending", ["unimp\n", EXIT, "ld a0, 0(x0)\n", "li a6, 0\necall\n", "j .+4096\n"])
    def test_a_server_that_ends_fails_the_call_and_nothing_else(
        self, raw: RawHost, port: HostPort, ending: str
    ):
        server = raw.make_server("server", ending)
        eid = raw.make(PASSING + "mv s3, a0\nld a0, 0(s2)\nadd a0, a0, s3\n" + EXIT_WITH_A0)
        raw.start(eid)
        assert raw.enter(eid, port) == (0, RunValue.ENDED)
        assert raw.word(4) == 40, "-1, and the pages are back"
        assert raw.call(HostCall.DESTROY_SERVER, server).error == ErrorCode.NO_SUCH_ENCLAVE
        check(raw.monitor)
        assert run(raw, port, name_at(ARGUMENT, "server") + call(97, ARGUMENT) + EXIT_WITH_A0) == MINUS_ONE
        raw.make_server("server", DOUBLE)

    def test_each_destroy_is_for_its_own_kind(self, raw: RawHost):
        made = {
            HostCall.DESTROY: raw.make(EXIT),
            HostCall.DESTROY_SERVER: raw.make_server("server", DOUBLE),
            HostCall.DESTROY_SHADOW: raw.make_shadow(EXIT),
        }
        for function in made:
            for own, eid in made.items():
                if own is not function:
                    assert raw.call(function, eid).error == ErrorCode.GENERIC
        assert [raw.call(function, eid).error for function, eid in made.items()] == [0, 0, 0]


class TestAsynchronousCalls:
    """Calls for whose answer nobody waits."""

    def later(self, name: str, address: str | int = 0, size: int = 0) -> str:
        return (
            name_at(ANSWER - 64, name)
            + store(ANSWER, 77, 0, address, size, 0, 0)
            + call(93, ANSWER - 64, ANSWER)
        )

    def test_the_next_enclave_of_that_name_begins_with_number_and_pages(self, raw: RawHost, port: HostPort):
        send = MMAP + "mv s2, a0\nli t0, 5\nsd t0, 0(s2)\n" + self.later("raw", "s2", PAGE_SIZE)
        assert run(raw, port, send + EXIT_WITH_A0) == 0
        take = "ld t0, 0(a3)\nadd a0, t0, a2\nadd a0, a0, a4\n" + EXIT_WITH_A0
        assert run(raw, port, take) == 5 + 77 + PAGE_SIZE
        assert run(raw, port, "or a0, a2, a3\nor a0, a0, a4\n" + EXIT_WITH_A0) == 0, "it comes once"

    def test_the_pages_are_the_senders_no_more(self, raw: RawHost, port: HostPort):
        send = MMAP + "mv s2, a0\n" + self.later("somebody", "s2", PAGE_SIZE) + "ld a0, 0(s2)\n"
        eid = raw.make(send + EXIT)
        raw.start(eid)
        assert raw.enter(eid, port) == (0, RunValue.FAULTED)
        check(raw.monitor)

    def test_a_server_runs_at_once_and_keeps_the_pages(self, raw: RawHost, port: HostPort):
        keep = program("ld t2, 0(a1)\nli t1, 0x3000\nsd t2, 0(t1)\n" + answering("x0"))
        keep.pages[0x3000] = (RW, b"\0")
        server = raw.make_server("keeper", keep)
        send = MMAP + "mv s2, a0\nli t0, 5\nsd t0, 0(s2)\n" + self.later("keeper", "s2", PAGE_SIZE)
        assert run(raw, port, send + EXIT_WITH_A0) == 0
        assert raw.info(server).pages == 3 + 1 + 1

    def test_what_is_on_its_way_is_bounded(self, raw: RawHost, port: HostPort):
        many = (
            "li s5, 100\nli s4, 0\n1:\n"
            + self.later("nobody")
            + "sub s4, s4, a0\naddi s5, s5, -1\nbnez s5, 1b\n"
        )
        assert run(raw, port, many + "mv a0, s4\n" + EXIT_WITH_A0) == 100 - 64

    def test_a_driver_that_begins_finds_nothing_on_its_way(self, raw: RawHost, port: HostPort):
        free = raw.monitor.platform.ownership.free_pages
        send = MMAP + "mv s2, a0\n" + self.later("raw", "s2", PAGE_SIZE)
        assert run(raw, port, send + EXIT_WITH_A0) == 0
        raw.call(HostCall.SM_INIT)
        assert raw.monitor.platform.ownership.free_pages == free
        assert run(raw, port, "or a0, a2, a3\nor a0, a0, a4\n" + EXIT_WITH_A0) == 0
        check(raw.monitor)

    def test_a_driver_that_begins_takes_nothing_from_live_enclaves(self, raw: RawHost, port: HostPort):
        alive = raw.make(EXIT)
        assert run(raw, port, self.later("raw") + EXIT_WITH_A0) == 0
        raw.call(HostCall.SM_INIT)
        assert run(raw, port, "mv a0, a2\n" + EXIT_WITH_A0) == 77
        assert raw.call(HostCall.DESTROY, alive).error == 0
