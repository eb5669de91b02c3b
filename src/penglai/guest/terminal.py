"""The guest's console on this process's standard input and output.

Two modes.  On a terminal it is raw: every key goes to the guest, Ctrl-C too, and Ctrl-A is the way to the
machine itself.  On anything else (a pipe, a file, a test) it is plain: input goes to the guest when the guest
is ready for it, and its end is typed as Ctrl-D.
"""

import contextlib
import errno
import os
import select
import signal
import termios
import threading
import tty
import weakref
from collections.abc import Callable, Iterator
from types import FrameType
from typing import Any

ESCAPE = 0x01
"""Ctrl-A."""
END_OF_FILE = b"\x04"
"""Ctrl-D: at the beginning of a line it is the end, elsewhere it hands on what is there."""
ENDS = 256
"""The end is typed so often, because each read of a terminal uses one up; that of a pipe is for good."""
READY = 0x1E
"""Our init writes this byte on a plain console when it echoes nothing any more and takes input."""
LITERAL = 0x16
"""Ctrl-V: the next byte has no meaning of its own."""
SPECIAL = frozenset(b"\x03\x04\x0d\x0f\x11\x12\x13\x15\x16\x17\x1a\x1c\x7f")
"""Bytes that mean something to Linux's terminal, in a line that it edits."""
MAX_LINE = 2048
"""Linux's terminal keeps no line of 4096 bytes or more; Ctrl-D within a line hands on what is there."""

NEWLINE = 0x0A
CHUNK = 4096
"""Bytes read or written at once: a pipe that has room takes them without waiting."""
HELP = b"\r\nCtrl-A x  switch the machine off\r\nCtrl-A a  send Ctrl-A\r\nCtrl-A h  this help\r\n"
DEFAULT_SIZE = (80, 24)


