"""Shadows: templates, and the instances that are made from them."""

import pytest
from tests.support.bare import assemble
from tests.support.rawhost import EXIT, FOREVER, RW, RX, ImageSpec, RawHost, call, load_word, store

from penglai.abi import layout
from penglai.abi.errors import ErrorCode
from penglai.abi.riscv import CHUNK_SIZE, PAGE_SIZE, Pte
from penglai.abi.sbi import HostCall, RunValue
from penglai.abi.state import State
from penglai.machine import HostPort
from penglai.monitor.invariants import check

YIELD = call(89)
EXIT_WITH_A0 = call(99)
DATA, BSS, RODATA = 0x3000, 0x4000, 0x2000


@pytest.fixture
def port(raw: RawHost) -> HostPort:
    return raw.board.host_port(raw.board.harts[0])


def image(text: str) -> ImageSpec:
    """Text, read-only data, data that begins with 100, and bss."""
    pages = {
        layout.TEXT_BASE: (RX, assemble(text)),
        RODATA: (Pte.R, b"constant"),
        DATA: (RW, (100).to_bytes(8, "little")),
        BSS: (RW, b""),
    }
    return ImageSpec(pages)


COUNT = load_word("t2", DATA) + "addi t2, t2, 1\nsd t2, 0(t1)\n"
SUM = load_word("a0", DATA) + load_word("a3", BSS) + "add a0, a0, a3\n"


def test_each_instance_has_data_of_its_own(raw: RawHost, port: HostPort):
    shadow = raw.make_shadow(image(COUNT + YIELD + COUNT + YIELD + COUNT + SUM + EXIT_WITH_A0))
    instances = [raw.instance(shadow) for _ in range(3)]
    for value in (RunValue.YIELD, RunValue.YIELD, RunValue.ENDED):
        for eid in instances:
            assert raw.enter(eid, port) == (0, value)
            check(raw.monitor)
            if value is RunValue.ENDED:
                assert raw.word(4) == 103


def test_the_template_is_as_it_was_measured(raw: RawHost, port: HostPort):
    spec = image(COUNT + SUM + EXIT_WITH_A0)
    shadow = raw.make_shadow(spec)
    measured = bytes(raw.info(shadow).measurement)
    for _ in range(5):
        eid = raw.instance(shadow)
        assert bytes(raw.info(eid).measurement) == measured
        assert raw.enter(eid, port) == (0, RunValue.ENDED)
        assert raw.word(4) == 101
    assert bytes(raw.info(raw.make_shadow(spec)).measurement) == measured


def test_read_only_pages_are_shared_and_stay_read_only(raw: RawHost, port: HostPort):
    shadow = raw.make_shadow(image(store(RODATA, 1) + EXIT))
    free = raw.monitor.platform.ownership.free_pages
    first, second = raw.instance(shadow), raw.instance(shadow)
    assert raw.info(first).pages == 2 + 2, "data, bss, stack"
    assert free - raw.monitor.platform.ownership.free_pages == 2 * (4 + raw_tables(raw, first))
    assert raw.enter(first, port) == (0, RunValue.FAULTED)
    check(raw.monitor)
    assert raw.state(second) is State.RUNNABLE


def raw_tables(raw: RawHost, eid: int) -> int:
    return next(len(enclave.table.tables) for enclave in raw.monitor.enclaves() if enclave.eid == eid)


def test_a_template_may_go_while_instances_live(raw: RawHost, port: HostPort):
    before = raw.snapshot()
    shadow = raw.make_shadow(image(COUNT + YIELD + SUM + EXIT_WITH_A0))
    instances = [raw.instance(shadow) for _ in range(3)]
    raw.enter(instances[0], port)
    assert raw.call(HostCall.DESTROY_SHADOW, shadow).error == 0
    check(raw.monitor)
    for function in (HostCall.DESTROY_SHADOW, HostCall.ATTEST_SHADOW, HostCall.RUN_SHADOW, HostCall.STOP):
        assert raw.call(function, shadow, raw.shadow_run_param()).error == ErrorCode.NO_SUCH_ENCLAVE
    assert raw.enter(instances[0], port) == (0, RunValue.ENDED)
    assert raw.word(4) == 101, "its text is still there"
    assert raw.call(HostCall.DESTROY, instances[1]).error == 0
    check(raw.monitor)
    assert raw.snapshot() != before
    assert raw.enter(instances[2], port) == (0, RunValue.YIELD)
    assert raw.enter(instances[2], port) == (0, RunValue.ENDED)
    assert raw.snapshot() == before, "with the last instance the template's memory is back"


def test_the_templates_pages_of_the_host_are_back_at_once(raw: RawHost):
    shadow = raw.make_shadow(image(FOREVER))
    buffer = raw.kernel_buffer
    raw.instance(shadow)
    raw.call(HostCall.DESTROY_SHADOW, shadow)
    owner = raw.monitor.platform.ownership.snapshot()
    assert owner[raw.board.memory.page_of(int(buffer))] == 0


