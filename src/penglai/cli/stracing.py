"""penglai strace: a Linux program in an enclave, and every system call that it makes."""

import contextlib
import signal
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, TextIO

import typer

from penglai.cli.interacting import own_stdin
from penglai.cli.measuring import TraceTo, tracing
from penglai.cli.options import Eapp, Memory, command, fail
from penglai.cli.packing import Arguments, Environment, Files, LinuxProgram, Packed, Root
from penglai.cli.running import MAX_NAME, Stdout
from penglai.driver.task import Reason, Result
from penglai.embedded import Machine


@command
def strace(
    eapp: Eapp,
    arguments: Arguments = None,
    linux: LinuxProgram = False,
    root: Root = None,
    files: Files = None,
    environment: Environment = None,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="Write the calls there, not to standard error.")
    ] = None,
    memory: Memory = "256M",
    trace: TraceTo = None,
) -> None:
    """Run a Linux program that was packed, or with --linux is, and show its system calls as strace does.

    Only the owner of the machine sees them: it looks into the enclave as a debugger does.  The exit status
    is the program's.
    """
    image = Packed(arguments, root, files, environment).image_or(eapp, linux=linux)
    with _written(output) as file, Machine(memory, 1, sampling=trace is not None) as machine:
        machine.on_output = Stdout(machine)
        enclave = machine.create(image, name=Path(eapp).name[:MAX_NAME])
        strace = machine.strace(lambda line: print(line, file=file))
        with tracing(machine, trace), strace, own_stdin() as stdin:
            result = enclave.run(stdin=stdin)
        print(_end(result), file=file)
    if result.reason is Reason.FAULTED:
        fail(f"{eapp} was destroyed: {result.fault}")
    raise typer.Exit((result.value or 0) & 0xFF if result.reason is Reason.EXITED else 1)


@contextlib.contextmanager
def _written(output: Path | None) -> Iterator[TextIO]:
    if output is None:
        yield sys.stderr
        return
    try:
        file = output.open("w", encoding="utf-8")
    except OSError as error:
        fail(f"cannot write {output}: {error.strerror}")
    with file:
        yield file


def _end(result: Result) -> str:
    status = (result.value or 0) & 0xFF
    if result.reason is not Reason.EXITED:
        return f"+++ {result.reason.value} +++"
    if status <= 128:
        return f"+++ exited with {status} +++"
    try:
        return f"+++ killed by {signal.Signals(status - 128).name} +++"
    except ValueError:
        return f"+++ exited with {status} +++"


def register(app: typer.Typer) -> None:
    """Add the command of this module."""
    app.command("strace")(strace)
