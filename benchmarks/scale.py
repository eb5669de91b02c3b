"""Many enclaves, and much memory: what a call costs then, what an idle enclave takes, who gets a turn."""

import gc
import mmap
import re
import time
from pathlib import Path

import penglai
from benchmarks import calls
from benchmarks.board import Board
from benchmarks.measure import Effort, Report, Series
from benchmarks.programs import enclave as compiled
from benchmarks.programs import life
from penglai.abi.riscv import NS_PER_TICK, PAGE_SIZE
from penglai.machine.clock import Clock

SMALL_STACK = PAGE_SIZE
FEW = 10
CALL_ROUNDS = 200
LIFE = (
    "create",
    "attest",
    "start to first instruction",
    "stop",
    "resume to running",
    "info",
    "destroy",
    "shadow instance to first instruction",
)
ENCLAVE_CALLS = {"ocall": "OCALL", "reflected system call": "REFLECTED", "server call and return": "SERVER"}
"""What an enclave calls, and its name in calls.c."""
CALLS = (*LIFE, *ENCLAVE_CALLS)
TURN = 0.01
"""Seconds that an enclave has a hart for."""


def measure(report: Report, effort: Effort) -> None:
    live(report, effort)
    power_on(report, effort)
    rotation(report, effort)


# ---- the cost of a call by the number of enclaves ------------------------------------------------


class Site:
    """A machine on which one more enclave lives its life, again and again."""

    def __init__(self, machine: penglai.Machine, clock: Clock, image: bytes) -> None:
        self.machine = machine
        self.image = image
        self._clock = clock
        self._memory = machine.shared_memory(mmap.PAGESIZE)
        self._board = Board(self._memory)
        self._shadow = machine.create(image, kind="shadow", shm=self._memory, stack_size=SMALL_STACK)
        machine.create(compiled("server.c"), name="server", kind="server", stack_size=SMALL_STACK)

    def crowd(self, count: int) -> list[penglai.Enclave]:
        """So many more idle ones."""
        return [self.machine.create(self.image, stack_size=SMALL_STACK) for _ in range(count)]

    def live(self, nonce: int, found: dict[str, Series]) -> None:
        """Every call of a life, once."""
        board, clock = self._board, self._clock
        made: list[penglai.Enclave] = []
        board.clear()
        found["create"].time(
            lambda: made.append(self.machine.create(self.image, stack_size=SMALL_STACK, shm=self._memory))
        )
        enclave = made[0]
        found["attest"].time(lambda: enclave.attest(nonce))
        begun = clock.now()
        enclave.start()
        found["start to first instruction"].times.append(board.first() * NS_PER_TICK - begun)
        board.ask()
        board.answer()  # its C runtime's start is no part of the resume
        found["stop"].time(enclave.stop)
        board.ask()
        begun = clock.now()
        enclave.resume()
        found["resume to running"].times.append(board.answer() * NS_PER_TICK - begun)
        found["info"].time(enclave.info)
        found["destroy"].time(enclave.destroy)
        board.clear()
        begun = clock.now()
        run = self._shadow.start()
        found["shadow instance to first instruction"].times.append(board.first() * NS_PER_TICK - begun)
        run.enclave.destroy()

    def call(self, rounds: int, clock: float, found: dict[str, Series]) -> None:
        """Every call of an enclave, in so many rounds.  clock: µs that reading the time takes it."""
        for what, kind in ENCLAVE_CALLS.items():
            found[what].times += calls.run(self.machine, rounds, kind, less=clock).times

    def release(self) -> None:
        """Let the memory go."""
        self._board.release()


def live(report: Report, effort: Effort) -> None:
    """Every call with more and more idle enclaves, in turn with a machine of few; memory of an idle one."""
    counts = [100] if effort.quick else [100, 1000, 10_000]
    clock = Clock()
    image = life(0)
    with (
        penglai.Machine("64M", clock=clock, state=None) as small,
        penglai.Machine("256M" if effort.quick else "4G", clock=clock, state=None) as large,
    ):
        few, many = Site(small, clock, image), Site(large, clock, image)
        few.crowd(FEW)
        rounds, turns = effort.rounds(400), effort.rounds(10, 2)
        clock_time = calls.run(small, effort.rounds(1000, 50), "NOTHING").p50
        once([few, many], effort.rounds(20), 1, clock_time)
        of_few = {what: Series() for what in CALLS}
        idle: list[penglai.Enclave] = []
        gc.collect()
        before = memory_use()
        for count in counts:
            idle += many.crowd(count - len(idle))
            if count == counts[-1]:
                gc.collect()
                footprint(report, large, before, memory_use(), idle)
            there, here = once([few, many], rounds, turns, clock_time)
            for what in CALLS:
                of_few[what].times += there[what].times
                report.times(f"{what}, {count:,} live", here[what], there[what], f"{FEW} live")
                if count == counts[-1]:
                    ratio = here[what].p50 / there[what].p50
                    report.bar(f"{what} with {count:,} live, to {FEW}", ratio, 1.2, "x")
        for what in CALLS:
            report.times(f"{what}, {FEW} live", of_few[what])
        few.release()
        many.release()
        closing = Series()
        closing.time(large.close)
        report.figure(f"close with {counts[-1]:,} live, each", closing.p50 / counts[-1], "µs")


