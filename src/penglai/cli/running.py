"""penglai run: one enclave, its output as it comes, its end."""

import os
import sys
from dataclasses import asdict
from typing import Annotated, Any

import typer

from penglai.abi.errors import WaitTimeoutError
from penglai.abi.layout import DEFAULT_STACK_SIZE
from penglai.cli.options import Eapp, Harts, Json, Memory, command, err, fail, write_json
from penglai.driver.task import Info, Reason, Result
from penglai.embedded import Machine
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
    timeout: Annotated[float | None, typer.Option(help="Destroy it after so many seconds.")] = None,
    exit_value: Annotated[
        bool, typer.Option("--exit-value", help="End with the enclave's value (its low 8 bits) as status.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Run an enclave to its end, with its output on standard output.

    The exit status is 0 if it ended by itself, 1 if it faulted or the time was over.
    """
    with Machine(memory, harts) as machine:
        if not as_json:
            machine.on_output = Stdout(machine)
        enclave = machine.create(eapp, stack_size=parse_size(stack_size))
        try:
            result = enclave.run(timeout)
        except WaitTimeoutError:
            enclave.destroy()
            fail(f"{eapp} was destroyed: it was still alive after {timeout} seconds")
        info = enclave.info()
        if as_json:
            write_json(_as_dict(enclave.eid, result, info, machine.console.text))
    if result.reason is Reason.DESTROYED:
        raise typer.Exit(1)
    if result.reason is Reason.FAULTED:
        fail(f"{eapp} was destroyed: {result.fault}")
    if not as_json:
        err.print(f"enclave {enclave.eid} exited with value {result.value}", style="dim")
    if exit_value:
        raise typer.Exit((result.value or 0) & 0xFF)


def _as_dict(eid: int, result: Result, info: Info, output: str) -> dict[str, Any]:
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
        "output": output,
    }
