"""Create: what it makes of a good image, and how it refuses every other one, leaving nothing behind."""

import random

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.support.bare import assemble
from tests.support.examples import examples
from tests.support.rawhost import EXIT, RW, RX, ImageSpec, RawHost, program

from penglai.abi import layout
from penglai.abi.errors import ErrorCode
from penglai.abi.limits import Limit
from penglai.abi.riscv import CHUNK_SIZE, PAGE_SIZE, PTE_PPN_SHIFT, RAM_BASE, Pte
from penglai.abi.sbi import EnclaveType, HostCall
from penglai.attestation.measure import measure
from penglai.machine import Board
from penglai.monitor.ownership import BUFFER

SECURITY, BAD, NO_MEMORY = ErrorCode.SECURITY, ErrorCode.BAD_ARGUMENT, ErrorCode.NO_MEMORY
U, V = Pte.U, Pte.V
VA = 0x5000


def ppn(pa: int) -> int:
    return pa >> 12 << PTE_PPN_SHIFT


def refused(raw: RawHost, spec: ImageSpec | str, **fields: object) -> int:
    """The error of a create that must be refused with nothing changed."""
    before = raw.snapshot()
    result = raw.create(spec, **fields)
    assert result.error < 0
    assert raw.snapshot() == before
    return result.error


def test_the_enclaves_pages_are_copies(raw: RawHost):
    """The host may change or reuse the image when create has returned: nothing happens to the enclave."""
    spec = program(EXIT)
    paddr, size = raw.stage(spec)
    result = raw.call(HostCall.CREATE, raw.param(paddr, size))
    assert result.error == 0
    raw.memory.write(paddr, b"\xff" * size)
    raw.start(result.value)
    assert raw.enter(result.value, raw.board.host_port(raw.board.harts[0])) == (0, 0)


def test_the_kernel_buffer_is_the_only_page_that_both_see(raw: RawHost):
    buffer = raw.page()
    raw.memory.write(buffer, b"what the host left there" * 100)
    eid = raw.create(program(EXIT), kbuffer=buffer).value
    (enclave,) = raw.monitor.enclaves()
    owner = raw.monitor.platform.ownership.snapshot()
    visible = [page for _, page, _ in enclave.table.mappings() if raw.board.memory.host_visible[page]]
    assert visible == [enclave.kernel_buffer]
    assert owner[enclave.kernel_buffer] == BUFFER
    assert raw.board.memory.address_of(enclave.kernel_buffer) == buffer
    assert raw.memory.read(buffer, PAGE_SIZE) == bytes(PAGE_SIZE), "it begins as it was measured"
    assert raw.call(HostCall.DESTROY, eid).error == 0


def test_mapped_pages_have_the_permissions_that_were_asked_for(raw: RawHost):
    raw.make(
        ImageSpec({0x1000: (RX, b"x"), 0x2000: (Pte.R, b"r"), 0x3000: (RW, b"w"), 0x4000: (Pte.X, b"e")})
    )
    (enclave,) = raw.monitor.enclaves()
    found = {address: pte & 0x1F for address, _, pte in enclave.table.mappings() if address < 0x10000}
    expected = {0x1000: RX, 0x2000: Pte.R, 0x3000: RW, 0x4000: Pte.X}
    assert found == {address: bits | U | V for address, bits in expected.items()}


def test_one_host_page_may_stand_for_many(raw: RawHost):
    """The driver maps one page of zeros for every empty page: each becomes a page of its own."""
    raw.make(ImageSpec({0x1000 + n * PAGE_SIZE: (RW, b"") for n in range(64)}))
    (enclave,) = raw.monitor.enclaves()
    assert len(set(enclave.image.tolist())) == len(enclave.image) == 64 + 2


@pytest.mark.parametrize(
    ("what", "bits"),
    [
        ("writable and executable", Pte.R | Pte.W | Pte.X | U | V),
        ("executable and writable, not readable", Pte.W | Pte.X | U | V),
        ("not a user page", Pte.R | V),
        ("write-only", Pte.W | U | V),
        ("a pointer where a leaf has to be", V),
        ("a user page without any permission", U | V),
        ("a reserved bit", Pte.R | U | V | 1 << 54),
        ("another reserved bit", Pte.R | U | V | 1 << 63),
    ],
)
def test_a_bad_leaf_is_refused(raw: RawHost, what: str, bits: int):
    assert refused(raw, program(EXIT, bits={VA: bits})) == SECURITY


