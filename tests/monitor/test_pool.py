"""The pool against a set of numbers, which says the same in the simplest way."""

from random import Random

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, precondition, rule
from tests.support.examples import examples

from penglai.monitor.pool import ALL, CHUNK_PAGES, MOST_CHUNKS, Pool, find_run, first_run

CHUNKS = 40
PAGES = CHUNKS * CHUNK_PAGES


class PoolModel(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.real = Pool()
        self.free: set[int] = set()

    @rule(chunk=st.integers(0, CHUNKS - 1), count=st.integers(1, 5))
    def put_chunks(self, chunk: int, count: int) -> None:
        self.put(chunk * CHUNK_PAGES, min(count, CHUNKS - chunk) * CHUNK_PAGES)

    @rule(first=st.integers(0, PAGES - 1), count=st.integers(1, 1500))
    def put(self, first: int, count: int) -> None:
        """What of it is not free yet."""
        for page in range(first, min(first + count, PAGES)):
            if page not in self.free:
                self.real.put(page, 1)
                self.free.add(page)

    @rule(pages=st.sets(st.integers(0, PAGES - 1), max_size=300), chance=st.randoms())
    def put_all(self, pages: set[int], chance: Random) -> None:
        """Scattered, in any order."""
        fresh = sorted(pages - self.free)
        chance.shuffle(fresh)
        if fresh:
            self.real.put_all(np.array(fresh, dtype=np.int64))
        self.free |= pages

    @rule(first=st.integers(0, PAGES - 1), count=st.integers(1, 1500))
    def put_run(self, first: int, count: int) -> None:
        pages = {*range(first, min(first + count, PAGES))}
        if not pages & self.free:
            self.real.put(first, len(pages))
            self.free |= pages

    @precondition(lambda self: self.free)
    @rule(count=st.integers(1, 12_000))
    def grab(self, count: int) -> None:
        runs = self.real.grab(count)
        pages = [page for run in runs for page in run]
        assert 0 < len(pages) <= min(count, MOST_CHUNKS * CHUNK_PAGES)
        assert len({*pages}) == len(pages)
        assert {*pages} <= self.free
        self.free -= {*pages}

    @rule()
    def grab_chunk(self) -> None:
        whole = [n for n in range(CHUNKS) if self.free >= {*range(n * CHUNK_PAGES, (n + 1) * CHUNK_PAGES)}]
        chunk = self.real.grab_chunk()
        assert chunk == (whole[-1] if whole else None)
        if chunk is not None:
            self.free -= {*range(chunk * CHUNK_PAGES, (chunk + 1) * CHUNK_PAGES)}


PoolModel.TestCase.settings = settings(max_examples=examples(60), stateful_step_count=examples(25))
TestPool = PoolModel.TestCase


@given(st.integers(1, ALL))
def test_the_first_run(bits: int):
    start, length = first_run(bits)
    text = f"{bits:b}"[::-1]
    assert text.index("1") == start
    assert text[start:].split("0")[0] == "1" * length


@given(st.integers(0, ALL), st.integers(1, CHUNK_PAGES))
def test_a_run_of_a_length(bits: int, length: int):
    assert find_run(bits, length) == f"{bits:b}"[::-1].find("1" * length)


@given(st.integers(0, CHUNK_PAGES - 1), st.integers(1, CHUNK_PAGES))
def test_a_long_run_is_found_at_its_place(start: int, length: int):
    bits = ((1 << length) - 1) << start & ALL
    assert find_run(bits, min(length, CHUNK_PAGES - start)) == start


def test_memory_comes_in_few_runs():
    pool = Pool()
    pool.put(0, 8 * CHUNK_PAGES)
    assert pool.grab(26) == [range(26)]
    assert pool.grab(4) == [range(26, 30)], "broken chunks are used up first"
    chunks = pool.grab(3 * CHUNK_PAGES)
    assert chunks == [range(n * CHUNK_PAGES, (n + 1) * CHUNK_PAGES) for n in (1, 2, 3)]
    assert pool.grab_chunk() == 7
