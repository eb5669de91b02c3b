"""penglai trace: enclaves run, and a file shows what ran where and when."""

import time
from pathlib import Path
from typing import Annotated

import typer

from penglai.abi.errors import WaitTimeoutError
from penglai.abi.layout import DEFAULT_STACK_SIZE
from penglai.cli.numbers import seconds as parse_seconds
from penglai.cli.options import Harts, Memory, Stats, command, err, fail
from penglai.cli.running import Stdout, make_servers, show_stats, split_server
from penglai.driver.task import Reason, Result
from penglai.embedded import Machine
from penglai.host.enclave import Run
from penglai.machine.memory import parse_size


@command
def trace(
    eapps: Annotated[
        list[str], typer.Argument(help="Enclave ELFs, or names of shipped demos.", metavar="EAPP...")
    ],
    output: Annotated[Path, typer.Option("--output", "-o", help="Write the trace there.")] = Path(
        "trace.json"
    ),
    memory: Memory = "256M",
    harts: Harts = 2,
    stack_size: Annotated[str, typer.Option(help="Stack of each enclave.")] = str(DEFAULT_STACK_SIZE),
    server: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME=EAPP",
            help="Create a server that they can call by this name.  Repeatable.",
        ),
    ] = None,
    seconds: Annotated[
        float | None,
        typer.Option(
            help="Destroy those that still run after this many seconds.",
            parser=parse_seconds,
            metavar="SECONDS",
        ),
    ] = None,
    stats: Stats = False,
) -> None:
    """Run enclaves at once, and write a trace: what ran on which hart, the enclaves' states and calls.

    ui.perfetto.dev shows it.  The exit status is 0 unless an enclave faulted.
    """
    servers = [split_server(text) for text in server or []]
    with Machine(memory, harts, sampling=True) as machine:
        machine.on_output = Stdout(machine)
        with machine.trace(output) as written:
            made = make_servers(machine, servers, stack_size)
            enclaves = [machine.create(eapp, stack_size=parse_size(stack_size)) for eapp in eapps]
            until = None if seconds is None else time.monotonic() + seconds
            results = [_end(run, until) for run in [enclave.start() for enclave in enclaves]]
            if stats:
                show_stats(machine, [*enclaves, *made])
        err.print(f"wrote {output}: {written.events} events, for ui.perfetto.dev", style="dim")
    for eapp, result in zip(eapps, results, strict=True):
        if result.reason is Reason.FAULTED:
            fail(f"{eapp} was destroyed: {result.fault}")


def _end(run: Run, until: float | None) -> Result:
    """The end of a run, at the latest at this time of the monotonic clock.  It gets no relay pages."""
    try:
        result = run.result(_left(until))
        while result.reason is Reason.RELAY:
            result = run.enclave.continue_with().result(_left(until))
    except WaitTimeoutError:
        run.enclave.destroy()
        return run.enclave.wait()
    return result


def _left(until: float | None) -> float | None:
    return None if until is None else max(0.0, until - time.monotonic())


def register(app: typer.Typer) -> None:
    """Add the command of this module."""
    app.command("trace")(trace)
