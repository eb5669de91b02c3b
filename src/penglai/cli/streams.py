"""Standard output and error, as every command has them: what cannot be written is known at the end."""

import codecs
import io
import os
import select
import sys
from typing import Any, TextIO

STDIN, STDOUT, STDERR = range(3)
ANY_NAME = "penglai.anyname"
"""How text with names of files is encoded: their bytes as they are, and `?` for what the encoding lacks."""


class Stream(io.RawIOBase):
    """One of them, that keeps why it could not be written to.  over: what comes now leads nowhere."""

    def __init__(self, descriptor: int) -> None:
        super().__init__()
        self._descriptor = descriptor
        self.failure: OSError | None = None
        self.over = False

    def write(self, data: Any, /) -> int:
        """Write, also where others have made the file non-blocking.  Raises OSError."""
        while not self.over:
            try:
                return os.write(self._descriptor, data)
            except BlockingIOError:
                select.select([], [self._descriptor], [])
            except OSError as error:
                self.failure = self.failure or error
                raise
        return len(data)

    def writable(self) -> bool:
        """Yes."""
        return True

    def fileno(self) -> int:
        """The number that it has in every process."""
        return self._descriptor

    def isatty(self) -> bool:
        """Whether a person looks at it."""
        return os.isatty(self._descriptor)


class Streams:
    """Both; made once, when the process begins, they become sys.stdout and sys.stderr."""

    def __init__(self) -> None:
        _fill_gaps()
        codecs.register_error(ANY_NAME, _any_name)
        self.output, self.messages = Stream(STDOUT), Stream(STDERR)
        sys.stdout = _text(self.output, sys.stdout)
        sys.stderr = _text(self.messages, sys.stderr)

    def close(self) -> OSError | None:
        """Write what waits; why not all of the output could be written."""
        _flush()
        return self.output.failure

    def give_up(self) -> bool:
        """From now on nothing is written; True if all was."""
        _flush()
        self.output.over = self.messages.over = True
        _flush()
        return not (self.output.failure or self.messages.failure)


def _flush() -> None:
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except OSError:
            continue  # the stream keeps it


def _text(stream: Stream, before: TextIO | None) -> io.TextIOWrapper:
    """A text stream in the encoding that Python has chosen."""
    lines = stream.fileno() == STDERR or stream.isatty()
    encoding = getattr(before, "encoding", None) or sys.getfilesystemencoding()
    return io.TextIOWrapper(
        io.BufferedWriter(stream), encoding, ANY_NAME, line_buffering=lines, write_through=lines
    )


def _any_name(error: UnicodeError) -> tuple[bytes, int]:
    if not isinstance(error, UnicodeEncodeError):
        raise error
    piece = error.object[error.start : error.end]
    return b"".join(map(_byte, piece)), error.end


def _byte(character: str) -> bytes:
    code = ord(character)
    return bytes([code & 0xFF]) if 0xDC80 <= code <= 0xDCFF else b"?"


def _fill_gaps() -> None:
    """What was closed is not to be what is opened next, here or in a compiler.

    Input then has an end.  The others are a directory, which cannot be written to, nor opened to write by way
    of /dev/stdout.
    """
    for descriptor in (STDIN, STDOUT, STDERR):
        try:
            os.fstat(descriptor)
        except OSError:
            os.open(os.devnull if descriptor == STDIN else "/", os.O_RDONLY)
            os.set_inheritable(descriptor, True)