@pytest.mark.parametrize("bits", [RX, RW, Pte.R, Pte.X, RX | Pte.A | Pte.D, RW | Pte.G, RX | 3 << 8])
def test_a_good_leaf_is_taken(raw: RawHost, bits: int):
    """So that the test above is refused for its bits and for nothing else."""
    raw.make(program(EXIT, bits={VA: bits | U | V}))
    raw.snapshot()


@pytest.mark.parametrize(
    ("what", "pa"),
    [
        ("host memory outside the region", RAM_BASE),
        ("memory of the monitor", RAM_BASE + (16 << 20) - CHUNK_SIZE),
        ("below RAM", 0),
        ("above RAM", RAM_BASE + (16 << 20)),
        ("far above RAM", ((1 << 44) - 1) << 12),
    ],
)
def test_a_leaf_that_leads_outside_the_region_is_refused(raw: RawHost, what: str, pa: int):
    assert refused(raw, program(EXIT, entries={VA: ppn(pa) | Pte.R | U | V})) == SECURITY


@pytest.mark.parametrize(
    "address",
    [
        0,
        layout.HEAP_BASE,
        layout.MMAP_TOP - PAGE_SIZE,
        layout.RELAY_BASE,
        layout.SHARED_BASE,
        layout.KERNEL_BUFFER % (1 << 39),
        (1 << 39) - PAGE_SIZE,
    ],
    ids=hex,
)
def test_a_page_outside_the_text_and_stack_regions_is_refused(raw: RawHost, address: int):
    spec = program(EXIT)
    spec.pages[address] = (RW, b"x")
    assert refused(raw, spec) == SECURITY


@pytest.mark.parametrize(
    "address", [layout.TEXT_BASE, layout.HEAP_BASE - PAGE_SIZE, layout.MMAP_TOP], ids=hex
)
def test_the_edges_of_the_regions_are_allowed(raw: RawHost, address: int):
    spec = program(EXIT)
    spec.pages.setdefault(address, (RW, b"x"))
    raw.make(spec)
    raw.snapshot()


class TestTables:
    """The table itself is hostile."""

    def stage(self, raw: RawHost) -> tuple[int, int]:
        return raw.stage(program(EXIT))

    def refuse(self, raw: RawHost, paddr: int, size: int, expected: ErrorCode = SECURITY) -> None:
        param = raw.param(paddr, size)
        before = raw.snapshot()
        assert raw.call(HostCall.CREATE, param).error == expected
        assert raw.snapshot() == before

    def test_a_superpage(self, raw: RawHost):
        for path in ((), (0,)):
            paddr, size = self.stage(raw)
            raw.put(raw.tables[path], 9, ppn(RAM_BASE) | Pte.R | U | V)
            self.refuse(raw, paddr, size)

    @pytest.mark.parametrize("bits", [U, Pte.A, Pte.D, 1 << 60])
    def test_a_pointer_with_reserved_bits(self, raw: RawHost, bits: int):
        paddr, size = self.stage(raw)
        raw.put(raw.tables[()], 9, ppn(raw.tables[0,]) | V | bits)
        self.refuse(raw, paddr, size)

    def test_a_loop(self, raw: RawHost):
        for path, target in (((), ()), ((0,), ()), ((0,), (0,))):
            paddr, size = self.stage(raw)
            raw.put(raw.tables[path], 9, ppn(raw.tables[target]) | V)
            self.refuse(raw, paddr, size)

    def test_a_table_used_twice(self, raw: RawHost):
        """Otherwise 2 tables of 4 KiB could ask for 512 GiB of work."""
        paddr, size = self.stage(raw)
        for slot in range(9, 200):
            raw.put(raw.tables[0,], slot, ppn(raw.tables[0, 0]) | V)
        self.refuse(raw, paddr, size)

    @pytest.mark.parametrize("target", [RAM_BASE, RAM_BASE + (16 << 20) - CHUNK_SIZE, 0, 1 << 55])
    def test_a_table_outside_the_region(self, raw: RawHost, target: int):
        for path in ((), (0,)):
            paddr, size = self.stage(raw)
            raw.put(raw.tables[path], 9, ppn(target) | V)
            self.refuse(raw, paddr, size)

    def test_a_root_outside_the_region(self, raw: RawHost):
        paddr, _ = self.stage(raw)
        self.refuse(raw, paddr, PAGE_SIZE, BAD)

    def test_no_page_at_all(self, raw: RawHost):
        paddr, size = self.stage(raw)
        raw.memory.write(raw.tables[()], bytes(PAGE_SIZE))
        self.refuse(raw, paddr, size, BAD)

    def test_a_region_that_is_the_monitors(self, raw: RawHost):
        chunk = raw.give_chunk()
        self.refuse(raw, chunk, CHUNK_SIZE)

    def test_a_region_that_wraps_or_is_endless(self, raw: RawHost):
        for paddr, size in ((RAM_BASE, (1 << 64) - PAGE_SIZE), ((1 << 64) - 2 * PAGE_SIZE, 4 * PAGE_SIZE)):
            self.refuse(raw, paddr, size)

    @pytest.mark.parametrize("skew", [(1, 0), (0, 1), (8, 8)])
    def test_a_region_of_broken_pages(self, raw: RawHost, skew: tuple[int, int]):
        paddr, size = self.stage(raw)
        self.refuse(raw, paddr + skew[0], size + skew[1], BAD)


