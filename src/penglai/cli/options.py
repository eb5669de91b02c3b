"""Options that several commands share, and how commands end."""

import functools
import importlib
import json
import signal
import sys
from collections.abc import Callable
from types import FrameType
from typing import TYPE_CHECKING, Annotated, Any, NoReturn, ParamSpec, cast

import typer

from penglai.abi.errors import PenglaiError

if TYPE_CHECKING:
    from rich.console import Console

P = ParamSpec("P")

INTERRUPTED = 130
"""Exit status after Ctrl-C: 128 + SIGINT, as shells have it."""

Eapp = Annotated[str, typer.Argument(help="An enclave ELF, or the name of a shipped demo.", metavar="EAPP")]
Memory = Annotated[str, typer.Option(help="Memory of the machine, such as 256M or 1G.")]
Harts = Annotated[int, typer.Option(help="Harts of the machine: how many enclaves run at once.")]
Json = Annotated[bool, typer.Option("--json", help="Write one JSON object to standard output.")]


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


def command(body: Callable[P, None]) -> Callable[P, None]:
    """Wrap a command: errors become one line on standard error and status 1, Ctrl-C status 130."""

    @functools.wraps(body)
    def wrapped(*args: P.args, **kwargs: P.kwargs) -> None:
        try:
            body(*args, **kwargs)
        except PenglaiError as error:
            fail(str(error))
        except KeyboardInterrupt:
            err.print("penglai: interrupted", style="yellow")
            raise typer.Exit(INTERRUPTED) from None
        except BrokenPipeError:
            sys.stderr.close()  # nobody reads any more: say nothing, also not at exit
            raise typer.Exit(1) from None

    return wrapped


def end_on_signals() -> None:
    """SIGTERM and SIGHUP end this process as Ctrl-C does: everything that has been begun is undone first."""
    signal.signal(signal.SIGTERM, _end)
    signal.signal(signal.SIGHUP, _end)


def _end(number: int, _frame: FrameType | None) -> None:
    raise typer.Exit(128 + number)


def write_json(value: object) -> None:
    """Write a value as one JSON document on standard output."""
    typer.echo(json.dumps(value))


def fail(message: str) -> NoReturn:
    """Say what is wrong and end with status 1."""
    err.print("penglai: ", style="bold red", end="")
    err.print(message, markup=False)
    raise typer.Exit(1)
