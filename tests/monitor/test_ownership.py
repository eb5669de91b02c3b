"""The ownership array: every page has one owner, and moves only as the table in ownership.py says."""

import subprocess
import sys
from random import Random

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule
from tests.support.examples import examples
from tests.support.waiting import PATIENCE

from penglai.abi.errors import ErrorCode, MonitorBug
from penglai.abi.riscv import CHUNK_SIZE, PAGE_SIZE, RAM_BASE
from penglai.machine import PhysicalMemory
from penglai.monitor.ownership import BUFFER, FREE, HOST, MONITOR, Ownership
from penglai.monitor.refusal import Refusal

CHUNKS = 4
CHUNK_PAGES = CHUNK_SIZE // PAGE_SIZE
PAGES = CHUNKS * CHUNK_PAGES
PAGE = st.integers(0, PAGES - 1)


class OwnershipModel(RuleBasedStateMachine):
    """The array against a dictionary that says the same in the simplest way."""

    @initialize()
    def start(self) -> None:
        self.memory = PhysicalMemory(CHUNKS * CHUNK_SIZE)
        self.real = Ownership(self.memory)
        self.owner = dict.fromkeys(range(PAGES), HOST)
        self.held: list[tuple[int, np.ndarray]] = []
        self.next_eid = 1

    def teardown(self) -> None:
        if hasattr(self, "memory"):
            self.memory.close()

    @rule(
        first=st.integers(-1, CHUNKS),
        count=st.integers(-1, CHUNKS + 1),
        skew=st.sampled_from([0, 0, 0, PAGE_SIZE]),
    )
    def extend(self, first: int, count: int, skew: int) -> None:
        pages = range(first * CHUNK_PAGES, (first + count) * CHUNK_PAGES)
        legal = skew == 0 and count > 0 and all(self.owner.get(page) == HOST for page in pages)
        try:
            self.real.extend(RAM_BASE + first * CHUNK_SIZE + skew, count * CHUNK_SIZE)
            assert legal
            self.owner.update(dict.fromkeys(pages, FREE))
        except Refusal:
            assert not legal

    @rule(count=st.integers(0, 700))
    def take(self, count: int) -> None:
        free = sum(owner == FREE for owner in self.owner.values())
        eid, self.next_eid = self.next_eid, self.next_eid + 1
        if count > free:
            with pytest.raises(Refusal) as refusal:
                self.real.take(count, eid)
            assert (refusal.value.code, refusal.value.value) == (ErrorCode.NO_MEMORY, count - free)
            return
        pages = self.real.take(count, eid)
        assert len(pages) == count
        assert (np.diff(pages) > 0).all()
        assert not self.memory.pages[pages].any(), "pages from the pool are zero"
        for page in pages.tolist():
            assert self.owner[page] == FREE
            self.owner[page] = eid
        self.memory.pages[pages] = 0xA5
        self.held.append((eid, pages))

    @precondition(lambda self: self.held)
    @rule(index=st.integers(0, 1 << 16), share=st.floats(0, 1))
    def release(self, index: int, share: float) -> None:
        eid, pages = self.held.pop(index % len(self.held))
        given, kept = np.split(pages, [int(len(pages) * share)])
        self.real.release((given, eid))
        self.owner.update(dict.fromkeys(given.tolist(), FREE))
        if len(kept):
            self.held.append((eid, kept))

    @rule(page=PAGE, skew=st.sampled_from([0, 0, 0, 8]))
    def share(self, page: int, skew: int) -> None:
        try:
            assert self.real.share(RAM_BASE + page * PAGE_SIZE + skew) == page
            assert self.owner[page] == HOST
            assert not skew
            self.owner[page] = BUFFER
        except Refusal:
            assert self.owner[page] != HOST or skew

    @rule(page=PAGE)
    def unshare(self, page: int) -> None:
        if self.owner[page] == BUFFER:
            self.real.unshare(page)
            self.owner[page] = HOST
        else:
            with pytest.raises(MonitorBug):
                self.real.unshare(page)

    @rule(page=PAGE, count=st.integers(1, 4))
    def copy_from_host(self, page: int, count: int) -> None:
        sources = np.arange(page, min(page + count, PAGES))
        targets = np.zeros(0, dtype=np.int64)
        legal = all(self.owner[source] == HOST for source in sources.tolist())
        for _, pages in self.held:
            if len(pages) >= len(sources):
                targets = pages[: len(sources)]
        if not len(targets):
            return
        if legal:
            self.real.copy_from_host(sources, targets)
            assert (self.memory.pages[sources] == self.memory.pages[targets]).all()
        else:
            with pytest.raises(Refusal):
                self.real.copy_from_host(sources, targets)

    @rule(pa=st.integers(RAM_BASE - 16, RAM_BASE + PAGES * PAGE_SIZE + 16), size=st.integers(1, 64))
    def host_access(self, pa: int, size: int) -> None:
        first, last = (pa - RAM_BASE) // PAGE_SIZE, (pa + size - 1 - RAM_BASE) // PAGE_SIZE
        legal = all(self.owner.get(page) == HOST for page in range(first, last + 1))
        for call in (
            lambda: self.real.read_host(pa, size, align=1),
            lambda: self.real.write_host(pa, bytes(size), align=1),
            lambda: self.real.check_host(pa, size, align=1),
        ):
            if legal:
                call()
            else:
                with pytest.raises(Refusal):
                    call()

    @invariant()
    def same(self) -> None:
        if not hasattr(self, "real"):
            return
        owners = np.array([self.owner[page] for page in range(PAGES)], dtype=np.int32)
        assert (self.real.snapshot() == owners).all()
        assert self.real.free_pages == np.count_nonzero(owners == FREE)
        assert (self.memory.host_visible == ((owners == HOST) | (owners == BUFFER))).all()
        assert not self.memory.pages[owners == FREE].any()