HIDDEN = RAM_BASE + (16 << 20) - CHUNK_SIZE
SHM_LIMIT = 0x40_0000_0000 - 0x39_0000_0000
"""From where shared memory lies to the end of the lower half of the addresses."""

BAD_FIELDS = [
    ({"type": 1}, BAD),
    ({"type": 2}, BAD),
    ({"type": 77}, BAD),
    ({"shm_paddr": RAM_BASE, "shm_size": 1}, BAD),
    ({"shm_paddr": RAM_BASE, "shm_size": 0}, BAD),
    ({"shm_paddr": RAM_BASE, "shm_size": 1 << 40}, BAD),
    ({"shm_paddr": RAM_BASE + 8, "shm_size": PAGE_SIZE}, BAD),
    ({"shm_paddr": HIDDEN, "shm_size": PAGE_SIZE}, SECURITY),
    ({"shm_paddr": HIDDEN - PAGE_SIZE, "shm_size": 2 * PAGE_SIZE}, SECURITY),
    ({"shm_paddr": 0, "shm_size": PAGE_SIZE}, SECURITY),
    ({"shm_paddr": RAM_BASE, "shm_size": SHM_LIMIT}, SECURITY),
    ({"shm_paddr": RAM_BASE, "shm_size": SHM_LIMIT + PAGE_SIZE}, BAD),
    ({"kbuffer_size": 0}, BAD),
    ({"kbuffer_size": 2 * PAGE_SIZE}, BAD),
    ({"kbuffer": RAM_BASE + 8}, BAD),
    ({"kbuffer": HIDDEN}, SECURITY),
    ({"kbuffer": 0}, SECURITY),
    ({"kbuffer": RAM_BASE + (16 << 20)}, SECURITY),
    ({"entry": 0}, BAD),
    ({"entry": 0x1001}, BAD),
    ({"entry": layout.HEAP_BASE}, BAD),
    ({"entry": (1 << 64) - 2}, BAD),
    ({"eid_pa": HIDDEN}, SECURITY),
    ({"eid_pa": RAM_BASE + 2}, BAD),
    ({"eid_pa": 0}, SECURITY),
    ({"name": b"sixteen letters!"}, BAD),
    *(
        ({field: pa}, error)
        for field in ("ocall_id_pa", "ocall_arg0_pa", "ocall_arg1_pa", "syscall_pa", "retval_pa")
        for pa, error in (
            *((HIDDEN, SECURITY), (HIDDEN - 7, BAD), (RAM_BASE + 4, BAD)),
            *((0, SECURITY), ((1 << 64) - 8, SECURITY)),
        )
    ),
]


@pytest.mark.parametrize(("fields", "error"), BAD_FIELDS, ids=lambda value: str(value)[:60])
def test_a_bad_field_is_refused(raw: RawHost, fields: dict[str, object], error: ErrorCode):
    assert refused(raw, program(EXIT), **fields) == error


@pytest.mark.parametrize("shared", [{}, {"shm_paddr": RAM_BASE, "shm_size": PAGE_SIZE}])
@pytest.mark.parametrize("buffer", [RAM_BASE, RAM_BASE + PAGE_SIZE])
def test_any_page_may_be_the_kernel_buffer_and_is_the_hosts_again(
    raw: RawHost, buffer: int, shared: dict[str, int]
):
    """Page 0 too; also when create fails, since the buffer is no shared memory besides."""
    before = raw.snapshot()
    if shared.get("shm_paddr") == buffer:
        assert refused(raw, program(EXIT), kbuffer=buffer, **shared) == SECURITY
    else:
        eid = raw.create(program(EXIT), kbuffer=buffer, **shared).value
        assert raw.call(HostCall.DESTROY, eid).error == 0
    assert raw.snapshot() == before


