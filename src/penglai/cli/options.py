"""Options that several commands share, and how commands end."""

import functools
import json
from collections.abc import Callable
from typing import Annotated, NoReturn, ParamSpec

import typer

from penglai.cli.ending import complain, end_on_signals, err, guarded, out

__all__ = ["Eapp", "Harts", "Json", "Memory", "command", "end_on_signals", "err", "fail", "out", "write_json"]

P = ParamSpec("P")

Eapp = Annotated[str, typer.Argument(help="An enclave ELF, or the name of a shipped demo.", metavar="EAPP")]
Memory = Annotated[str, typer.Option(help="Memory of the machine, such as 256M or 1G.")]
Harts = Annotated[int, typer.Option(help="Harts of the machine: how many enclaves run at once.")]
Stats = Annotated[
    bool, typer.Option("--stats", help="Say afterwards what each enclave has used, on standard error.")
]
Json = Annotated[bool, typer.Option("--json", help="Write one JSON object to standard output.")]


def command(body: Callable[P, None]) -> Callable[P, None]:
    """Wrap a command: errors become one line on standard error and status 1, Ctrl-C status 130."""

    @functools.wraps(body)
    def wrapped(*args: P.args, **kwargs: P.kwargs) -> None:
        def call() -> int:
            body(*args, **kwargs)
            return 0

        if status := guarded(call):
            raise typer.Exit(status)

    return wrapped


def write_json(value: object) -> None:
    """Write a value as one JSON document on standard output."""
    typer.echo(json.dumps(value))


def fail(message: str) -> NoReturn:
    """Say what is wrong and end with status 1."""
    complain(message)
    raise typer.Exit(1)