OwnershipModel.TestCase.settings = settings(max_examples=examples(60), stateful_step_count=examples(30))
TestOwnership = OwnershipModel.TestCase


def test_releasing_what_one_does_not_own_is_a_bug():
    ownership = Ownership(PhysicalMemory(4 << 20))
    with pytest.raises(MonitorBug):
        ownership.release((np.array([3]), 7))
    with pytest.raises(MonitorBug):
        ownership.assign(np.array([3]), MONITOR, 7)


SIXTEEN_GIB = """
import psutil
from penglai.abi.riscv import CHUNK_SIZE
from penglai.machine import PhysicalMemory
from penglai.monitor.ownership import Ownership

before = psutil.Process().memory_info().rss
memory = PhysicalMemory(16 << 30)
ownership = Ownership(memory)
ownership.extend(memory.base, CHUNK_SIZE)
ownership.take(1, 1)
print(psutil.Process().memory_info().rss - before)
"""


def test_memory_that_nobody_uses_costs_nothing():
    """16 GiB: the arrays would be 72 MiB if they were written when the machine is made.

    In a process of its own: this one's memory is other tests' too.
    """
    done = subprocess.run(
        [sys.executable, "-c", SIXTEEN_GIB], capture_output=True, timeout=PATIENCE, check=True
    )
    assert int(done.stdout) < 4 << 20  # the chunk itself is 2 MiB of it


@given(
    st.lists(st.tuples(st.integers(0, CHUNK_PAGES - 1), st.integers(1, 40)), min_size=1, max_size=30),
    st.randoms(),
)
def test_pages_that_are_released_are_cleared_and_no_others(runs: list[tuple[int, int]], chance: Random):
    """In runs, alone, in any order."""
    memory = PhysicalMemory(2 * CHUNK_SIZE)
    real = Ownership(memory)
    real.extend(RAM_BASE, CHUNK_SIZE)
    mine = real.take(CHUNK_PAGES, 1)
    memory.pages[mine] = 0x55
    chosen = list({page for start, length in runs for page in range(start, min(start + length, CHUNK_PAGES))})
    if chance.random() < 0.5:
        chance.shuffle(chosen)
    gone = mine[chosen]
    real.release((gone, 1))
    assert not memory.pages[gone].any()
    kept = np.setdiff1d(mine, gone)
    assert (memory.pages[kept] == 0x55).all()
    memory.close()
