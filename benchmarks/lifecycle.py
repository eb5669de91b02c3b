"""The life cycle: by the size of the image, and with every hart busy; beside SM3, clearing and a process."""

import mmap
import random
import time

import numpy as np
from cryptography.hazmat.primitives import hashes
from numpy.typing import NDArray

import penglai
from benchmarks import process
from benchmarks.board import Board
from benchmarks.floors import Round, WakeUp
from benchmarks.measure import Effort, Report, Series
from benchmarks.programs import life
from penglai.abi.riscv import NS_PER_TICK
from penglai.machine.clock import Clock
from penglai.machine.pages import joined

SIZES = {"16 KiB": 16 << 10, "64 KiB": 64 << 10, "1 MiB": 1 << 20, "16 MiB": 16 << 20, "64 MiB": 64 << 20}
LARGE = 16 << 20
CREATE_ROUNDS = 1500
"""What a create of 64 KiB may take beside SM3, in empty rounds from a program to Python and back."""
INSTANCE_ROUNDS = 600
"""And an instance of a shadow, until its first instruction."""
WAKE_UPS = 8
"""What a stop or a resume may take, in wake-ups of a thread that sleeps, while as many harts are busy."""


def measure(report: Report, effort: Effort) -> None:
    names = ["16 KiB", "1 MiB"] if effort.quick else list(SIZES)
    for name in names:
        by_size(report, effort, name)
    peer = process.live(effort.rounds(100))
    for harts in (1, 2):
        running(report, effort, harts, peer)
    instances(report, effort, ["16 KiB", "1 MiB"] if effort.quick else ["16 KiB", "1 MiB", "16 MiB"])


def by_size(report: Report, effort: Effort, name: str) -> None:
    """Create, attest and destroy, beside hashing and clearing as many bytes, taking turns."""
    size = SIZES[name]
    image = life(size)
    create, attest, destroy, sm3, clear = (Series() for _ in range(5))
    empty = Round()
    rounds = effort.rounds(8 if size >= LARGE else 100)
    with penglai.Machine("256M", state=None) as machine:
        with_parsing = Series()
        with_parsing.time(lambda: machine.create(image).destroy())
        pages = machine.create(image).info().pages
        machine.enclaves[0].destroy()
        content = random.Random(1).randbytes(1 << 20) * (1 + (pages >> 8))
        content = content[: pages * mmap.PAGESIZE]
        runs = _runs(machine, image)
        with mmap.mmap(-1, len(content), flags=mmap.MAP_SHARED) as mapping:
            memory = np.frombuffer(mapping, dtype="u1")
            memory[:] = 1
            parts = np.array_split(memory, runs)
            for nonce in range(rounds):
                made: list[penglai.Enclave] = []
                create.time(lambda made=made: made.append(machine.create(image)))
                attest.time(lambda made=made, nonce=nonce: made[0].attest(nonce))
                destroy.time(made[0].destroy)
                sm3.time(lambda: _sm3(content))
                clear.time(lambda parts=parts: _clear(parts))
                empty.measure()
            del memory, parts
    report.times(f"create, {name} image", create, sm3, "SM3 of its pages")
    report.times(f"attest, {name} image", attest)
    report.times(f"destroy, {name} image", destroy, clear, "clearing as much")
    empty.close()
    if name == "64 KiB":
        beside = (create.p50 - sm3.p50) / empty.times.p50
        report.bar("create of 64 KiB beside SM3, to an empty round", beside, CREATE_ROUNDS, "x")
    if size >= LARGE:
        report.bar(f"create of {name}, to SM3 of its pages", create.p50 / sm3.p50, 1.3, "x")
    if name == "64 MiB":
        report.bar("destroy of 64 MiB, to clearing as many runs", destroy.p50 / clear.p50, 1.2, "x")


def _runs(machine: penglai.Machine, image: bytes) -> int:
    """In how many pieces the pages of such an enclave lie."""
    made = machine.create(image)
    (record,) = machine._monitor.enclaves()
    found = joined([pages for pages in record.owned() if len(pages)])
    pieces = 1 + int(np.count_nonzero(np.diff(found) != 1))
    made.destroy()
    return pieces


