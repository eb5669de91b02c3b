"""An enclave that owns its memory in pieces of one page, so that whatever is done to all of it takes long.

Another enclave, on another hart, makes calls meanwhile.  What it waits for is Python's lock and those of the
monitor, which are everybody's; nothing that one enclave owns may make that long.
"""

import math
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass

from penglai.abi.ecall import Ocall
from penglai.abi.limits import Limits
from penglai.abi.riscv import CHUNK_SIZE, PAGE_SIZE, RAM_BASE
from penglai.abi.sbi import HostCall, RunParam, RunValue
from penglai.machine import Board
from penglai.monitor.invariants import check
from tests.attack.tally import Effort, Tally
from tests.support.rawhost import (
    EXIT,
    RawHost,
    answering,
    call,
    lending,
    program,
)

TITLE = "memory in pieces of one page: what others wait for, and how long an end takes"

PIECES = 65536
"""256 MiB."""
MEMORIES = Limits().shared
"""Of secure shared memory an enclave cannot have more pieces."""
WAIT_MOST = 0.005
"""Seconds that a call of another enclave may wait."""
CLEARING_MOST = 3
"""A destroy may take so many times as long as clearing the memory does."""
TRIES = 20
"""At most so often is something measured, until it is within its bar: the machine does other things too."""

YIELD = call(89)


def repeat(count: int, body: str) -> str:
    """body, count times; s2 is the number of the round, from 0."""
    return f"li s2, 0\nli s3, {count}\n1:\n{body}addi s2, s2, 1\nblt s2, s3, 1b\n"


def splitting(base: str, count: int) -> str:
    """Cut the region at base (a register), count pages, into single pages."""
    cut = "mv a0, s4\nmv a1, s5\nli t2, 4096\nadd a2, s4, t2\n"
    step = "li t2, 4096\nadd s4, s4, t2\nsub s5, s5, t2\n"
    return f"mv s4, {base}\nli s5, {count * PAGE_SIZE}\n" + repeat(
        count - 1, cut + "li a6, 0x100101\nli a7, 92\necall\n" + step
    )


def server_that_splits(count: int) -> str:
    """Cuts what it is lent into pieces, waits, and returns."""
    return "mv s7, a1\n" + splitting("s7", count) + YIELD + answering("x0")


@dataclass(frozen=True)
class Way:
    """How an enclave comes to have its memory in count pieces, and what is then done to all of it at once.

    prepare: a program that ends with a yield.  relay: it gets its memory as relay pages.  act: what is timed;
    None: a destroy.
    """

    name: str
    prepare: Callable[[int], str]
    relay: bool = False
    server: Callable[[int], str] | None = None
    act: str | None = None


def mapped(count: int) -> str:
    return repeat(count, call(98, Ocall.MMAP, 0, PAGE_SIZE)) + YIELD


