"""Options that several commands share, and how commands end."""

import functools
import json
from collections.abc import Callable
from typing import Annotated, NoReturn, ParamSpec

import typer

from penglai.abi.profile import ProfileName
from penglai.cli.exits import complain, end_on_signals, err, guarded, out
from penglai.cli.numbers import count, seconds

__all__ = [
    "Eapp",
    "EndAfter",
    "Harts",
    "Json",
    "Memory",
    "Profile",
    "Servers",
    "StackSize",
    "command",
    "end_on_signals",
    "err",
    "fail",
    "mark",
    "out",
    "show",
    "write_json",
]

P = ParamSpec("P")

Eapp = Annotated[str, typer.Argument(help="An enclave ELF, or the name of a shipped demo.", metavar="EAPP")]
Memory = Annotated[str, typer.Option(help="Memory of the machine, such as 256M or 1G.")]
Harts = Annotated[
    int,
    typer.Option(help="Harts of the machine: how many enclaves run at once.", parser=count(0), metavar="N"),
]
StackSize = Annotated[str, typer.Option(help="Stack of the enclave.")]
Servers = Annotated[
    list[str] | None,
    typer.Option(metavar="NAME=EAPP", help="Create a server that it can call by this name.  Repeatable."),
]
EndAfter = Annotated[
    float | None,
    typer.Option(help="Destroy it after this many seconds.", parser=seconds, metavar="SECONDS"),
]
Profile = Annotated[
    ProfileName, typer.Option(help="How the machine behaves: native, or tvm, as Penglai-TVM's own does.")
]
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


def mark(well: bool) -> None:
    """Begin a line that says whether something is as it should be."""
    out.print("✓" if well else "✗", style="green" if well else "red", end=" ")


def show(label: str, value: str) -> None:
    """One line of what is found out, with its label."""
    out.print(label, style="bold", end="")
    out.print(value)


def write_json(value: object) -> None:
    """Write a value as one JSON document on standard output."""
    typer.echo(json.dumps(value))


def fail(message: str) -> NoReturn:
    """Say what is wrong and end with status 1."""
    complain(message)
    raise typer.Exit(1)
