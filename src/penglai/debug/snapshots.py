"""Snapshots of a replay: what is on its pages and in its enclaves' registers before some runs."""

import time
from dataclasses import dataclass

from penglai.abi.riscv import PAGE_SIZE
from penglai.debug.recording import Event, Page, Write, Zeros
from penglai.debug.replay import Player

LEAST_SECONDS = 0.1
"""Of replay between two of them."""
SHARE = 10
"""And so many times as long as the last one took."""
MOST_BYTES = 256 << 20
"""What they take; when it is more, every other one goes, and later ones are rarer."""


@dataclass
class Snapshot:
    """pages: what is on those that were touched by then; one is shared by snapshots in which it is the same.

    spaces: of each enclave its context and how often it had run.
    """

    pages: dict[int, bytes]
    spaces: list[tuple[bytes, int]]


class Snapshots:
    """Of one player, by the number of the run before which they were taken."""

    def __init__(self, player: Player) -> None:
        self._player = player
        self._taken: dict[int, Snapshot] = {}
        self._touched: set[int] = set()
        self._bytes = 0
        self._pause = LEAST_SECONDS
        self._due = 0.0

    def note(self, event: Event) -> None:
        """An event is about to be applied: pages of enclaves are those that come in one."""
        memory = self._player.memory
        if isinstance(event, Page):
            self._touched.add(event.number)
        elif isinstance(event, Write):
            self._touched.add(memory.page_of(event.address))
        elif isinstance(event, Zeros):
            self._touched.update(range(event.first, event.first + event.count))

    def offer(self, run: int) -> None:
        """All is as it is before this run: take a snapshot if it is time, or if there is none."""
        start = time.monotonic()
        if run in self._taken or (self._taken and (start < self._due or run < max(self._taken))):
            return
        before = self._taken[max(self._taken)].pages if self._taken else {}
        pages = {}
        for page in self._touched:
            now = self._player.memory.read(self._player.memory.address_of(page), PAGE_SIZE)
            old = before.get(page)
            pages[page] = old if old == now else now
            self._bytes += 0 if old == now else PAGE_SIZE
        spaces = [(bytes(each.context), each.runs) for each in self._player.spaces]
        self._taken[run] = Snapshot({page: data for page, data in pages.items() if data is not None}, spaces)
        end = time.monotonic()
        self._due = end + max(self._pause, SHARE * (end - start))
        if self._bytes > MOST_BYTES:
            self._thin()

    def before(self, run: int) -> list[int]:
        """Runs up to this one before which there is a snapshot, the latest first."""
        return sorted((each for each in self._taken if each <= run), reverse=True)

    def restore(self, run: int) -> int:
        """Let all be as it was before this run or an earlier one; which one that is."""
        (number, *_) = self.before(run)
        snapshot = self._taken[number]
        self._player.restore(snapshot.pages, snapshot.spaces)
        return number

    def _thin(self) -> None:
        _, *others = sorted(self._taken)
        for number in others[::2]:
            del self._taken[number]
        self._bytes = PAGE_SIZE * len(
            {id(data) for each in self._taken.values() for data in each.pages.values()}
        )
        self._pause *= 2
