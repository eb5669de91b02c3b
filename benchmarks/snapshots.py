"""Snapshots: an enclave sealed into the host's memory and made of it again, beside sealing as many bytes."""

import io
import os
import time
from functools import partial

from cryptography.hazmat.primitives.ciphers.aead import AESGCM

import penglai
from benchmarks.measure import Effort, Report, Series
from benchmarks.programs import enclave, life
from penglai.abi.riscv import PAGE_SIZE
from penglai.driver.driver import Order
from penglai.driver.task import Task

LARGE = 64 << 20
AT_ONCE = 1 << 20
"""Bytes that are sealed at once, as the monitor does."""


def measure(report: Report, effort: Effort) -> None:
    with penglai.Machine("512M", harts=1, state=None) as machine:
        made = machine.create(life(16 << 10))
        pages = made.info().pages
        cycle(report, machine, made, f"{pages} pages", effort.rounds(300))
        large = machine.create(enclave("fill.c", f"-DSIZE={LARGE}UL"))
        large.start()
        while large.info().calls < 100:  # it has been filled when it yields
            time.sleep(0.01)
        large.stop()
        cycle(report, machine, large, "64 MiB", effort.rounds(12))


def cycle(report: Report, machine: penglai.Machine, made: penglai.Enclave, what: str, rounds: int) -> None:
    """Out of the machine and back, with no file and no disk."""
    driver, task = machine._driver, made._task
    take, put, seal = Series(), Series(), Series()
    for _ in range(rounds):
        pieces: list[bytes] = []
        take.time(lambda task=task: driver.snapshot(task, len, 0))
        number = driver.snapshot(task, pieces.append, 0)
        driver.move_away(task, number)
        blob = io.BytesIO(b"".join(pieces))
        order = Order(task.name, task.kind, task.stack_size, task.on_end, task.make_run)
        back: list[Task] = []
        restore = partial(driver.restore, order, blob.read, bytes(PAGE_SIZE))
        put.time(lambda restore=restore, back=back: back.append(restore()))
        (task,) = back
        content = blob.getvalue()
        seal.time(lambda content=content: aead(content))
    driver.destroy(task)
    report.times(f"snapshot of {what}", take, seal, "AES-256-GCM of its bytes")
    report.times(f"restore of {what}", put, seal, "AES-256-GCM of its bytes")
    for name, series in (("snapshot", take), ("restore", put)):
        if what == "64 MiB":
            report.bar(f"{name} of {what}, to sealing its bytes", series.p50 / seal.p50, 1.3, "x")
        else:
            report.bar(f"{name} of {what}", series.p50, 1000)


def aead(data: bytes) -> None:
    """Seal as many bytes as are in a snapshot."""
    cipher, view = AESGCM(os.urandom(32)), memoryview(data)
    for number, start in enumerate(range(0, len(data), AT_ONCE)):
        cipher.encrypt(number.to_bytes(12, "little"), view[start : start + AT_ONCE], None)
