"""The life cycle: by the size of the image, and with every hart busy; beside SM3, clearing and a process."""

import mmap
import random
import time

import numpy as np
from cryptography.hazmat.primitives import hashes

import penglai
from benchmarks import process
from benchmarks.board import Board
from benchmarks.measure import Effort, Report, Series
from benchmarks.programs import life
from penglai.abi.riscv import NS_PER_TICK
from penglai.machine.clock import Clock

SIZES = {"16 KiB": 16 << 10, "64 KiB": 64 << 10, "1 MiB": 1 << 20, "16 MiB": 16 << 20, "64 MiB": 64 << 20}
LARGE = 16 << 20


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
    rounds = effort.rounds(8 if size >= LARGE else 100)
    with penglai.Machine("256M", state=None) as machine:
        with_parsing = Series()
        with_parsing.time(lambda: machine.create(image).destroy())
        pages = machine.create(image).info().pages
        machine.enclaves[0].destroy()
        content = random.Random(1).randbytes(1 << 20) * (1 + (pages >> 8))
        content = content[: pages * mmap.PAGESIZE]
        with mmap.mmap(-1, len(content), flags=mmap.MAP_SHARED) as mapping:
            memory = np.frombuffer(mapping, dtype="u1")
            memory[:] = 1
            for nonce in range(rounds):
                made: list[penglai.Enclave] = []
                create.time(lambda made=made: made.append(machine.create(image)))
                attest.time(lambda made=made, nonce=nonce: made[0].attest(nonce))
                destroy.time(made[0].destroy)
                sm3.time(lambda: _sm3(content))
                clear.time(lambda memory=memory: memory.fill(0))
            del memory
    report.times(f"create, {name} image", create, sm3, "SM3 of its pages")
    report.times(f"attest, {name} image", attest)
    report.times(f"destroy, {name} image", destroy, clear, "clearing as much")
    if name == "64 KiB":
        report.bar("create of 64 KiB", create.p50, 1000)
    if size >= LARGE:
        report.bar(f"create of {name}, to SM3 of its pages", create.p50 / sm3.p50, 1.3, "x")
    if name == "64 MiB":
        report.bar("destroy of 64 MiB, to clearing", destroy.p50 / clear.p50, 1.2, "x")


def _sm3(data: bytes) -> None:
    digest = hashes.Hash(hashes.SM3())
    digest.update(data)
    digest.finalize()


def running(report: Report, effort: Effort, harts: int, peer: process.Figures) -> None:
    """Start, stop, resume, destroy, with an enclave that never ends on every other hart."""
    image = life(SIZES["16 KiB"])
    start, stop, resume, destroy = (Series() for _ in range(4))
    pause = random.Random(1)
    clock = Clock()
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
    for what, series in (("stop to acknowledged", stop), ("resume to running", resume)):
        report.bar(f"{what}, {harts_busy}", series.p50, 150)
        if harts > 1:
            report.bar(f"{what}, {harts_busy}, p99", series.p99, 2000)


def instances(report: Report, effort: Effort, names: list[str]) -> None:
    """Shadows by size: made, and their instances, which take turns."""
    clock = Clock()
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
        board.release()
    for name, start in starts.items():
        report.times(f"instance to first instruction, {name} image", start)
        report.bar(f"instance to first instruction, {name} image", start.p50, 300)
    first, last = names[0], names[-1]
    ratio = starts[last].p50 / starts[first].p50
    report.bar(f"instance of {last}, to one of {first}", ratio, 1.2, "x")
