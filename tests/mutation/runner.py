"""Runs tests against a changed copy of the source, each time in a new process.

The process is a fork of this one, which has imported pytest and the libraries but nothing of penglai and no
test: it has no threads and no engine, so the fork is whole, and a mutant costs no start of an interpreter.
"""

import json
import os
import resource
import shutil
import signal
import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

import coverage
import cryptography.hazmat.primitives.hashes  # noqa: F401 - imported once, for all that is forked
import elftools.elf.elffile  # noqa: F401
import numpy as np  # noqa: F401
import pytest

from tests.mutation.inside import Chosen, First, Watching

ROOT = Path(__file__).parents[2]
PACKAGE = ROOT / "src/penglai"
SLACK = 8.0
LONGER = 3.0
"""Tests of a mutant may use LONGER times what they took on the tree as it is, and SLACK seconds more."""
WAITING = 3.0
PATIENCE = 60.0
"""It may take WAITING times as long, and PATIENCE seconds more, for one that waits, or on a busy machine."""
PASSED, NOTHING = 0, 5
"""Exit status of pytest: all tests have passed, or there were none."""
TOO_LONG, DIED = -1, -2
ENDED = (None, signal.SIGXCPU, signal.SIGKILL)
"""What `_wait` returns of a process that took too long: nothing, or the signal that ended it."""

OUTPUT = "output"
"""File with what a process printed."""

Answer = tuple[int, Any]
"""Exit status of pytest, and what goes with it."""

KILLED, SURVIVED, TIMED_OUT, UNREACHED = "killed", "survived", "timed out", "no test reaches it"
NOTICED = (KILLED, TIMED_OUT)


@dataclass
class Reach:
    """Which tests execute a line.  seconds: what each test takes."""

    seconds: dict[str, float] = field(default_factory=dict)
    lines: dict[str, dict[int, list[str]]] = field(default_factory=dict)
    """File below src -> line -> tests; the test "" is the import."""

    @classmethod
    def read(cls, path: Path) -> Self:
        """What `write` has written."""
        seconds, lines = json.loads(path.read_text())
        return cls(seconds, {name: {int(n): tests for n, tests in by.items()} for name, by in lines.items()})

    def write(self, path: Path) -> None:
        """Keep it in a file."""
        _write_whole(path, json.dumps([self.seconds, self.lines]))

    def of(self, file: str, lines: range) -> list[str]:
        """Tests that reach one of these lines, the quickest first; if the import does, all of the file's."""
        known = self.lines.get(file, {})
        found = {test for line in lines for test in known.get(line, ())}
        if "" in found:
            found |= {test for tests in known.values() for test in tests}
        return sorted(found - {""}, key=lambda test: self.seconds.get(test, 0.0))

    def at_import(self, file: str, lines: range) -> bool:
        """Whether one of these lines is executed before the first test."""
        known = self.lines.get(file, {})
        return any("" in known.get(line, ()) for line in lines)


@dataclass(frozen=True)
class Verdict:
    """What became of a mutant.

    by: the test that noticed.  settled: tests that did not, and would not if they tried harder.
    """

    outcome: str
    by: str = ""
    settled: frozenset[str] = frozenset()


class Tree:
    """A copy of the source that tests import.  environment: of their processes."""

    def __init__(self, where: Path, environment: Mapping[str, str]) -> None:
        self.where = where
        self.source = where / "src"
        self._temporary = where / "tmp"
        self._environment = environment
        shutil.copytree(ROOT / "src", self.source, ignore=shutil.ignore_patterns("__pycache__"))

    def place(self, file: Path) -> Path:
        """Where the copy of a file of src is."""
        return self.source / file.relative_to(ROOT / "src")

    @contextmanager
    def changed(self, file: Path, text: str) -> Iterator[None]:
        """For the length of a with block, a file of src has another text."""
        path = self.place(file)
        before = path.read_bytes()
        path.write_text(text)
        try:
            yield
        finally:
            path.write_bytes(before)

    def run(self, body: Callable[[], Answer], limit: float | None) -> Answer:
        """Call body in a fork of this process: what it returns.

        limit: seconds of the processor.  (TOO_LONG, None) if that was not enough, or if it seems to wait for
        ever; (DIED, what it printed last).
        """
        shutil.rmtree(self._temporary, ignore_errors=True)
        child = os.fork()
        if not child:
            try:
                os.setpgid(0, 0)
                self.settle(self._temporary, limit)
                _write_whole(self._temporary / "answer", json.dumps(body()))
            except BaseException:
                traceback.print_exc()
                os._exit(99)
            os._exit(0)
        status = _wait(child, None if limit is None else WAITING * limit + PATIENCE)
        try:
            result = json.loads((self._temporary / "answer").read_text())
        except (OSError, ValueError):
            return (TOO_LONG, None) if status in ENDED else (DIED, said(self._temporary))
        shutil.rmtree(self._temporary, ignore_errors=True)
        return result[0], result[1]

    def settle(self, directory: Path, limit: float | None) -> None:
        """Make a new process one in which tests run; its output and temporary files go to a directory."""
        directory.mkdir()
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        if limit is not None:
            resource.setrlimit(resource.RLIMIT_CPU, (int(limit) + 1, int(limit) + 2))
        output = os.open(directory / OUTPUT, os.O_WRONLY | os.O_CREAT)
        os.dup2(output, 1)
        os.dup2(output, 2)
        os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
        places = {
            "PYTHONPATH": str(self.source),
            "TMPDIR": str(directory),
            "PENGLAI_STATE": str(directory / "state"),
        }
        os.environ.update(**self._environment, **places, PYTHONDONTWRITEBYTECODE="1")
        tempfile.tempdir = None
        os.chdir(ROOT)

    def enter(self) -> None:
        """From now on this process imports penglai from the copy.  Raises RuntimeError if it has already."""
        if "penglai" in sys.modules:
            raise RuntimeError(
                "penglai was imported before its copy was there: its mutants would not be tried"
            )
        sys.dont_write_bytecode = True
        sys.path.insert(0, str(self.source))