def test_stop_and_resume_of_an_instance(raw: RawHost, port: HostPort):
    shadow = raw.make_shadow(image(COUNT + YIELD + SUM + EXIT_WITH_A0))
    eid = raw.instance(shadow)
    assert raw.enter(eid, port) == (0, RunValue.YIELD)
    assert raw.call(HostCall.STOP, eid).error == 0
    assert raw.call(HostCall.ATTEST, eid, raw.page(), 3).error == 0
    assert raw.call(HostCall.RESUME, eid, 1).error == 0
    assert raw.enter(eid, port) == (0, RunValue.ENDED)
    assert raw.word(4) == 101


def test_a_template_with_a_stack_is_refused(raw: RawHost):
    before = raw.snapshot()
    paddr, size = raw.stage(image(EXIT))
    assert raw.call(HostCall.CREATE_SHADOW, raw.param(paddr, size, type=2)).error == ErrorCode.BAD_ARGUMENT
    assert raw.snapshot() == before


HIDDEN = 0x8000_0000 + (16 << 20) - CHUNK_SIZE


@pytest.mark.parametrize(
    ("fields", "error"),
    [
        ({"size": 1}, ErrorCode.BAD_ARGUMENT),
        ({"size": 1 << 40}, ErrorCode.BAD_ARGUMENT),
        ({"size": (1 << 64) - PAGE_SIZE}, ErrorCode.BAD_ARGUMENT),
        ({"kbuffer": HIDDEN}, ErrorCode.SECURITY),
        ({"kbuffer_size": 0}, ErrorCode.BAD_ARGUMENT),
        ({"eid_pa": HIDDEN}, ErrorCode.SECURITY),
        ({"ocall_id_pa": HIDDEN}, ErrorCode.SECURITY),
        ({"retval_pa": 1 << 63}, ErrorCode.SECURITY),
        ({"name": b"x" * 16}, ErrorCode.BAD_ARGUMENT),
        ({"relay_pa": HIDDEN, "relay_size": PAGE_SIZE}, ErrorCode.SECURITY),
        ({"relay_pa": 0x8000_0000, "relay_size": 5}, ErrorCode.BAD_ARGUMENT),
        ({"relay_pa": 0x8000_0000, "relay_size": 1 << 62}, ErrorCode.BAD_ARGUMENT),
        ({"shm_paddr": HIDDEN, "shm_size": PAGE_SIZE}, ErrorCode.SECURITY),
        ({"size": 15 << 20}, ErrorCode.NO_MEMORY),
        ({"size": 16 << 20}, ErrorCode.NO_MEMORY),
        ({"size": (16 << 20) + PAGE_SIZE}, ErrorCode.BAD_ARGUMENT),
    ],
    ids=str,
)
def test_a_bad_field_is_refused_and_nothing_changes(raw: RawHost, fields: dict[str, object], error: int):
    shadow = raw.make_shadow(image(EXIT))
    before = raw.snapshot()
    assert raw.call(HostCall.RUN_SHADOW, shadow, raw.shadow_run_param(**fields)).error == error
    assert raw.snapshot() == before


def test_registers_of_an_instance(raw: RawHost, port: HostPort):
    shadow = raw.make_shadow(
        "sub a0, sp, a0\nsub a0, a0, a1\nsub a0, a0, a2\nsub a0, a0, a3\n" + EXIT_WITH_A0
    )
    eid = raw.instance(shadow)
    raw.enter(eid, port)
    assert raw.word(4) == layout.STACK_TOP


@pytest.mark.parametrize(("given", "name"), [(b"", "shadow"), (b"instance", "instance")])
def test_an_instance_has_a_name_of_its_own_or_the_shadows(raw: RawHost, given: bytes, name: str):
    eid = raw.instance(raw.make_shadow(image(EXIT)), name=given)
    assert [enclave.name for enclave in raw.monitor.enclaves() if enclave.eid == eid] == [name]


@pytest.mark.parametrize("stack", [1, 3])
def test_instances_with_other_stacks_are_laid_out_anew(raw: RawHost, port: HostPort, stack: int):
    """What instances have in common is kept for the next one, if that is like the last."""
    shadow = raw.make_shadow(image(COUNT + SUM + EXIT_WITH_A0))
    for pages in (2, stack, stack, 2):
        eid = raw.instance(shadow, size=pages * PAGE_SIZE)
        assert raw.info(eid).pages == 2 + pages, "data, bss, stack"
        (record,) = [enclave for enclave in raw.monitor.enclaves() if enclave.eid == eid]
        mapped = {address for address, _, _ in record.table.mappings()}
        stack_pages = {address for address in mapped if layout.MMAP_TOP <= address < layout.STACK_TOP}
        assert stack_pages == {layout.STACK_TOP - n * PAGE_SIZE for n in range(1, pages + 1)}
        assert raw.enter(eid, port) == (0, RunValue.ENDED)
        assert raw.word(4) == 101
