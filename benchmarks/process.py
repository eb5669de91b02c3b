"""The peer: a process of the operating system, begun, stopped, continued and killed."""

import contextlib
import mmap
import os
import signal
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from benchmarks.board import Board
from benchmarks.measure import Effort, Report, Series
from benchmarks.programs import native


@dataclass
class Figures:
    """Of the process's life."""

    start: Series = field(default_factory=Series)
    stop: Series = field(default_factory=Series)
    resume: Series = field(default_factory=Series)
    kill: Series = field(default_factory=Series)


@contextlib.contextmanager
def shared_file() -> Iterator[tuple[Path, mmap.mmap]]:
    with tempfile.NamedTemporaryFile(dir="/dev/shm") as file:
        file.truncate(mmap.PAGESIZE)
        with mmap.mmap(file.fileno(), mmap.PAGESIZE) as mapping:
            yield Path(file.name), mapping


def live(rounds: int) -> Figures:
    """Lives of beat.c, each stopped and continued once."""
    program = native("beat.c")
    found = Figures()
    with shared_file() as (path, mapping):
        board = Board(mapping)
        for _ in range(rounds):
            board.clear()
            begun = time.monotonic_ns()
            child = os.posix_spawn(program, [program, path], os.environ)
            found.start.times.append(board.first() - begun)
            time.sleep(0.001)
            found.stop.time(lambda child=child: _stop(child))
            board.ask()
            begun = time.monotonic_ns()
            os.kill(child, signal.SIGCONT)
            found.resume.times.append(board.answer() - begun)
            found.kill.time(lambda child=child: _kill(child))
        board.release()
    return found


def _stop(child: int) -> None:
    os.kill(child, signal.SIGSTOP)
    os.waitpid(child, os.WUNTRACED)


def _kill(child: int) -> None:
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)


def measure(report: Report, effort: Effort) -> None:
    found = live(effort.rounds(200))
    report.times("process: spawn (fork, exec) to main", found.start)
    report.times("process: SIGSTOP to stopped", found.stop)
    report.times("process: SIGCONT to running", found.resume)
    report.times("process: SIGKILL to gone", found.kill)