def shared(count: int) -> str:
    """In as many pieces as an enclave may have of it."""
    size = PAGE_SIZE * max(1, count // MEMORIES)
    get = call(98, Ocall.SHM_GET, "addi a1, s2, 1", size) + call(84, "addi a0, s2, 1")
    return repeat(min(count, MEMORIES), get) + YIELD


def mapped_whole(count: int) -> str:
    return call(98, Ocall.MMAP, 0, count * PAGE_SIZE) + "mv s6, a0\n"


UNMAP_ALL = "li a0, 2\nmv a1, s6\nli a2, @bytes\nli a6, 0x100101\nli a7, 98\necall\n" + YIELD

WAYS = [
    Way("mmap", mapped),
    Way("heap", lambda n: repeat(n, call(98, Ocall.SBRK, PAGE_SIZE)) + YIELD),
    Way("secure shared memory", shared),
    Way("mmap, split", lambda n: mapped_whole(n) + splitting("s6", n) + YIELD),
    Way("mmap, split, unmapped", lambda n: mapped_whole(n) + splitting("s6", n) + YIELD, act=UNMAP_ALL),
    Way("relay pages, split", lambda n: "mv s6, a3\n" + splitting("s6", n) + YIELD, relay=True),
    Way(
        "relay pages, split, returned",
        lambda n: "mv s6, a3\n" + splitting("s6", n) + YIELD,
        relay=True,
        act=call(98, Ocall.RETURN_RELAY),
    ),
    Way(
        "lent, split by the server",
        lambda n: mapped_whole(n) + f"li s7, {n * PAGE_SIZE}\n" + lending("splitter", "s6", "s7"),
        server=server_that_splits,
    ),
    Way(
        "lent, split by the server, given back",
        lambda n: mapped_whole(n) + f"li s7, {n * PAGE_SIZE}\n" + lending("splitter", "s6", "s7") + YIELD,
        server=server_that_splits,
        act="",
    ),
]

BYSTANDER = (
    "2:\n"
    + call(98, Ocall.MMAP, 0, PAGE_SIZE)
    + "mv s6, a0\n"
    + call(98, Ocall.UNMAP, "mv a1, s6", PAGE_SIZE)
    + call(83, 1)
    + YIELD
    + "j 2b\n"
)
"""Calls that need the lock of the memory, then that of the registry; one round for each entry."""


class Stage:
    """A board with as much memory as the pieces take, twice, and an enclave that stands by."""

    def __init__(self, count: int) -> None:
        self.count = count
        chunks = count * PAGE_SIZE // CHUNK_SIZE + 8
        size = (2 * chunks + 16) * CHUNK_SIZE
        self.board = Board(size, 2)
        self.raw = RawHost(self.board, chunks=chunks)
        self.relay = RAM_BASE + 8 * CHUNK_SIZE
        self.first, self.second = (self.board.host_port(hart) for hart in self.board.harts)
        self.bystander = self.raw.make(BYSTANDER)
        self.raw.start(self.bystander)
        self.mark = self.raw.page()

    def wait(self, way: Way) -> float:
        """Seconds that the bystander's longest call takes meanwhile."""
        return self.run(way, self.beside)

    def ratio(self, way: Way) -> float:
        """How many times as long as clearing the same memory the act takes; nobody else does anything."""
        return self.run(way, duration) / self.clearing()

    def run(self, way: Way, measured: Callable[[Callable[[], None]], float]) -> float:
        """Prepare, and measure the act."""
        raw = self.raw
        raw.rewind_to(self.mark)
        if way.server is not None:
            server = raw.make_server("splitter", way.server(self.count))
        act = (way.act or "").replace("@bytes", str(self.count * PAGE_SIZE))
        eid = raw.make(program(way.prepare(self.count) + act + EXIT))
        param = raw.page()
        if way.relay:
            raw.memory.write(param, bytes(RunParam(self.relay, self.count * PAGE_SIZE)))
        assert raw.call(HostCall.RUN, eid, param) == (0, RunValue.TIMER)
        result = raw.enter(eid, self.first)
        assert result == (0, RunValue.YIELD), result

        def end() -> None:
            if way.act is None:
                assert raw.call(HostCall.DESTROY, eid).error == 0
            else:
                result = raw.enter(eid, self.first)
                assert result.value in (RunValue.YIELD, RunValue.OCALL), result

        figure = measured(end)
        if way.act is not None:
            assert raw.call(HostCall.DESTROY, eid).error == 0
        if way.server is not None:
            assert raw.call(HostCall.DESTROY_SERVER, server).error == 0
        return figure

    def beside(self, act: Callable[[], None]) -> float:
        """Do something while the bystander makes calls; the longest of these, in seconds."""
        done, ready, waits = threading.Event(), threading.Event(), [0.0]

        def stand_by() -> None:
            while not done.is_set():
                start = time.perf_counter()
                result = self.raw.enter(self.bystander, self.second)
                assert result == (0, RunValue.YIELD), (result, self.raw.word(0), self.raw.word(1))
                waits.append(time.perf_counter() - start)
                ready.set()

        thread = threading.Thread(target=stand_by)
        thread.start()
        ready.wait()
        waits[:] = [0.0]
        act()
        done.set()
        thread.join()
        return max(waits)

    def clearing(self) -> float:
        """Seconds that clearing as much of the host's memory takes."""
        memory = self.board.memory
        first = memory.page_of(self.relay)
        pages = slice(first, first + self.count)
        return min(duration(lambda: memory.clear(pages)) for _ in range(3))

    def close(self) -> None:
        check(self.raw.monitor)
        self.board.power_off()


def duration(act: Callable[[], None]) -> float:
    """Seconds that it takes."""
    start = time.perf_counter()
    act()
    return time.perf_counter() - start


def attack(effort: Effort) -> Tally:
    """Each way once for its effects; and, in the form of `make attack`, timed, the best of some tries."""
    tally = Tally()
    timed = effort.scale >= 1
    stage = Stage(PIECES if timed else 512)
    for way in WAYS:
        with tally.case(way.name):
            if timed:
                judge(tally, stage, way)
            else:
                stage.wait(way)
    stage.close()
    return tally


def best(measure: Callable[[Way], float], way: Way, bar: float) -> float:
    """The first figure that is within the bar, or else the least."""
    least = math.inf
    for _ in range(TRIES):
        least = min(least, measure(way))
        if least <= bar:
            break
    return least


def judge(tally: Tally, stage: Stage, way: Way) -> None:
    waited = best(stage.wait, way, WAIT_MOST)
    ratio = best(stage.ratio, way, CLEARING_MOST)
    tally.notes.append(f"{way.name}: others wait {waited * 1e3:.1f} ms, {ratio:.1f} x clearing")
    assert waited <= WAIT_MOST, f"another enclave's call waits {waited * 1e3:.1f} ms"
    assert ratio <= CLEARING_MOST, f"it takes {ratio:.1f} times as long as clearing"