def _write_whole(path: Path, text: str) -> None:
    part = path.with_suffix(".part")
    part.write_text(text)
    part.rename(path)


def said(directory: Path) -> str:
    """What a process printed last."""
    return (directory / OUTPUT).read_text(errors="replace")[-2000:]


def _wait(child: int, limit: float | None) -> int | None:
    """Status of a child; None if it was ended after limit seconds.  Nothing of its group is left."""
    end = None if limit is None else time.monotonic() + limit
    pause = 0.002
    status = None
    while True:
        done, code = os.waitpid(child, os.WNOHANG)
        if done:
            status = code
            break
        if end is not None and time.monotonic() > end:
            break
        time.sleep(pause)
        pause = min(0.05, pause * 1.5)
    with suppress(ProcessLookupError):
        os.killpg(child, signal.SIGKILL)
    if status is None:
        os.waitpid(child, 0)
    return status


OPTIONS = [
    "-q",
    "--no-header",
    "--tb=line",
    "-p",
    "no:cacheprovider",
    "-p",
    "no:xdist",
    "--hypothesis-seed=0",
]
OPTIONS += ["-W", "ignore::pytest.PytestAssertRewriteWarning"]  # of plugins that are imported before the fork


def measure(tree: Tree, files: Sequence[str], room: str) -> Reach:
    """What the tests of these files reach of a room.  Raises SystemExit if one of them fails."""

    def body() -> Answer:
        tree.enter()
        watched = coverage.Coverage(
            data_file=None, source=[str(tree.source / "penglai" / room)], concurrency="thread"
        )
        watched.start()
        watching = Watching(watched)
        pytest.main([*OPTIONS, *files], plugins=[watching])
        watched.stop()
        data = watched.get_data()
        lines = {
            Path(name).relative_to(tree.source).as_posix(): data.contexts_by_lineno(name)
            for name in data.measured_files()
        }
        return 0, [watching.failed, watching.seconds, lines]

    status, result = tree.run(body, None)
    if status or result[0]:
        raise SystemExit(f"the tree itself fails: {result if status else result[0]}")
    _, seconds, lines = result
    return Reach(seconds, {name: {int(n): tests for n, tests in by.items()} for name, by in lines.items()})


def try_tests(tree: Tree, tests: Sequence[str], limit: float, *options: str) -> Verdict:
    """Run these tests in this order, until one fails, in a process that imports all anew.

    options: of pytest.
    """

    def body() -> Answer:
        tree.enter()
        first = First()
        files = sorted({test.partition("::")[0] for test in tests})
        status = pytest.main([*OPTIONS, *options, "-x", *files], plugins=[Chosen(tests), first])
        return int(status), first.name

    return verdict_of(*tree.run(body, limit))


def limit_of(tests: Collection[str], seconds: Mapping[str, float]) -> float:
    """Seconds of the processor that tests may take of a mutant.  seconds: what each takes otherwise."""
    return LONGER * sum(seconds.get(test, 1.0) for test in tests) + SLACK


def verdict_of(status: int, by: str) -> Verdict:
    """What an answer of a mutant's process means."""
    if status == TOO_LONG:
        return Verdict(TIMED_OUT)
    if status in (PASSED, NOTHING):
        return Verdict(SURVIVED)
    return Verdict(KILLED, "the process died" if status == DIED else by)
