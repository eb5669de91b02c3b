"""The machine's console: what enclaves have written, all of them or one."""

import threading
import time
from array import array
from bisect import bisect_right
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from typing import NamedTuple

from penglai.abi.errors import WaitTimeoutError
from penglai.abi.timeout import checked_timeout
from penglai.driver.limits import CONSOLE_BYTES
from penglai.driver.task import Task

MAX_LINE = 1 << 16
"""Bytes of a line; a longer one comes in parts."""


class Watcher(NamedTuple):
    """Somebody waits until a condition is true, which is looked at under the console's lock."""

    condition: Callable[[], bool]
    future: Future[None]


class Text:
    """Bytes that were written, as text."""

    def getvalue(self) -> bytes:
        """Everything that was written so far, as far as it is kept."""
        raise NotImplementedError

    @property
    def text(self) -> str:
        """Everything that was written so far, as text."""
        return self.getvalue().decode("utf-8", "replace")

    def __str__(self) -> str:
        return self.text

    def __bytes__(self) -> bytes:
        return self.getvalue()

    def __contains__(self, text: bytes | str) -> bool:
        return _encoded(text) in self.getvalue()


class Console(Text):
    """Text of all enclaves in the order it came.  Safe to use from any thread.

    listener: called as listener(eid, text) for each write, one at a time, on a thread of its own; the enclave
    that wrote waits (in state OCALL) until it returns.  kept: bytes that it keeps, the latest.
    """

    def __init__(
        self, listener: Callable[[int, bytes], None] | None = None, kept: int = CONSOLE_BYTES
    ) -> None:
        self.listener = listener
        self._kept = kept
        self._lock = threading.Lock()
        self._watchers: list[Watcher] = []
        self._data = bytearray()
        self._first = self._read = self._dropped = 0
        # A position counts every byte ever written; that of the first one that is kept is _first.  Enclave
        # _writers[n] wrote from position _starts[n] on.
        self._writers = array("q")
        self._starts = array("q")

    def write(self, eid: int, text: bytes) -> None:
        """Append text of an enclave."""
        if not text:
            return
        with self._lock:
            if not self._writers or self._writers[-1] != eid:
                self._writers.append(eid)
                self._starts.append(self.position)
            self._data += text
            if len(self._data) > self._kept:
                self._drop(len(self._data) - self._kept + self._kept // 4)
            done = self._satisfied()
        _tell(done)

    def ended(self) -> None:
        """An enclave has ended, for which somebody may wait."""
        if not self._watchers:
            return
        with self._lock:
            done = self._satisfied()
        _tell(done)

    def read(self) -> bytes:
        """What was written since the last read, as far as it is kept."""
        with self._lock:
            unread = self._data[max(0, self._read - self._first) :]
            self._read = self.position
            return bytes(unread)

    def getvalue(self) -> bytes:
        """Everything written so far, as far as it is kept."""
        with self._lock:
            return bytes(self._data)

    @property
    def dropped(self) -> int:
        """How many bytes were forgotten because there were too many."""
        return self._dropped

    def clear(self) -> None:
        """Forget what was written."""
        with self._lock:
            self._first = self._read = self.position
            self._data.clear()
            del self._writers[:], self._starts[:]

    def wait_for(self, text: bytes | str, timeout: float | None = None) -> None:
        """Wait until text was written.  Raises WaitTimeoutError after timeout seconds."""
        self.wait(self.written(text), repr(text), timeout)

    def written(self, text: bytes | str) -> Future[None]:
        """A future that is done when text was written: for asyncio.wrap_future and the like."""
        wanted = _encoded(text)
        return self.when(lambda: wanted in self._data)

    # ---- what one enclave wrote ----------------------------------------------------------------

    def since(self, eid: int, position: int) -> tuple[bytes, int]:
        """What an enclave wrote from a position on, as far as it is kept, and the position behind it."""
        with self._lock:
            end = self.position
            found = bytearray()
            for index in range(max(0, bisect_right(self._starts, position) - 1), len(self._starts)):
                if self._writers[index] == eid:
                    last = self._starts[index + 1] if index + 1 < len(self._starts) else end
                    first = max(self._starts[index], position, self._first)
                    found += self._data[first - self._first : last - self._first]
            return bytes(found), end

    @property
    def position(self) -> int:
        """How many bytes were ever written."""
        return self._first + len(self._data)

    # ---- waiting -------------------------------------------------------------------------------

    def when(self, condition: Callable[[], bool]) -> Future[None]:
        """A future that is done when condition() is true, which is looked at after each write and end."""
        watcher = Watcher(condition, Future())
        with self._lock:
            now = condition()
            if not now:
                self._watchers.append(watcher)
        if now:
            watcher.future.set_result(None)
        return watcher.future

    def wait(self, future: Future[None], what: str, timeout: float | None) -> None:
        """Wait for a future of `when`.  what: its condition, in words.  Raises WaitTimeoutError."""
        try:
            future.result(checked_timeout(timeout))
        except TimeoutError:
            raise WaitTimeoutError(f"{what} was not written within {timeout} seconds") from None
        finally:
            self._forget(future)

    def _forget(self, future: Future[None]) -> None:
        with self._lock:
            self._watchers = [watcher for watcher in self._watchers if watcher.future is not future]

    def _satisfied(self) -> list[Future[None]]:
        """Under the lock: take off the watchers whose condition is true, or that gave up; whom to tell."""
        if not self._watchers:
            return []
        waiting: list[Watcher] = []
        done: list[Watcher] = []
        for watcher in self._watchers:
            over = watcher.future.cancelled() or watcher.condition()
            (done if over else waiting).append(watcher)
        self._watchers = waiting
        return [watcher.future for watcher in done if watcher.future.set_running_or_notify_cancel()]

    def _drop(self, excess: int) -> None:
        del self._data[:excess]
        self._dropped += excess
        self._first += excess
        gone = max(0, bisect_right(self._starts, self._first) - 1)
        del self._writers[:gone], self._starts[:gone]

    def __repr__(self) -> str:
        return f"<Console {len(self._data)} bytes>"


class Output(Text):
    """What one enclave has written, as far as the console keeps it.

    Iterating over it gives its lines, each when it is there, until the enclave has ended.
    """

    def __init__(self, console: Console, task: Task) -> None:
        self._console = console
        self._task = task

    def getvalue(self) -> bytes:
        """Everything that the enclave has written so far, as far as it is kept."""
        return self._console.since(self._task.eid, 0)[0]

    def wait_for(self, text: bytes | str, timeout: float | None = None) -> None:
        """Wait until the enclave has written text.

        Raises WaitTimeoutError after timeout seconds, or when the enclave has ended without.
        """
        seconds, wanted = checked_timeout(timeout), _encoded(text)
        until = None if seconds is None else time.monotonic() + seconds
        reader, tail = self.reader(), b""
        while True:
            more, ended = reader.read()
            if wanted in tail + more:
                return
            tail = (tail + more)[-len(wanted) :]  # where the text may have begun
            if ended:
                raise WaitTimeoutError(f"{self._task.label} has ended and did not write {text!r}")
            left = None if until is None else max(0.0, until - time.monotonic())
            self._console.wait(reader.more(), repr(text), left)

    def reader(self) -> "Reader":
        """Reads its lines from the beginning."""
        return Reader(self._console, self._task)

    def __iter__(self) -> Iterator[str]:
        reader = self.reader()
        while (lines := reader.lines()) is not None:
            yield from lines
            reader.more().result()

    def __repr__(self) -> str:
        return f"<Output of {self._task.label}: {len(self.getvalue())} bytes>"


class Reader:
    """Reads one enclave's output from the beginning, as it comes: by `read`, or by `lines`."""

    def __init__(self, console: Console, task: Task) -> None:
        self._console = console
        self._task = task
        self._position = 0
        self._rest = b""
        self._over = False

    def read(self) -> tuple[bytes, bool]:
        """What came since the last time, and whether the enclave had ended before: then it was the last."""
        ended = self._task.ended  # first: what it wrote comes before its end
        more, self._position = self._console.since(self._task.eid, self._position)
        return more, ended

    def lines(self) -> list[str] | None:
        """The lines that came since the last time; None when the enclave has ended and all were read.

        What stands behind the last newline is a line when the enclave has ended.
        """
        if self._over:
            return None
        more, ended = self.read()
        *lines, self._rest = (self._rest + more).split(b"\n")
        if self._rest and (ended or len(self._rest) > MAX_LINE):
            lines, self._rest = [*lines, self._rest], b""
        self._over = ended
        return [line.decode("utf-8", "replace") for line in lines]

    def more(self) -> "Future[None]":
        """A future that is done when there may be more, or the end."""
        console, task, position = self._console, self._task, self._position
        return console.when(lambda: task.ended or console.position != position)


def _tell(done: list[Future[None]]) -> None:
    """Complete futures, which calls functions of others: without the lock."""
    for future in done:
        future.set_result(None)


def _encoded(text: bytes | str) -> bytes:
    return text.encode(errors="surrogateescape") if isinstance(text, str) else text
