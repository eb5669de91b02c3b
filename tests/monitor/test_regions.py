"""mmap, unmap, split: against a model that is a dictionary; and what hostile numbers get."""

import functools
from contextlib import nullcontext

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule
from tests.support.examples import examples
from tests.support.rawhost import EXIT, RawHost, call

from penglai.abi import layout
from penglai.abi.ecall import Ocall
from penglai.abi.riscv import PAGE_SIZE
from penglai.abi.sbi import RunValue
from penglai.machine import Board, HostPort
from penglai.monitor import mapping
from penglai.monitor.invariants import check
from penglai.monitor.refusal import Refusal

EXIT_WITH_A0 = call(99)
MINUS_ONE = (1 << 64) - 1
TOP = layout.MMAP_TOP


@pytest.fixture
def port(raw: RawHost) -> HostPort:
    return raw.board.host_port(raw.board.harts[0])


def run(raw: RawHost, port: HostPort, text: str) -> int:
    return raw.value_of(port, text + EXIT_WITH_A0)


def test_what_is_mapped_is_zero_and_writable(raw: RawHost, port: HostPort):
    second = "mv s0, a0\nli t2, 4096\nadd t2, t2, a0\n"
    read = "ld t0, 0(s0)\nld t1, 0(t2)\nor a0, t0, t1\n"
    text = call(98, Ocall.MMAP, 0, 5000) + second + read
    assert run(raw, port, text + "sd s0, 0(s0)\nsd s0, 0(t2)\n") == 0
    assert run(raw, port, call(98, Ocall.MMAP, 0, 1)) == TOP - PAGE_SIZE, "down from the top"


@pytest.mark.parametrize(
    ("address", "size", "result"),
    [
        (0x20_0000_0000, PAGE_SIZE, 0x20_0000_0000),
        (layout.HEAP_BASE, PAGE_SIZE, layout.HEAP_BASE),
        (layout.HEAP_BASE - PAGE_SIZE, PAGE_SIZE, MINUS_ONE),
        (TOP - PAGE_SIZE, 2 * PAGE_SIZE, MINUS_ONE),
        (TOP, PAGE_SIZE, MINUS_ONE),
        (0x20_0000_0008, PAGE_SIZE, MINUS_ONE),
        (MINUS_ONE - 4095, 2 * PAGE_SIZE, MINUS_ONE),
        (0, 0, MINUS_ONE),
        (0, MINUS_ONE, MINUS_ONE),
        (0, 1 << 63, MINUS_ONE),
        (layout.KERNEL_BUFFER, PAGE_SIZE, MINUS_ONE),
    ],
)
def test_where_it_can_be(raw: RawHost, port: HostPort, address: int, size: int, result: int):
    assert run(raw, port, call(98, Ocall.MMAP, address, size)) == result


@pytest.mark.parametrize(
    ("address", "size"),
    [
        (TOP - PAGE_SIZE, 2 * PAGE_SIZE),
        (TOP - 3 * PAGE_SIZE, PAGE_SIZE * 2),
        (TOP - 2 * PAGE_SIZE + 8, 8),
        (layout.TEXT_BASE, PAGE_SIZE),
        (layout.STACK_TOP - PAGE_SIZE, PAGE_SIZE),
        (layout.HEAP_BASE, PAGE_SIZE),
        (layout.KERNEL_BUFFER, PAGE_SIZE),
        (TOP - 2 * PAGE_SIZE, 0),
        (TOP - 2 * PAGE_SIZE, MINUS_ONE),
        (MINUS_ONE - 4095, PAGE_SIZE),
        (0, MINUS_ONE),
    ],
)
def test_only_what_was_mapped_can_be_unmapped(raw: RawHost, port: HostPort, address: int, size: int):
    before = call(98, Ocall.SBRK, PAGE_SIZE) + call(98, Ocall.MMAP, 0, 2 * PAGE_SIZE)
    assert run(raw, port, before + call(98, Ocall.UNMAP, address, size)) == MINUS_ONE


def test_an_access_after_unmap_is_a_fault(raw: RawHost, port: HostPort):
    touch = call(98, Ocall.MMAP, 0, PAGE_SIZE) + "mv s0, a0\nld t0, 0(s0)\n"
    eid = raw.make(touch + call(98, Ocall.UNMAP, "mv a1, s0", PAGE_SIZE) + "ld t0, 0(s0)\n" + EXIT)
    raw.start(eid)
    assert raw.enter(eid, port) == (0, RunValue.FAULTED)
    assert raw.word(2) == TOP - PAGE_SIZE


