"""kill -9 while an enclave moves or is restored: one life, or a snapshot that has it."""

import os
import shutil
import signal
import sys
import tempfile
from collections.abc import Callable
from itertools import count
from pathlib import Path
from types import FrameType, ModuleType
from typing import Any

import penglai
import penglai.attestation.sealed
import penglai.driver.snapshots
import penglai.host.snapshots
import penglai.machine.store
import penglai.monitor.firstpiece
import penglai.monitor.freshness
import penglai.monitor.restore
import penglai.monitor.snapshot
from tests.attack.killing import in_child
from tests.attack.tally import Effort, Tally

TITLE = "kill -9 at each line that makes a snapshot, restores it, or writes the list of snapshots"

WATCHED: tuple[ModuleType, ...] = (
    penglai.attestation.sealed,
    penglai.driver.snapshots,
    penglai.host.snapshots,
    penglai.machine.store,
    penglai.monitor.firstpiece,
    penglai.monitor.freshness,
    penglai.monitor.restore,
    penglai.monitor.snapshot,
)
FILES = frozenset(module.__file__ for module in WATCHED)

Work = Callable[[Path, Path], None]
"""Something with a state directory and the file of a snapshot."""

LIVES = 40
"""A child says how many it has found by its status: this, and so many more."""


def attack(effort: Effort) -> Tally:
    """Children are killed; then it is counted how often the enclave can be restored."""
    tally = Tally()
    every = 1 if effort.long else max(1, round(40 / effort.scale))
    for work, falls in ((move, False), (restore, True)):
        with tally.case((work.__name__, every)), tempfile.TemporaryDirectory() as name:
            found = lives_after_kills(Path(name), work, every)
            assert found == sorted(found, reverse=falls), (
                f"more or fewer lives again at a later line: {found}"
            )
            assert set(found) == {0, 1}
            tally.notes.append(f"{work.__name__}: killed at {len(found) - 1} lines")
    return tally


def move(state: Path, file: Path) -> None:
    """An enclave moves into a snapshot."""
    with penglai.Machine("4M", 1, state=state) as machine:
        machine.create("hello-world").snapshot(file)


def restore(state: Path, file: Path) -> None:
    """It is restored, and ends with this process."""
    with penglai.Machine("4M", 1, state=state) as machine:
        machine.restore(file)


def lives_after_kills(directory: Path, work: Work, every: int) -> list[int]:
    """For each line at which work was killed, and at last for none: how often the enclave is restored."""
    device, made = directory / "device", directory / "made"
    assert in_child(lambda: move(device, directory / "first")) == 0  # a device that has all its keys
    if work is restore:
        assert in_child(lambda: move(device, made)) == 0
    found = []
    for line in count(1, every):
        state, file = directory / f"state{line}", directory / f"file{line}"
        shutil.copytree(device, state)
        if work is restore:
            shutil.copyfile(made, file)
        killed = killed_at(line, lambda state=state, file=file: work(state, file))
        found.append(lives(state, file))
        if not killed:
            return found
    raise AssertionError


def killed_at(line: int, work: Callable[[], None]) -> bool:
    """Do work in a process of its own, killed at that line of these modules; False if it ended before."""
    passed = 0

    def trace(frame: FrameType, event: str, _argument: object) -> Any:
        nonlocal passed
        if frame.f_code.co_filename not in FILES:
            return None
        if event == "line":
            passed += 1
            if passed == line:
                os.kill(os.getpid(), signal.SIGKILL)
        return trace

    def traced() -> None:
        sys.settrace(trace)
        work()
        sys.settrace(None)

    status = in_child(traced)
    assert status in (0, -signal.SIGKILL), status
    return status != 0


def lives(state: Path, file: Path) -> int:
    """How often the enclave of a file can be restored: tried twice, in a process of its own."""

    def try_twice() -> None:
        found = 0
        with penglai.Machine("4M", 1, state=state) as machine:
            for _ in range(2):
                try:
                    machine.restore(file)
                    found += 1
                except (penglai.SnapshotError, penglai.BadArgumentError):
                    pass
        os._exit(LIVES + found)

    return in_child(try_twice) - LIVES
