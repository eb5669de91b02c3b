"""penglai snapshot and penglai restore: an enclave stops here and goes on in another process."""

import os
import threading
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer

from penglai.abi.errors import NoSuchEnclaveError
from penglai.abi.layout import DEFAULT_STACK_SIZE
from penglai.abi.state import State
from penglai.cli.numbers import count, seconds
from penglai.cli.options import Eapp, Harts, Memory, Servers, StackSize, command, err, fail
from penglai.cli.running import Stdout, explain_faults, make_servers, split_server
from penglai.driver.task import Reason
from penglai.embedded import Machine
from penglai.host.enclave import Enclave, Run
from penglai.machine.memory import parse_size

After = Annotated[
    float | None,
    typer.Option(help="Stop it after this many seconds.", parser=seconds, metavar="SECONDS"),
]
Lines = Annotated[
    int | None,
    typer.Option(help="Stop it when it has written this many lines.", parser=count(1), metavar="N"),
]
ExitValue = Annotated[
    bool, typer.Option("--exit-value", help="End with the enclave's value (its low 8 bits) as status.")
]


@dataclass
class Break:
    """Stops an enclave at a number of lines, after a time (s), or at Ctrl-C.  None: that does not stop it."""

    machine: Machine
    after: float | None
    lines: int | None

    def __post_init__(self) -> None:
        self._shows = Stdout(self.machine)
        self._over = threading.Event()
        self._left = self.lines
        self.machine.on_output = self._written

    def wait(self, enclave: Enclave, run: Run) -> bool:
        """Wait until it is stopped, or its run is over; True if it is stopped."""
        run.add_done_callback(lambda _: self._over.set())
        try:
            self._over.wait(self.after)
        except KeyboardInterrupt:
            err.print("penglai: stopping it", style="yellow")
        return _stopped(enclave)

    def _written(self, eid: int, text: bytes) -> None:
        """The enclave waits meanwhile: stopped here, it stands right behind what it has written."""
        self._shows(eid, text)
        if self._left is None or self._left <= 0:
            return
        self._left -= text.count(b"\n")
        if self._left <= 0:
            _stopped(self.machine.enclave(eid))
            self._over.set()


@command
def snapshot(
    eapp: Eapp,
    output: Annotated[
        Path, typer.Option("--output", "-o", metavar="FILE", help="A new file, for the snapshot.")
    ],
    after: After = None,
    lines: Lines = None,
    clone: Annotated[
        bool,
        typer.Option("--clone", help="For any number of others that go on from there, if it allows that."),
    ] = False,
    memory: Memory = "256M",
    harts: Harts = 2,
    stack_size: StackSize = str(DEFAULT_STACK_SIZE),
    server: Servers = None,
) -> None:
    """Run an enclave, stop it, and seal it into a file, from which `penglai restore` lets it go on.

    It is stopped when it has written so many lines, after so many seconds, or by Ctrl-C.  Nobody but this
    device and this monitor can open the file, and only once.  If the enclave ends before, there is no file,
    and the exit status is 1.
    """
    servers = [split_server(text) for text in server or []]
    _check_new(output)
    with Machine(memory, harts) as machine:
        stop = Break(machine, after, lines)
        make_servers(machine, servers, stack_size)
        enclave = machine.create(eapp, stack_size=parse_size(stack_size))
        run = enclave.start()
        if not stop.wait(enclave, run):
            explain_faults(machine, run, run.result(), registers=False)
            fail(f"{eapp} ended before it was stopped: {run.result().reason}")
        _save(enclave, output, clone=clone)


@command
def restore(
    file: Annotated[Path, typer.Argument(help="A snapshot.", metavar="FILE")],
    output: Annotated[
        Path | None,
        typer.Option(
            "--output", "-o", metavar="NEW", help="Stop it again, and write the next snapshot there."
        ),
    ] = None,
    after: After = None,
    lines: Lines = None,
    memory: Memory = "256M",
    harts: Harts = 2,
    server: Servers = None,
    exit_value: ExitValue = False,
) -> None:
    """Let an enclave go on from a snapshot, at the instruction before which it was stopped.

    Servers that it has acquired have to be there under their names.  The file is spent then.  Without
    --output, --after and --lines destroy the enclave.
    """
    servers = [split_server(text) for text in server or []]
    if output is not None:
        _check_new(output)
    with Machine(memory, harts) as machine:
        stop = Break(machine, after, lines)
        make_servers(machine, servers, str(DEFAULT_STACK_SIZE))
        enclave = machine.restore(file)
        run = _go_on(enclave)
        if stop.wait(enclave, run):
            if output is None:
                fail(f"{enclave.name or file} was destroyed: it had not ended")
            _save(enclave, output, clone=False)
            return
        result = run.result()
        explain_faults(machine, run, result, registers=False)
    if result.reason is not Reason.EXITED:
        fail(f"{enclave.name or file} was destroyed" + (f": {result.fault}" if result.fault else ""))
    err.print(f"enclave {enclave.eid} exited with value {result.value}", style="dim")
    if exit_value:
        raise typer.Exit((result.value or 0) & 0xFF)


def _go_on(enclave: Enclave) -> Run:
    if enclave.state is State.FRESH:
        return enclave.start()
    enclave.resume()
    return enclave.last_run


def _stopped(enclave: Enclave) -> bool:
    """Stop an enclave; False if it has ended."""
    try:
        enclave.stop()
    except NoSuchEnclaveError:
        return False
    return True


def _check_new(path: Path) -> None:
    """So that nothing runs in vain."""
    if os.path.lexists(path):
        raise typer.BadParameter(f"{path} is there already; name a new file")


def _save(enclave: Enclave, output: Path, *, clone: bool) -> None:
    run_time = enclave.info().run_time
    enclave.snapshot(output, clone=clone)
    size = output.stat().st_size
    err.print(
        f"{output}: {enclave.name}, stopped after {run_time / 1e6:.0f} ms on a hart, {size} bytes",
        style="dim",
    )


def register(app: typer.Typer) -> None:
    """Add the commands of this module."""
    app.command("snapshot")(snapshot)
    app.command("restore")(restore)
