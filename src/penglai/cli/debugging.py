"""penglai gdb."""

import contextlib
import shutil
import signal
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Annotated

import typer

from penglai.abi.errors import BadArgumentError, WaitTimeoutError
from penglai.abi.layout import DEFAULT_STACK_SIZE
from penglai.cli.measuring import TraceTo, tracing
from penglai.cli.options import Eapp, Harts, Memory, Servers, StackSize, command, fail
from penglai.cli.running import Stdout, explain_faults, make_servers, split_server
from penglai.debug import rewind
from penglai.debug.recording import Reader
from penglai.debug.session import Session
from penglai.debug.timeline import Timeline
from penglai.embedded import Machine
from penglai.machine.memory import parse_size
from penglai.sdk.images import find_image

GDBS = ("gdb-multiarch", "riscv64-linux-gnu-gdb", "riscv64-unknown-elf-gdb")
"""Debuggers that know RISC-V, by the names that distributions give them; the first that is there is taken."""

SETTINGS = (
    "set can-use-hw-watchpoints 0",  # the engine has none: gdb steps instead
    "set pagination off",
    "set confirm off",
)


def find_gdb() -> str:
    """The path of a debugger.  Raises BadArgumentError if there is none."""
    found = next((path for name in GDBS if (path := shutil.which(name))), None)
    if found is None:
        raise BadArgumentError(
            f"there is no {' and no '.join(GDBS)}; on Debian: apt-get install gdb-multiarch "
            "(or connect another one: penglai run --gdb)"
        )
    return found


@command
def debug(
    eapp: Eapp,
    memory: Memory = "256M",
    harts: Harts = 2,
    stack_size: StackSize = str(DEFAULT_STACK_SIZE),
    server: Servers = None,
    commands: Annotated[
        list[str] | None,
        typer.Option("--ex", metavar="COMMAND", help="Let gdb execute this first.  Repeatable."),
    ] = None,
    batch: Annotated[bool, typer.Option("--batch", help="End gdb after these commands.")] = False,
    replay: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE", help="Not a new run of it, but the one that `penglai record` has recorded."
        ),
    ] = None,
    trace: TraceTo = None,
) -> None:
    """Debug an enclave in gdb, from its first instruction.

    Build it with -g for lines and variables.  Reports of a machine that can be debugged say so, and keys of
    its enclaves are others.  In a recording gdb goes backwards too: reverse-continue, reverse-step.
    """
    gdb = find_gdb()
    image = find_image(eapp)
    with contextlib.ExitStack() as undone:
        directory = undone.enter_context(tempfile.TemporaryDirectory(prefix="penglai-"))
        socket = Path(directory, "gdb")
        run = None
        if replay is not None:
            timeline = undone.enter_context(contextlib.closing(Timeline(Reader(replay))))
            session: Session = undone.enter_context(rewind.ReplaySession(timeline, socket))
        else:
            machine = undone.enter_context(Machine(memory, harts, debug=True, sampling=trace is not None))
            undone.enter_context(tracing(machine, trace))
            machine.on_output = Stdout(machine)
            make_servers(machine, [split_server(text) for text in server or []], stack_size)
            enclave = machine.create(eapp, stack_size=parse_size(stack_size))
            session = undone.enter_context(machine.debug(enclave, socket, attached=False))
            run = enclave.start()
        line = [gdb, "-quiet", *(["-batch"] if batch else []), str(image)]
        for text in (*SETTINGS, f"target remote {session.address}", *(commands or [])):
            line += ["-ex", text]
        status = _run_gdb(line)
        session.close()
        if batch and run is not None:
            with contextlib.suppress(WaitTimeoutError):
                explain_faults(machine, run, run.result(0), registers=False)
    if status:
        fail(f"gdb ended with status {status}")


def _run_gdb(line: list[str]) -> int:
    """Its status.  Ctrl-C is gdb's meanwhile: here it is caught, and not ignored, which gdb would inherit."""
    sys.stdout.flush()
    before = signal.signal(signal.SIGINT, lambda *_: None)
    try:
        return subprocess.run(line, check=False).returncode
    finally:
        signal.signal(signal.SIGINT, before)


def register(app: typer.Typer) -> None:
    """Add the command of this module."""
    app.command("gdb")(debug)
