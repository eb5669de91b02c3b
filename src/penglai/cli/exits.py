"""How commands end, and the consoles they write to.  Nothing here imports what reads command lines."""

import errno
import functools
import gc
import os
import signal
import sys
from collections.abc import Callable
from types import FrameType
from typing import TYPE_CHECKING, Any, cast

from penglai.abi.errors import PenglaiError
from penglai.cli.streams import Streams

if TYPE_CHECKING:
    from rich.console import Console

INTERRUPTED = 130
"""Exit status after Ctrl-C: 128 + SIGINT, as shells have it."""


class _Later:
    """A console that is made when it is used: booting writes nothing, and is not to wait for it.

    What is printed has names of files and of enclaves: brackets and colons in it mean nothing.
    """

    def __init__(self, *, stderr: bool = False) -> None:
        self._stderr = stderr

    @functools.cached_property
    def _console(self) -> "Console":
        from rich.console import Console  # noqa: PLC0415 - booting writes nothing

        return Console(stderr=self._stderr, soft_wrap=True, highlight=False, markup=False, emoji=False)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._console, name)


out = cast("Console", _Later())
err = cast("Console", _Later(stderr=True))


def guarded(body: Callable[[], int]) -> int:
    """The status of a command: errors become one line on standard error and status 1, Ctrl-C status 130."""
    gc.freeze()
    gc.enable()
    try:
        return body()
    except PenglaiError as error:
        complain(str(error))
        return 1
    except KeyboardInterrupt:
        return _interrupted()


def ended(body: Callable[[], int], streams: Streams) -> int:
    """The status of the process.

    It is never 0 if something that was to be written on a standard stream was not; a line says why, unless
    nobody reads any more.  The same for what the system refuses and nobody has made an error of ours.
    """
    try:
        status = _tried(body, streams)
        failure = streams.close()
        if failure is not None and failure.errno != errno.EPIPE:
            complain(f"cannot write to standard output: {failure.strerror}")
    except OSError:  # there is no place for messages
        status = 1
    return status if streams.give_up() else status or 1


def _tried(body: Callable[[], int], streams: Streams) -> int:
    try:
        return body()
    except SystemExit as end:
        return end.code if isinstance(end.code, int) else int(end.code is not None)
    except KeyboardInterrupt:
        return _interrupted()
    except PenglaiError as error:  # before there is a command
        complain(str(error))
    except MemoryError:
        complain("not enough memory")
    except ImportError as error:  # its first cause is of one line
        while isinstance(error.__cause__, ImportError):
            error = error.__cause__
        complain(f"cannot load what is needed: {error}; is the process short of memory or address space?")
    except OSError as error:
        if error not in (streams.output.failure, streams.messages.failure):
            complain(_in_words(error))
    return 1


def _interrupted() -> int:
    err.print("penglai: interrupted", style="yellow")
    return INTERRUPTED


def _in_words(error: OSError) -> str:
    reason = error.strerror or str(error)
    return reason if error.filename is None else f"{os.fsdecode(error.filename)}: {reason}"


def complain(message: str) -> None:
    """Say what is wrong."""
    try:
        err.print("penglai: ", style="bold red", end="")
        err.print(message)
    except (MemoryError, ImportError, OSError):  # there is no room for what prints in colours
        sys.stderr.write(f"penglai: {message}\n")


def end_on_signals() -> None:
    """SIGTERM and SIGHUP end this process as Ctrl-C does: everything that has been begun is undone first."""
    signal.signal(signal.SIGTERM, _end)
    signal.signal(signal.SIGHUP, _end)


def _end(number: int, _frame: FrameType | None) -> None:
    sys.exit(128 + number)
