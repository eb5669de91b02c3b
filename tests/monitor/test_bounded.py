"""What is done under a lock that everybody needs does not grow with what one enclave owns.

Counted, not timed: the lines of Python that go by while such a lock is held.
"""

import sys
import threading
from collections.abc import Callable
from types import FrameType
from typing import Any

import pytest
from tests.attack.pieces import WAYS, Stage, Way

import penglai.monitor
from penglai.machine.pages import BATCH
from penglai.monitor.sharing import BATCH as MEMORIES

PIECES = 6 * BATCH
MOST_LINES = 6 * MEMORIES
"""A batch has at most so many; one lock for all pieces would have thousands."""
MONITOR = penglai.monitor.__file__.rpartition("/")[0]


class Counting:
    """In place of a lock: counts the lines of the monitor that a thread executes while it holds it."""

    def __init__(self, inner: Any) -> None:
        self.inner = inner
        self.longest = 0
        self._lines = threading.local()

    def __enter__(self) -> None:
        self.inner.acquire()
        self._lines.count = 0
        self._lines.before = sys.gettrace()
        sys.settrace(self._trace)
        frame: FrameType | None = sys._getframe(1)
        while frame is not None:
            frame.f_trace = self._trace
            frame = frame.f_back

    def __exit__(self, *_: object) -> None:
        sys.settrace(None)
        self.longest = max(self.longest, self._lines.count)
        self.inner.release()

    def acquire(self, *arguments: Any) -> bool:
        return bool(self.inner.acquire(*arguments))

    def release(self) -> None:
        self.inner.release()

    def locked(self) -> bool:
        return bool(self.inner.locked())

    def _trace(self, frame: FrameType, event: str, _argument: object) -> Any:
        if event == "line" and frame.f_code.co_filename.startswith(MONITOR):
            self._lines.count += 1
        return self._trace


def longest(way: Way, count: int, lock: Callable[[Stage], tuple[Any, str]]) -> int:
    """The most lines under one hold of a lock while an enclave with so many pieces comes and goes."""
    stage = Stage(count)
    owner, name = lock(stage)
    counting = Counting(getattr(owner, name))
    setattr(owner, name, counting)
    if name == "_lock":
        stage.board.memory.lock = counting  # type: ignore[assignment]
    stage.wait(way)
    setattr(owner, name, counting.inner)
    stage.close()
    return counting.longest


def memory_lock(stage: Stage) -> tuple[Any, str]:
    return stage.raw.monitor.platform.ownership, "_lock"


def registry_lock(stage: Stage) -> tuple[Any, str]:
    return stage.raw.monitor.platform.registry, "lock"


@pytest.mark.parametrize("lock", [memory_lock, registry_lock])
@pytest.mark.parametrize("way", WAYS, ids=[way.name for way in WAYS])
def test_nobody_holds_a_shared_lock_for_longer_because_of_what_an_enclave_owns(
    way: Way, lock: Callable[[Stage], tuple[Any, str]]
):
    assert 0 < longest(way, PIECES, lock) <= MOST_LINES