def test_the_eid_may_be_the_last_thing_in_the_hosts_memory(raw: RawHost):
    hidden = raw.give_chunk()
    result = raw.create(EXIT, eid_pa=hidden - 4)
    assert result.error == 0
    assert raw.memory.read(hidden - 4, 4) == result.value.to_bytes(4, "little")


def test_a_kernel_buffer_that_vanishes_leaves_nothing_behind(raw: RawHost):
    """It was the host's when the request was read, and is not when it is to be shared."""
    ownership, buffer = raw.monitor.platform.ownership, RAM_BASE + CHUNK_SIZE
    before, real = raw.snapshot(), ownership.share

    def vanish(pa: int) -> int:
        ownership.extend(buffer, CHUNK_SIZE)
        return real(pa)

    ownership.share = vanish  # type: ignore[method-assign]
    assert raw.create(EXIT, kbuffer=buffer).error == SECURITY
    _, free, live = raw.snapshot()
    assert (free, live) == (before[1] + CHUNK_SIZE // PAGE_SIZE, 0)


@pytest.mark.parametrize(("spare", "error"), [(0, 0), (-1, ErrorCode.ALLOCATION_FAILED)])
def test_as_many_pages_as_the_host_allows_and_no_more(raw: RawHost, spare: int, error: int):
    free = raw.monitor.platform.ownership.free_pages
    raw.make(EXIT)
    needed = free - raw.monitor.platform.ownership.free_pages
    assert raw.call(HostCall.LIMIT, 0, Limit.PAGES, needed + spare) == (0, 0)
    assert raw.create(EXIT).error == error


def test_a_request_that_is_refused_uses_up_no_id(raw: RawHost):
    first = raw.make(EXIT)
    for fields in ({"eid_pa": HIDDEN}, {"kbuffer": HIDDEN}, {"shm_paddr": HIDDEN, "shm_size": PAGE_SIZE}):
        refused(raw, EXIT, **fields)
    assert raw.make(EXIT) == first + 1


@settings(
    max_examples=examples(40),
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture],
)
@given(
    pages=st.dictionaries(
        st.integers(2, 12).map(lambda number: number * PAGE_SIZE),
        st.tuples(st.sampled_from([RX, RW, Pte.R]), st.binary(max_size=4)),
        max_size=6,
    ),
    stack=st.integers(1, 4),
)
def test_what_is_made_is_what_was_described_and_measured_so(
    fuzzed: RawHost, pages: dict[int, tuple[Pte, bytes]], stack: int
):
    """Each page with its content and its rights, and the measurement is that of the description."""
    fuzzed.rewind()
    pages = {layout.TEXT_BASE: (RX, assemble(EXIT)), **pages}
    eid = fuzzed.make(ImageSpec(pages, stack_pages=stack))
    (enclave,) = fuzzed.monitor.enclaves()
    below = range(layout.STACK_TOP - stack * PAGE_SIZE, layout.STACK_TOP, PAGE_SIZE)
    whole = {**dict.fromkeys(below, (RW, b"")), **pages}
    addresses = sorted(whole)
    content = b"".join(whole[address][1].ljust(PAGE_SIZE, b"\0") for address in addresses)
    assert fuzzed.board.memory.pages[enclave.image].tobytes() == content
    executable = {enclave.image[n] for n, address in enumerate(addresses) if whole[address][0] & Pte.X}
    assert {page for run in enclave.code for page in range(run.start, run.stop)} == executable
    words = np.array([*addresses, layout.KERNEL_BUFFER], dtype=np.uint64)
    rights = np.array([*(whole[address][0] | U for address in addresses), RW | U], dtype=np.uint8)
    expected = measure(
        EnclaveType.NORMAL,
        layout.TEXT_BASE,
        words,
        rights,
        lambda part: (content + bytes(PAGE_SIZE))[part.start * PAGE_SIZE : part.stop * PAGE_SIZE],
    )
    assert bytes(fuzzed.info(eid).measurement) == enclave.measurement == expected
    assert fuzzed.call(HostCall.DESTROY, eid).error == 0


@pytest.mark.parametrize("pa", [0, HIDDEN, RAM_BASE + 4, RAM_BASE + (16 << 20) - 8, (1 << 64) - 8])
def test_a_bad_parameter_address_is_refused(raw: RawHost, pa: int):
    before = raw.snapshot()
    assert raw.call(HostCall.CREATE, pa).error in (SECURITY, BAD)
    assert raw.snapshot() == before


