"""The pool: which pages are free, chunk by chunk.  Numbers alone; whose pages they are, `ownership` says.

A chunk's free pages are the bits of one number, so that what a call does depends on how many chunks it looks
at and not on how many pages there are, and an enclave gets its memory in few runs.
"""

from bisect import bisect_left, insort
from itertools import pairwise

import numpy as np

from penglai.abi.riscv import CHUNK_SIZE, PAGE_SIZE
from penglai.machine.pages import Pages

CHUNK_PAGES = CHUNK_SIZE // PAGE_SIZE
ALL = (1 << CHUNK_PAGES) - 1

LOOKS = 32
"""Chunks in which a run of the wanted length is looked for, before a whole one is broken."""

MOST_CHUNKS = 16
"""Chunks that one `grab` takes pages from, or pages for that many, so that nobody waits long for it."""


class Pool:
    """Free pages, by number.  Not safe for threads: its owner's lock is held for every call."""

    def __init__(self) -> None:
        self._free: dict[int, int] = {}
        self._whole: list[int] = []
        self._broken: list[int] = []

    def put(self, first: int, count: int) -> None:
        """Pages first to first + count, none of them in the pool, become free."""
        while count:
            chunk, start = divmod(first, CHUNK_PAGES)
            here = min(count, CHUNK_PAGES - start)
            before = self._free.get(chunk, 0)
            self._change(chunk, before, before | ((1 << here) - 1) << start)
            first, count = first + here, count - here

    def put_all(self, pages: Pages) -> None:
        """The same for scattered pages, at least one."""
        ordered = np.sort(pages)
        chunks = ordered // CHUNK_PAGES
        cuts = [0, *(np.flatnonzero(chunks[1:] != chunks[:-1]) + 1).tolist(), len(pages)]
        for start, end in pairwise(cuts):
            chunk = int(chunks[start])
            before = self._free.get(chunk, 0)
            self._change(chunk, before, before | _bits(ordered[start:end] % CHUNK_PAGES))

    def grab(self, count: int) -> list[range]:
        """Up to count pages as runs; at least one, of which there has to be one.

        Whole chunks first, side by side; for less than a chunk, the first run that is long enough.
        """
        wanted = min(count, MOST_CHUNKS * CHUNK_PAGES)
        if wanted >= CHUNK_PAGES and self._whole:
            return [self._grab_whole() for _ in range(min(wanted // CHUNK_PAGES, len(self._whole)))]
        for chunk in self._broken[:LOOKS]:
            start = find_run(self._free[chunk], wanted) if wanted < CHUNK_PAGES else -1
            if start >= 0:
                return [self._grab_run(chunk, start, wanted)]
        if self._whole:
            return [self._grab_run(self._whole[0], 0, wanted)]
        return self._gather(wanted)

    def grab_chunk(self) -> int | None:
        """The highest chunk that is all free, by number, taken out; None if there is none."""
        if not self._whole:
            return None
        chunk = self._whole[-1]
        self._change(chunk, ALL, 0)
        return chunk

    def _grab_whole(self) -> range:
        return self._grab_run(self._whole[0], 0, CHUNK_PAGES)

    def _grab_run(self, chunk: int, start: int, count: int) -> range:
        before = self._free[chunk]
        self._change(chunk, before, before & ~(((1 << count) - 1) << start))
        first = chunk * CHUNK_PAGES + start
        return range(first, first + count)

    def _gather(self, count: int) -> list[range]:
        """Whatever runs the first broken chunks have."""
        found: list[range] = []
        for chunk in self._broken[:MOST_CHUNKS]:
            while count and (bits := self._free.get(chunk, 0)):
                start, length = first_run(bits)
                run = self._grab_run(chunk, start, min(length, count))
                found.append(run)
                count -= len(run)
        return found

    def _change(self, chunk: int, before: int, after: int) -> None:
        """Note a chunk's free pages, and in which list it is."""
        if after:
            self._free[chunk] = after
        else:
            self._free.pop(chunk, None)
        old, new = self._list_of(before), self._list_of(after)
        if old is new:
            return
        if old is not None:
            del old[bisect_left(old, chunk)]
        if new is not None:
            insort(new, chunk)

    def _list_of(self, bits: int) -> list[int] | None:
        if not bits:
            return None
        return self._whole if bits == ALL else self._broken


def _bits(places: Pages) -> int:
    """The number that has ones at these places."""
    if len(places) == 1:
        return 1 << int(places[0])
    found = np.zeros(CHUNK_PAGES, dtype=np.bool_)
    found[places] = True
    return int.from_bytes(np.packbits(found, bitorder="little").tobytes(), "little")


def first_run(bits: int) -> tuple[int, int]:
    """Place and length of the lowest run of ones in a number that is not 0."""
    start = (bits & -bits).bit_length() - 1
    rest = bits >> start
    return start, (~rest & (rest + 1)).bit_length() - 1


def find_run(bits: int, length: int) -> int:
    """The lowest place of a run of length ones, or -1."""
    done = 1
    while bits and done < length:  # a one now means as many ones from here on as were done
        step = min(done, length - done)
        bits &= bits >> step
        done += step
    return (bits & -bits).bit_length() - 1
