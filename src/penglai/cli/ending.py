"""How commands end, and the consoles they write to.  Nothing here imports what reads command lines."""

import functools
import gc
import importlib
import signal
import sys
from collections.abc import Callable
from types import FrameType
from typing import TYPE_CHECKING, Any, cast

from penglai.abi.errors import PenglaiError

if TYPE_CHECKING:
    from rich.console import Console

INTERRUPTED = 130
"""Exit status after Ctrl-C: 128 + SIGINT, as shells have it."""


class _Later:
    """A console that is made when it is used: booting writes nothing, and is not to wait for it."""

    def __init__(self, **options: bool) -> None:
        self._options = options

    @functools.cached_property
    def _console(self) -> "Console":
        found: Console = importlib.import_module("rich.console").Console(**self._options)
        return found

    def __getattr__(self, name: str) -> Any:
        return getattr(self._console, name)


out = cast("Console", _Later(highlight=False, soft_wrap=True))
err = cast("Console", _Later(stderr=True, highlight=False, soft_wrap=True))


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
        err.print("penglai: interrupted", style="yellow")
        return INTERRUPTED
    except BrokenPipeError:
        sys.stderr.close()  # nobody reads any more: say nothing, also not at exit
        return 1


def complain(message: str) -> None:
    """Say what is wrong."""
    err.print("penglai: ", style="bold red", end="")
    err.print(message, markup=False)


def end_on_signals() -> None:
    """SIGTERM and SIGHUP end this process as Ctrl-C does: everything that has been begun is undone first."""
    signal.signal(signal.SIGTERM, _end)
    signal.signal(signal.SIGHUP, _end)


def _end(number: int, _frame: FrameType | None) -> None:
    sys.exit(128 + number)
