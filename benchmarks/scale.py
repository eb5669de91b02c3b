"""Many enclaves, and much memory: what a call costs then, what an idle enclave takes, who gets a turn."""

import gc
import mmap
import re
import time
from pathlib import Path

import penglai
from benchmarks.board import Board
from benchmarks.measure import Effort, Report, Series
from benchmarks.programs import life
from penglai.abi.riscv import NS_PER_TICK, PAGE_SIZE
from penglai.machine.clock import Clock

SMALL_STACK = PAGE_SIZE
CALLS = (
    "create",
    "attest",
    "start to first instruction",
    "stop",
    "resume to running",
    "info",
    "destroy",
    "shadow instance to first instruction",
)
TURN = 0.01
"""Seconds that an enclave has a hart for."""


def measure(report: Report, effort: Effort) -> None:
    live(report, effort)
    power_on(report, effort)
    rotation(report, effort)


# ---- the cost of a call by the number of enclaves ------------------------------------------------


def live(report: Report, effort: Effort) -> None:
    """Every call with more and more idle enclaves, and what an idle one takes."""
    counts = [10, 100] if effort.quick else [10, 100, 1000, 10_000]
    clock = Clock()
    image = life(0)
    found: dict[int, dict[str, Series]] = {}
    with penglai.Machine("256M" if effort.quick else "4G", clock=clock, state=None) as machine:
        once(machine, clock, image, 20)
        idle: list[penglai.Enclave] = []
        gc.collect()
        before = memory_use()
        for count in counts:
            idle += [machine.create(image, stack_size=SMALL_STACK) for _ in range(count - len(idle))]
            if count == counts[-1]:
                gc.collect()
                footprint(report, machine, before, memory_use(), idle)
            found[count] = once(machine, clock, image, effort.rounds(200))
        first, last = counts[0], counts[-1]
        for what in CALLS:
            for count in counts:
                peer = found[first][what] if count != first else None
                report.times(f"{what}, {count:,} live", found[count][what], peer, f"{first} live")
            ratio = found[last][what].p50 / found[first][what].p50
            report.bar(f"{what} with {last:,} live, to {first}", ratio, 1.2, "x")
        closing = Series()
        closing.time(machine.close)
        report.figure(f"close with {last:,} live, each", closing.p50 / last, "µs")


def once(machine: penglai.Machine, clock: Clock, image: bytes, rounds: int) -> dict[str, Series]:
    """Lives of one more enclave."""
    found = {what: Series() for what in CALLS}
    memory = machine.shared_memory(mmap.PAGESIZE)
    board = Board(memory)
    shadow = machine.create(image, kind="shadow", shm=memory, stack_size=SMALL_STACK)
    for nonce in range(rounds):
        made: list[penglai.Enclave] = []
        board.clear()
        found["create"].time(
            lambda made=made: made.append(machine.create(image, stack_size=SMALL_STACK, shm=memory))
        )
        enclave = made[0]
        found["attest"].time(lambda enclave=enclave, nonce=nonce: enclave.attest(nonce))
        begun = clock.now()
        enclave.start()
        found["start to first instruction"].times.append(board.first() * NS_PER_TICK - begun)
        found["stop"].time(enclave.stop)
        board.ask()
        begun = clock.now()
        enclave.resume()
        found["resume to running"].times.append(board.answer() * NS_PER_TICK - begun)
        found["info"].time(enclave.info)
        found["destroy"].time(enclave.destroy)
        board.clear()
        begun = clock.now()
        run = shadow.start()
        found["shadow instance to first instruction"].times.append(board.first() * NS_PER_TICK - begun)
        run.enclave.destroy()
    shadow.destroy()
    board.release()
    machine.free(memory)
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
    records, memory = ((now - then) / len(idle) / 1024 for then, now in zip(before, after, strict=True))
    report.figure("idle enclave: its pages", pages, "KiB")
    report.figure("idle enclave: its page tables", tables, "KiB")
    report.figure("idle enclave: records in the process", records, "KiB")
    report.figure(
        "idle enclave: of the machine's memory beyond those", max(0, memory - pages - tables), "KiB"
    )
    report.bar("idle enclave, beyond its pages and tables", records + memory - pages - tables, 16, "KiB")


# ---- memory ----------------------------------------------------------------------------------------


def power_on(report: Report, effort: Effort) -> None:
    """A machine of much memory, beside one of little; and the first enclave on it."""
    series = {size: Series() for size in ("256M", "16G")}
    first = {size: Series() for size in series}
    resident = {}
    image = life(0)
    for _ in range(effort.rounds(10)):
        for size, times in series.items():
            before = memory_use()
            made: list[penglai.Machine] = []
            times.time(lambda made=made, size=size: made.append(penglai.Machine(memory=size, state=None)))
            resident.setdefault(size, (sum(memory_use()) - sum(before)) / (1 << 20))
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
        begun = time.monotonic()
        for enclave in enclaves:
            enclave.start()
        time.sleep(max(0, count / harts * rounds * TURN - (time.monotonic() - begun)))
        stop = Series()
        for enclave in enclaves:
            stop.time(enclave.stop)
        taken = time.monotonic() - begun
        infos = [enclave.info() for enclave in enclaves]
    times = sorted(info.run_time / 1e6 for info in infos)
    turns = sorted(info.preemptions for info in infos)
    mean = sum(times) / count
    report.figure(
        f"rotation of {count}: turns of the least and the most served", turns[0], "turns", turns[-1]
    )
    report.figure(f"rotation of {count}: run time of the least served", times[0], "ms", mean, "mean")
    report.figure(
        f"rotation of {count}: share of the harts' time in enclaves", sum(times) / 1000 / (harts * taken), "x"
    )
    report.times(f"rotation of {count}: stop of one", stop)
    report.bar(
        f"rotation of {count}: turns between the least and the most served", turns[-1] - turns[0], 1, "turns"
    )
