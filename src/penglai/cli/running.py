"""penglai run: one enclave, its output as it comes, its end."""

import os
import sys
from collections.abc import Iterable
from dataclasses import asdict
from typing import Annotated, Any

import typer

from penglai.abi.errors import WaitTimeoutError
from penglai.abi.layout import DEFAULT_STACK_SIZE
from penglai.cli.options import Eapp, Harts, Json, Memory, Stats, command, err, fail, write_json
from penglai.driver.task import Info, Reason, Result
from penglai.embedded import Machine
from penglai.host.enclave import Enclave, Run
from penglai.machine.memory import parse_size


class Stdout:
    """Writes an enclave's output to standard output as it comes; nobody reads it any more: destroys it."""

    def __init__(self, machine: Machine) -> None:
        self._machine = machine

    def __call__(self, eid: int, text: bytes) -> None:
        """Write the text of an enclave."""
        try:
            sys.stdout.buffer.write(text)
            sys.stdout.buffer.flush()
        except BrokenPipeError:
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            self._machine.enclave(eid).destroy()


@command
def run(
    eapp: Eapp,
    memory: Memory = "256M",
    harts: Harts = 2,
    stack_size: Annotated[str, typer.Option(help="Stack of the enclave.")] = str(DEFAULT_STACK_SIZE),
    server: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME=EAPP", help="Create a server that it can call by this name.  More than one may be."
        ),
    ] = None,
    instances: Annotated[
        int | None, typer.Option(min=1, help="Make a shadow of it, and run so many instances at once.")
    ] = None,
    timeout: Annotated[float | None, typer.Option(help="Destroy it after so many seconds.")] = None,
    exit_value: Annotated[
        bool, typer.Option("--exit-value", help="End with the enclave's value (its low 8 bits) as status.")
    ] = False,
    stats: Stats = False,
    as_json: Json = False,
) -> None:
    """Run an enclave to its end, with its output on standard output.

    The exit status is 0 if it ended by itself, 1 if it faulted or the time was over.
    """
    servers = [split_server(text) for text in server or []]
    with Machine(memory, harts) as machine:
        written: dict[int, bytes] = {}
        machine.on_output = Stdout(machine)
        if as_json:
            machine.on_output = lambda eid, text: written.update({eid: written.get(eid, b"") + text})
        made = make_servers(machine, servers, stack_size)
        kind = "normal" if instances is None else "shadow"
        enclave = machine.create(eapp, kind=kind, stack_size=parse_size(stack_size))
        runs = [enclave.start() for _ in range(instances or 1)]
        outcomes = [wait_for_end(run, eapp, timeout) for run in runs]
        if as_json:
            rows = [
                _as_dict(run.eid, *outcome, written.get(run.eid, b""))
                for run, outcome in zip(runs, outcomes, strict=True)
            ]
            write_json(rows if instances else rows[0])
        if stats:
            show_stats([*(run.enclave for run in runs), *made])
    for run, (result, _) in zip(runs, outcomes, strict=True):
        _tell(run.eid, eapp, result, quiet=as_json)
    if exit_value:
        raise typer.Exit((outcomes[-1][0].value or 0) & 0xFF)


def split_server(text: str) -> tuple[str, str]:
    """NAME=EAPP in two."""
    name, separator, image = text.partition("=")
    if not separator or not name or not image:
        raise typer.BadParameter(f"--server {text}: write it like --server NAME=EAPP")
    return name, image


def make_servers(machine: Machine, servers: list[tuple[str, str]], stack_size: str) -> list[Enclave]:
    """A server of each name and image."""
    size = parse_size(stack_size)
    return [machine.create(image, name=name, kind="server", stack_size=size) for name, image in servers]


def wait_for_end(run: Run, eapp: str, timeout: float | None) -> tuple[Result, Info]:
    """The end of a run, or of the enclave's time; relay pages are never supplied."""
    try:
        result = run.wait(timeout)
        while result.reason is Reason.RELAY:
            result = run.enclave.run(timeout, rerun=True)
    except WaitTimeoutError:
        run.enclave.destroy()
        fail(f"{eapp} was destroyed: it was still alive after {timeout} seconds")
    return result, run.enclave.info()


def _tell(eid: int, eapp: str, result: Result, *, quiet: bool) -> None:
    if result.reason is Reason.DESTROYED:
        raise typer.Exit(1)
    if result.reason is Reason.FAULTED:
        fail(f"{eapp} was destroyed: {result.fault}")
    if not quiet:
        err.print(f"enclave {eid} exited with value {result.value}", style="dim")


def _as_dict(eid: int, result: Result, info: Info, output: bytes) -> dict[str, Any]:
    return {
        "eid": eid,
        "reason": result.reason.name,
        "value": result.value,
        "fault": asdict(result.fault) if result.fault else None,
        "measurement": info.measurement.hex(),
        "pages": info.pages,
        "run_time_ns": info.run_time,
        "preemptions": info.preemptions,
        "stops": info.stops,
        "calls": info.calls,
        "server_calls": info.server_calls,
        "ocalls": info.ocalls,
        "output": output.decode("utf-8", "replace"),
    }


def show_stats(enclaves: Iterable[Enclave]) -> None:
    """A table on standard error of what enclaves have used; servers run in their callers' time."""
    from rich.table import Table  # noqa: PLC0415 - late, for a quick start

    table = Table("enclave", box=None, pad_edge=False)
    for column in ("run time", "pages", "preempted", "stops", "calls", "to servers", "ocalls"):
        table.add_column(column, justify="right")
    for enclave in enclaves:
        info = enclave.info()
        counts = (info.pages, info.preemptions, info.stops, info.calls, info.server_calls, info.ocalls)
        time = "" if enclave.kind == "server" else f"{info.run_time / 1e6:.1f} ms"
        table.add_row(f"{enclave.eid} {enclave.name}", time, *map(str, counts))
    err.print(table)


def register(app: typer.Typer) -> None:
    """Add the command of this module."""
    app.command("run")(run)