def test_the_kernel_buffer_may_not_be_part_of_the_image(raw: RawHost):
    spec = program(EXIT)
    paddr, size = raw.stage(spec)
    before = raw.snapshot()
    for page in range(paddr, paddr + size, PAGE_SIZE):
        result = raw.call(HostCall.CREATE, raw.param(paddr, size, kbuffer=page))
        if result.error == 0:  # a table page: it was only read
            assert raw.call(HostCall.DESTROY, result.value).error == 0
    assert raw.snapshot() == before


def test_two_enclaves_never_share_a_kernel_buffer(raw: RawHost):
    raw.make(program(EXIT))
    assert refused(raw, program(EXIT), kbuffer=raw.kernel_buffer) == SECURITY


def test_the_kernel_buffer_cannot_be_given_away(raw: RawHost):
    chunk = raw.board.memory.base + CHUNK_SIZE
    raw.create(program(EXIT), kbuffer=chunk)
    assert raw.call(HostCall.MEMORY_EXTEND, chunk, CHUNK_SIZE).error == SECURITY


def test_without_memory_create_tells_how_much_is_missing(board: Board):
    raw = RawHost(board, chunks=0)
    before = raw.snapshot()
    result = raw.create(program(EXIT, stack_pages=3))
    assert result == (NO_MEMORY, 1 + 3 + 1 + 3 + 3), "text, stack; root, 3 middle and 3 leaf tables"
    assert raw.snapshot() == before
    raw.give_chunk()
    assert raw.create(program(EXIT)).error == 0


@pytest.mark.parametrize("failures", range(1, 4))
def test_a_create_that_fails_late_gives_everything_back(raw: RawHost, failures: int):
    """The eid's word vanishes under the monitor's hands: it is the last thing that can be refused."""
    words = RAM_BASE + CHUNK_SIZE
    spec = program(EXIT)
    before = raw.snapshot()
    real = raw.monitor.platform.ownership.write_host

    def vanish(pa: int, data: bytes, *, align: int = 8) -> None:
        raw.monitor.platform.ownership.extend(words, CHUNK_SIZE)
        raw.monitor.platform.ownership.__dict__.pop("write_host")
        real(pa, data, align=align)

    raw.monitor.platform.ownership.write_host = vanish
    shared = raw.page()
    result = raw.create(spec, eid_pa=words, shm_paddr=shared, shm_size=PAGE_SIZE)
    assert result.error == SECURITY
    _, free, live = raw.snapshot()
    assert (free, live) == (before[1] + CHUNK_SIZE // PAGE_SIZE, 0)
    for page in (shared, raw.kernel_buffer):
        assert raw.monitor.platform.ownership.adopt(page, PAGE_SIZE, 42) is not None, "the host's alone again"


@settings(
    max_examples=examples(150),
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture],
)
@given(seed=st.integers(0, 1 << 32), flips=st.integers(1, 6))
def test_a_table_with_flipped_bits_never_breaks_isolation(fuzzed: RawHost, seed: int, flips: int):
    """Whatever the host's table says, create makes a sound enclave or none."""
    chance = random.Random(seed)
    fuzzed.rewind()
    paddr, size = fuzzed.stage(program(EXIT))
    tables = list(fuzzed.tables.values())
    for _ in range(flips):
        table, slot = chance.choice(tables), chance.choice([0, 1, 2, 190, 191, 223, 511])
        entry = int.from_bytes(fuzzed.memory.read(table + 8 * slot, 8), "little")
        fuzzed.put(table, slot, entry ^ 1 << chance.choice([*range(14), *range(64)]))
    before = fuzzed.snapshot()
    result = fuzzed.call(HostCall.CREATE, fuzzed.param(paddr, size))
    if result.error == 0:
        fuzzed.snapshot()
        assert fuzzed.call(HostCall.DESTROY, result.value).error == 0
    assert fuzzed.snapshot() == before


@pytest.fixture(scope="module")
def fuzzed() -> RawHost:
    return RawHost(Board(16 << 20, 1))


def test_an_executable_page_of_data_is_not_copied_with_w(raw: RawHost):
    """R|X and R|W views of one host page: two pages, so the enclave still cannot write its code."""
    spec = program(EXIT)
    spec.pages[0x8000] = (RW, assemble(EXIT))
    raw.make(spec)
    raw.snapshot()