def test_heap_and_mappings_keep_apart(raw: RawHost, port: HostPort):
    taken = call(98, Ocall.MMAP, layout.HEAP_BASE + 2 * PAGE_SIZE, PAGE_SIZE)
    assert run(raw, port, taken + call(98, Ocall.SBRK, 3 * PAGE_SIZE)) == MINUS_ONE
    assert run(raw, port, taken + call(98, Ocall.SBRK, 2 * PAGE_SIZE)) == layout.HEAP_BASE + 2 * PAGE_SIZE
    heap = call(98, Ocall.SBRK, 2 * PAGE_SIZE)
    assert run(raw, port, heap + call(98, Ocall.MMAP, layout.HEAP_BASE + PAGE_SIZE, PAGE_SIZE)) == MINUS_ONE


@functools.cache
def raw_host() -> RawHost:
    """One for all examples."""
    return RawHost(Board(16 << 20, 1))


PAGE = st.integers(0, 7)


class Mappings(RuleBasedStateMachine):
    """An enclave's calls against a model: which pages are mapped, and in which region each lies."""

    def __init__(self) -> None:
        super().__init__()
        self.raw = raw_host()

    @initialize()
    def make(self) -> None:
        self.raw.rewind()
        self.eid = self.raw.make(EXIT)
        (self.enclave,) = self.raw.monitor.enclaves()
        self.platform = self.raw.monitor.platform
        self.model: dict[int, int] = {}
        self.next = 0

    def region(self, first: int, count: int) -> bool:
        """True if the pages are one whole region of the model."""
        pages = range(first, first + count)
        number = self.model.get(first)
        return number is not None and [page for page, of in self.model.items() if of == number] == list(pages)

    @rule(first=PAGE, count=st.integers(1, 4))
    def map_at(self, first: int, count: int) -> None:
        pages = range(first, first + count)
        free = not any(page in self.model for page in pages)
        with nullcontext() if free else pytest.raises(Refusal):
            got = mapping.mmap(self.platform, self.enclave, self.at(first), count * PAGE_SIZE)
            assert got == self.at(first)
        if free:
            self.next += 1
            self.model |= dict.fromkeys(pages, self.next)
            self.model = dict(sorted(self.model.items()))

    @rule(first=PAGE, count=st.integers(1, 6))
    def unmap(self, first: int, count: int) -> None:
        pages = range(first, first + count)
        whole = all(page in self.model for page in pages)
        with nullcontext() if whole else pytest.raises(Refusal):
            mapping.munmap(self.platform, self.enclave, self.at(first), count * PAGE_SIZE)
        if whole:
            self.forget(pages)

    def forget(self, pages: range) -> None:
        for page in pages:
            number = self.model.pop(page)
            self.next += 1  # what lies behind a hole is a region of its own
            for later in sorted(self.model):
                if later > page and self.model[later] == number:
                    self.model[later] = self.next

    @rule(first=PAGE, count=st.integers(1, 4), cut=st.integers(0, 5))
    def split(self, first: int, count: int, cut: int) -> None:
        good = self.region(first, count) and 0 < cut < count
        with nullcontext() if good else pytest.raises(Refusal):
            mapping.split(self.enclave, self.at(first), count * PAGE_SIZE, self.at(first + cut))
        if good:
            self.next += 1
            self.model |= dict.fromkeys(range(first + cut, first + count), self.next)

    def at(self, page: int) -> int:
        return 0x20_0000_0000 + page * PAGE_SIZE

    @invariant()
    def same(self) -> None:
        if hasattr(self, "enclave"):
            check(self.raw.monitor)
            found = {
                (address - self.at(0)) // PAGE_SIZE
                for region in self.enclave.regions
                for address in range(region.start, region.end, PAGE_SIZE)
            }
            assert found == self.model.keys()
            assert len(list(self.enclave.regions)) == len(set(self.model.values()))

    def teardown(self) -> None:
        if hasattr(self, "enclave"):
            self.raw.call(94, self.eid)
            check(self.raw.monitor)


TestMappings = Mappings.TestCase
TestMappings.settings = settings(max_examples=examples(60), stateful_step_count=examples(25))