class Terminal:
    """A console (machine.services.ConsolePort) of file descriptors.

    interactive: raw mode; only if both are terminals.  take_input: whether input is read at all.  our_init:
    whether READY is to come; another system is ready when it writes.
    """

    def __init__(
        self,
        *,
        interactive: bool,
        take_input: bool = True,
        our_init: bool = True,
        source: int = 0,
        target: int = 1,
    ) -> None:
        self.interactive = interactive
        self.size = _size(target)
        self.begins: Callable[[], None] = lambda: None
        """Called on the machine's thread before the guest's first output is shown."""
        self.leave: Callable[[], None] = lambda: None
        """Called on any thread when the user wants to switch the machine off, or nobody reads any more."""
        self._source = source
        self._target = target
        self.abandoned = False
        """True once nobody reads the output any more."""
        self.failure: OSError | None = None
        """Why the output cannot be written any more, if nobody has gone."""
        self._last = NEWLINE
        self._take_input = take_input
        self._typed = bytearray()
        self._lock = threading.Lock()
        self._begun = False
        self._our_init = our_init
        self._ready = interactive
        self._gate = _event(self, int(interactive))
        self._over = _event(self)
        self._column = 0
        self._escaped = False
        self._notify: Callable[[], None] = lambda: None

    # ---- towards the machine -------------------------------------------------------------------

    def write(self, data: bytes) -> None:
        """Show bytes.  Nobody reads them any more: the machine is switched off."""
        if not self._begun:
            self._begun = True
            self.begins()
        if not self._ready:
            data = self._look_for_ready(data)
        try:
            while data and self._can_write():
                self._last = data[-1]
                data = data[os.write(self._target, data[:CHUNK]) :]
        except OSError as error:
            if error.errno not in (errno.EPIPE, errno.EIO):
                self.failure = error
            nowhere = os.open(os.devnull, os.O_WRONLY)
            os.dup2(nowhere, self._target)
            os.close(nowhere)
            self.abandoned = True
            self.leave()

    def _look_for_ready(self, data: bytes) -> bytes:
        """What is to be shown; input may follow once the guest is ready."""
        place = data.find(READY)
        if place >= 0 or not self._our_init:
            self._ready = True
            os.eventfd_write(self._gate, 1)
        return data if place < 0 else data[:place] + data[place + 1 :]

    def _can_write(self) -> bool:
        """Wait until there is room for output.  False once the terminal is detached: nothing waits then."""
        readable, _, _ = select.select([self._over], [self._target], [])
        return not readable

    def read(self, limit: int) -> bytes:
        """Up to limit bytes that were typed."""
        with self._lock:
            data = bytes(self._typed[:limit])
            del self._typed[:limit]
            return data

    @property
    def waiting(self) -> bool:
        """True if something was typed that nobody has read."""
        return bool(self._typed)

    # ---- towards the user ----------------------------------------------------------------------

    @contextlib.contextmanager
    def attached(self, notify: Callable[[], None]) -> Iterator[None]:
        """Take input and follow the terminal's size for the length of a with block, on the main thread.

        notify: called on any thread when something was typed or the size has changed.
        """
        self._notify = notify
        stop, wake = os.pipe()
        reader = threading.Thread(target=self._read_all, args=(stop,), name="penglai-terminal", daemon=True)
        with contextlib.ExitStack() as stack:
            if self.interactive:
                stack.callback(self._restore, termios.tcgetattr(self._source))
                tty.setraw(self._source)
                stack.callback(signal.signal, signal.SIGWINCH, signal.signal(signal.SIGWINCH, self._resized))
            stack.callback(os.close, stop)
            stack.callback(reader.join)
            stack.callback(os.close, wake)
            stack.callback(os.eventfd_write, self._over, 1)
            reader.start()
            yield

    def _restore(self, settings: list[Any]) -> None:
        """The terminal as it was, at the beginning of a line; it may have gone."""
        with contextlib.suppress(OSError, termios.error):
            if self._last != NEWLINE:
                os.write(self._target, b"\r\n")
            termios.tcsetattr(self._source, termios.TCSAFLUSH, settings)

    def _resized(self, _number: int, _frame: FrameType | None) -> None:
        self.size = _size(self._target)
        self._notify()

    def _read_all(self, stop: int) -> None:
        if not self._take_input or stop in select.select([self._gate, stop], [], [])[0]:
            return
        while stop not in select.select([self._source, stop], [], [])[0]:
            try:
                data = os.read(self._source, CHUNK)
            except OSError:  # a terminal that has gone, a directory
                data = b""
            if not data:
                self._type(END_OF_FILE * ENDS)
                return
            self._type(self._without_escapes(data) if self.interactive else self._literally(data))

    def _type(self, data: bytes) -> None:
        with self._lock:
            self._typed += data
        self._notify()

    def _literally(self, data: bytes) -> bytes:
        """Keys of which Linux's terminal makes exactly these bytes.  Another system gets them as they are."""
        if not self._our_init:
            return data
        keys = bytearray()
        for byte in data:
            if byte in SPECIAL:
                keys.append(LITERAL)
            keys.append(byte)
            self._column = 0 if byte == NEWLINE else self._column + 1
            if self._column == MAX_LINE:
                keys += END_OF_FILE
                self._column = 0
        return bytes(keys)

    def _without_escapes(self, data: bytes) -> bytes:
        """What is for the guest; the rest is done."""
        kept = bytearray()
        for byte in data:
            if self._escaped:
                self._escaped = False
                kept += self._command(byte)
            elif byte == ESCAPE:
                self._escaped = True
            else:
                kept.append(byte)
        return bytes(kept)

    def _command(self, byte: int) -> bytes:
        if byte in b"xX":
            self.leave()
        elif byte in (ESCAPE, *b"aA"):
            return bytes([ESCAPE])
        elif byte in b"hH?":
            os.write(self._target, HELP)
        return b""


def _event(owner: object, value: int = 0) -> int:
    """A descriptor to wait for, which is closed when its owner goes."""
    fd = os.eventfd(value, os.EFD_CLOEXEC | os.EFD_NONBLOCK)
    weakref.finalize(owner, os.close, fd)
    return fd


def is_terminal() -> bool:
    """True if a person sits at standard input and output."""
    return os.isatty(0) and os.isatty(1)


def _size(fd: int) -> tuple[int, int]:
    """Columns and rows of a terminal."""
    try:
        columns, rows = os.get_terminal_size(fd)
    except OSError:
        return DEFAULT_SIZE
    return (columns, rows) if columns and rows else DEFAULT_SIZE
