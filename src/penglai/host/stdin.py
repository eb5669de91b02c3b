"""What a Linux program in an enclave has of its host besides output: input, signals, a terminal's size."""

import contextlib
import os
import queue
import select
import signal
import termios
import threading
from collections.abc import Callable
from typing import Any, Final, NamedTuple

from penglai.abi.errors import BadArgumentError
from penglai.abi.question import INDEFINITELY, NOTHING_YET, Mode, Question
from penglai.abi.riscv import PAGE_SIZE
from penglai.driver.task import Buffer

MS = 1_000_000
"""ns."""

LONGEST_MS: Final = 1 << 30
"""Of one wait; the enclave asks again."""

ANSWERED, NOBODY = 1, 0

INPUT, LOCAL = 0, 3
MODES = (
    (LOCAL, Mode.SIGNALS, termios.ISIG),
    (LOCAL, Mode.LINES, termios.ICANON),
    (LOCAL, Mode.ECHO, termios.ECHO),
    (INPUT, Mode.NEWLINES, termios.ICRNL),
)
"""Which field of a terminal's attributes, which bit of a Mode, which flag."""


class _Wait(NamedTuple):
    """A question that is answered later."""

    milliseconds: int | None
    for_input: bool
    later: Callable[[int], None]


class Stdin:
    """Standard input of one run, and the way to send it signals.

    source: what it reads: bytes or text, or the number of an open descriptor, which is read from when the
    program reads, and stays open.  terminal: descriptors whose terminals the program sees as those of its
    own 0, 1 and 2; None: none is one.

    Only programs packed by `pack` know of it.  Every answer is the host's word: not trusted, not measured.
    Raises BadArgumentError if source is no descriptor that can be read.
    """

    def __init__(
        self, source: bytes | str | int = b"", *, terminal: tuple[int, int, int] | None = None
    ) -> None:
        self._own = not isinstance(source, int)
        self._descriptor = source if isinstance(source, int) else _content(source)
        self._terminal = terminal
        self._wakes = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
        self._signals: queue.SimpleQueue[int] = queue.SimpleQueue()
        self._waits: queue.SimpleQueue[_Wait | None] = queue.SimpleQueue()
        self._waiter: threading.Thread | None = None
        self._over = False
        self._also: int | None = None
        self._before: list[Any] | None = None
        """Attributes of the terminal, from before the program changed them."""
        self.listens = False
        """True once the program has asked for signals: from then on it gets them."""
        try:
            select.select([self._descriptor], [], [], 0)
        except (OSError, ValueError) as error:
            raise BadArgumentError(f"descriptor {source!r} cannot be read: {error}") from error

    def signal(self, number: int) -> None:
        """Send the program a signal; may be called in a signal handler.  Raises BadArgumentError."""
        if not 1 <= number < signal.NSIG:
            raise BadArgumentError(f"there is no signal {number}")
        self._signals.put(number)
        self._wake()

    # ---- the desk's ----------------------------------------------------------------------------

    def watch(self, descriptor: int) -> None:
        """Let a WAIT come back when this can be read, too."""
        self._also = descriptor

    def answer(
        self, question: int, argument: int, buffer: Buffer, later: Callable[[int], None]
    ) -> int | None:
        """Answer a question; see driver.task.Desk."""
        if question == Question.READ:
            return self._read(min(argument, PAGE_SIZE), buffer)
        if question == Question.SIGNALS:
            self.listens = True
            return self._taken() | ANSWERED
        if question == Question.TERMINAL:
            return self._size(argument)
        if question == Question.MODE:
            return self._set_mode(argument)
        if question == Question.WAIT:
            return self._wait(argument, later)
        return NOBODY

    def ended(self) -> None:
        """The enclave is no more."""
        self._over = True
        if self._before is not None and self._terminal is not None:
            with contextlib.suppress(OSError, termios.error):
                termios.tcsetattr(self._terminal[0], termios.TCSANOW, self._before)
        self._waits.put(None)
        self._wake()

    def _read(self, most: int, buffer: Buffer) -> int:
        if not self._readable():
            return NOTHING_YET
        try:
            data = os.read(self._descriptor, most)
        except BlockingIOError:
            return NOTHING_YET
        except OSError as error:
            return -(error.errno or 0)
        buffer.write(data)
        return len(data)

    def _readable(self) -> bool:
        poll = select.poll()
        poll.register(self._descriptor, select.POLLIN)
        return bool(poll.poll(0))

    def _taken(self) -> int:
        taken = 0
        while not self._signals.empty():
            taken |= 1 << self._signals.get()
        return taken & (1 << 64) - 1

    def _size(self, number: int) -> int:
        if self._terminal is None or number >= len(self._terminal):
            return NOBODY
        try:
            columns, rows = os.get_terminal_size(self._terminal[number])
        except OSError:
            return NOBODY
        return 1 << 32 | (rows & 0xFFFF) << 16 | columns & 0xFFFF

    def _set_mode(self, mode: int) -> int:
        """Let the terminal give input so; it is as before when the program has ended."""
        if self._terminal is None:
            return NOBODY
        try:
            attributes = termios.tcgetattr(self._terminal[0])
            self._before = self._before or termios.tcgetattr(self._terminal[0])
            for field, bit, flag in MODES:
                attributes[field] = attributes[field] | flag if mode & bit else attributes[field] & ~flag
            termios.tcsetattr(self._terminal[0], termios.TCSANOW, attributes)
        except (OSError, termios.error):
            return NOBODY
        return ANSWERED

    # ---- waiting, on a thread of its own -------------------------------------------------------

    def _wait(self, argument: int, later: Callable[[int], None]) -> int | None:
        ns = argument >> 1
        milliseconds = None if ns >= INDEFINITELY else min(-(-ns // MS), LONGEST_MS)
        if self._waiter is None:
            waiter = threading.Thread(target=self._serve, name="penglai-stdin", daemon=True)
            waiter.start()
            self._waiter = waiter
        self._waits.put(_Wait(milliseconds, bool(argument & 1), later))
        return None

    def _serve(self) -> None:
        while (wait := self._waits.get()) is not None:
            poll = select.poll()
            poll.register(self._wakes, select.POLLIN)
            if wait.for_input:
                poll.register(self._descriptor, select.POLLIN)
            if self._also is not None:
                poll.register(self._also, select.POLLIN)
            if self._signals.empty() and not self._over:
                poll.poll(wait.milliseconds)
            self._calm()
            wait.later(ANSWERED)

    def _wake(self) -> None:
        with contextlib.suppress(BlockingIOError):  # it is awake
            os.eventfd_write(self._wakes, 1)

    def _calm(self) -> None:
        with contextlib.suppress(BlockingIOError):
            os.eventfd_read(self._wakes)

    def __del__(self) -> None:
        """Nobody can wake it any more: only now its descriptors may mean something else."""
        os.close(self._wakes)
        if self._own:
            os.close(self._descriptor)


def _content(source: bytes | str) -> int:
    """A descriptor of a file in memory with this content."""
    descriptor = os.memfd_create("penglai-stdin", os.MFD_CLOEXEC)
    with os.fdopen(os.dup(descriptor), "wb") as file:
        file.write(source.encode() if isinstance(source, str) else source)
    os.lseek(descriptor, 0, os.SEEK_SET)
    return descriptor