def once(sites: list[Site], rounds: int, turns: int, clock: float) -> list[dict[str, Series]]:
    """Lives, and turns of enclaves' calls, by site; they take turns."""
    found = [{what: Series() for what in CALLS} for _ in sites]
    for nonce in range(rounds):
        for site, series in zip(sites, found, strict=True):
            site.live(nonce, series)
    for _ in range(turns):
        for site, series in zip(sites, found, strict=True):
            site.call(CALL_ROUNDS, clock, series)
    return found


def memory_use() -> tuple[int, int]:
    """Bytes of this process: its own, and those of machines' memory."""
    status = Path("/proc/self/status").read_text()
    own, shared = (int(re.search(rf"{name}:\s+(\d+)", status)[1]) for name in ("RssAnon", "RssShmem"))
    return own << 10, shared << 10


def footprint(
    report: Report,
    machine: penglai.Machine,
    before: tuple[int, int],
    after: tuple[int, int],
    idle: list[penglai.Enclave],
) -> None:
    """What an idle enclave takes.  Its tables: those of the monitor's own record."""
    pages = idle[0].info().pages * PAGE_SIZE / 1024
    tables = len(machine._monitor.enclaves()[0].table.tables) * PAGE_SIZE / 1024
    records, memory = (max(0, now - then) / len(idle) / 1024 for then, now in zip(before, after, strict=True))
    report.figure("idle enclave: its pages", pages, "KiB")
    report.figure("idle enclave: its page tables", tables, "KiB")
    report.figure("idle enclave: records in the process", records, "KiB")
    report.figure(
        "idle enclave: of the machine's memory beyond those", max(0, memory - pages - tables), "KiB"
    )
    report.bar(
        "idle enclave, beyond its pages and tables", records + max(0, memory - pages - tables), 16, "KiB"
    )


# ---- memory ----------------------------------------------------------------------------------------


def power_on(report: Report, effort: Effort) -> None:
    """A machine of much memory, beside one of little; and the first enclave on it."""
    series = {size: Series() for size in ("256M", "16G")}
    first = {size: Series() for size in series}
    resident = {}
    image = life(0)
    for _ in range(effort.rounds(40)):
        for size, times in series.items():
            before = memory_use()
            made: list[penglai.Machine] = []
            times.time(lambda made=made, size=size: made.append(penglai.Machine(memory=size, state=None)))
            resident.setdefault(size, max(0, sum(memory_use()) - sum(before)) / (1 << 20))
            first[size].time(lambda made=made: made[0].create(image))
            made[0].close()
    report.times("power on, 16 GiB", series["16G"], series["256M"], "256 MiB")
    report.times("first create after power on, 16 GiB", first["16G"], first["256M"], "256 MiB")
    report.figure("resident after power on, 16 GiB", resident["16G"], "MiB", resident["256M"], "256 MiB")
    report.bar("power on with 16 GiB, to 256 MiB", series["16G"].p50 / series["256M"].p50, 1.2, "x")


# ---- turns ------------------------------------------------------------------------------------------


def rotation(report: Report, effort: Effort) -> None:
    """Enclaves that never end, many more than harts: each has its turn."""
    count, harts, rounds = (20, 2, 3) if effort.quick else (1000, 2, 4)
    image = life(0)
    with penglai.Machine("1G", harts=harts, state=None) as machine:
        memory = machine.shared_memory(PAGE_SIZE * count)
        enclaves = [
            machine.create(
                image, stack_size=SMALL_STACK, shm=memory, shm_offset=PAGE_SIZE * number, shm_size=PAGE_SIZE
            )
            for number in range(count)
        ]
        for enclave in enclaves:
            enclave.start()
        time.sleep(count / harts * TURN)  # now each of them has had a turn
        begun, before = time.monotonic(), [enclave.info() for enclave in enclaves]
        time.sleep(count / harts * TURN * rounds)
        taken, after = time.monotonic() - begun, [enclave.info() for enclave in enclaves]
        stop = Series()
        for enclave in enclaves:
            stop.time(enclave.stop)
    pairs = list(zip(before, after, strict=True))
    times = sorted((new.run_time - old.run_time) / 1e6 for old, new in pairs)
    turns = sorted(new.preemptions - old.preemptions for old, new in pairs)
    what = f"rotation of {count}"
    report.figure(f"{what}: turns of the least served", turns[0], "turns", turns[-1], "of the most")
    report.figure(f"{what}: run time of the least served", times[0], "ms", sum(times) / count, "mean")
    report.figure(f"{what}: share of harts in enclaves", sum(times) / 1000 / (harts * taken), "x")
    report.times(f"{what}: stop of one", stop)
    report.bar(f"{what}: turns, the most served less the least", turns[-1] - turns[0], 1, "turns")