def _clear(parts: list[NDArray[np.uint8]]) -> None:
    for part in parts:
        part.fill(0)


def _sm3(data: bytes) -> None:
    digest = hashes.Hash(hashes.SM3())
    digest.update(data)
    digest.finalize()


def running(report: Report, effort: Effort, harts: int, peer: process.Figures) -> None:
    """Start, stop, resume, destroy, with an enclave that never ends on every other hart."""
    image = life(SIZES["16 KiB"])
    start, stop, resume, destroy = (Series() for _ in range(4))
    pause = random.Random(1)
    clock, wake = Clock(), WakeUp()
    with penglai.Machine(harts=harts, clock=clock, state=None) as machine:
        others = machine.shared_memory(mmap.PAGESIZE)
        for _ in range(harts - 1):
            machine.create(image, shm=others).start()
        memory = machine.shared_memory(mmap.PAGESIZE)
        board = Board(memory)
        for _ in range(effort.rounds(600, 5)):
            board.clear()
            enclave = machine.create(image, shm=memory)
            begun = clock.now()
            enclave.start()
            start.times.append(board.first() * NS_PER_TICK - begun)
            time.sleep(pause.uniform(0.0005, 0.003))
            wake.measure()
            stop.time(enclave.stop)
            board.ask()
            begun = clock.now()
            enclave.resume()
            resume.times.append(board.answer() * NS_PER_TICK - begun)
            time.sleep(pause.uniform(0.0005, 0.003))
            destroy.time(enclave.destroy)
        board.release()
    harts_busy = f"{harts} busy hart{'s' * (harts > 1)}"
    report.times(f"start to first instruction, {harts_busy}", start, peer.start, "process: spawn to main")
    report.times(f"stop to acknowledged, {harts_busy}", stop, peer.stop, "process: SIGSTOP")
    report.times(f"resume to running, {harts_busy}", resume, peer.resume, "process: SIGCONT")
    report.times(f"destroy of a running one, {harts_busy}", destroy, peer.kill, "process: SIGKILL")
    report.times(f"a thread's wake-up, {harts_busy}", wake.times)
    wake.close()
    for what, series in (("stop to acknowledged", stop), ("resume to running", resume)):
        ratio = series.p50 / wake.times.p50
        report.bar(f"{what}, {harts_busy}, to a thread's wake-up", ratio, WAKE_UPS, "x")
        if harts > 1:
            ratio = series.p99 / wake.times.p99
            report.bar(f"{what}, {harts_busy}, p99, to that of a wake-up", ratio, WAKE_UPS, "x")


def instances(report: Report, effort: Effort, names: list[str]) -> None:
    """Shadows by size: made, and their instances, which take turns."""
    clock, empty = Clock(), Round()
    starts = {name: Series() for name in names}
    with penglai.Machine("256M", harts=1, clock=clock, state=None) as machine:
        memory = machine.shared_memory(mmap.PAGESIZE)
        board = Board(memory)
        shadows = {}
        for name in names:
            image = life(SIZES[name])
            machine.create(image, kind="shadow").destroy()
            create = Series()
            for _ in range(effort.rounds(5 if SIZES[name] >= LARGE else 20)):
                made: list[penglai.Enclave] = []
                create.time(lambda made=made, image=image: made.append(machine.create(image, kind="shadow")))
                made[0].destroy()
            report.times(f"create shadow, {name} image", create)
            shadows[name] = machine.create(image, kind="shadow", shm=memory)
        for _ in range(effort.rounds(200)):
            for name, shadow in shadows.items():
                board.clear()
                begun = clock.now()
                run = shadow.start()
                starts[name].times.append(board.first() * NS_PER_TICK - begun)
                run.enclave.destroy()
                empty.measure()
        board.release()
    empty.close()
    for name, start in starts.items():
        report.times(f"instance to first instruction, {name} image", start)
        ratio = start.p50 / empty.times.p50
        report.bar(
            f"instance to first instruction, {name} image, to an empty round", ratio, INSTANCE_ROUNDS, "x"
        )
    first, last = names[0], names[-1]
    ratio = starts[last].p50 / starts[first].p50
    report.bar(f"instance of {last}, to one of {first}", ratio, 1.2, "x")
