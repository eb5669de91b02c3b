"""penglai boot: the machine with Linux as its host."""

import signal
import threading
from pathlib import Path
from types import FrameType
from typing import Annotated

import typer

from penglai.cli.options import Harts, Memory, command, fail
from penglai.guest.boot import Boot
from penglai.guest.linux import Guest
from penglai.guest.sharing import Share
from penglai.guest.terminal import Terminal, is_terminal
from penglai.machine.store import default_state_dir
from penglai.machine.system import End, Outcome, Software

TERMINATED = 128 + signal.SIGTERM


@command
def boot(
    run: Annotated[
        str | None,
        typer.Option(metavar="COMMANDS", help="Run shell commands, and end with their status."),
    ] = None,
    memory: Memory = "256M",
    harts: Harts = 2,
    append: Annotated[str, typer.Option(help="More for the kernel's command line.")] = "",
    add: Annotated[
        list[str] | None,
        typer.Option(metavar="FILE", help="Put a file into / as well.  More than one may be."),
    ] = None,
    share: Annotated[
        str | None,
        typer.Option(
            metavar="DIR[:ro]", help="Show a directory as /share; with :ro, Linux cannot change it."
        ),
    ] = None,
    kernel: Annotated[Path | None, typer.Option(help="Another Linux Image.")] = None,
    initrd: Annotated[Path | None, typer.Option(help="Another initial ramfs.")] = None,
    timeout: Annotated[float | None, typer.Option(help="Switch off after so many seconds.")] = None,
) -> None:
    """Start the machine with Linux as its host, and give a shell in it; Ctrl-A x leaves.

    In / is what the image was built with (penglai image build).  One hart is Linux's, the others run
    enclaves; with one hart they take turns.
    """
    interactive = run is None and is_terminal()
    plan = Boot(
        kernel=kernel,
        initrd=initrd,
        append=append,
        files=tuple(add or ()),
        commands=run,
        plain=not interactive,
    )
    shares = [] if share is None else [Share.parse(share)]
    software = plan.software()
    signal.signal(signal.SIGTERM, _terminate)
    while True:
        outcome = _session(software, shares, memory, harts, interactive, run is not None, timeout)
        if outcome.end is not End.REBOOT or run is not None:
            break
    if run is not None and outcome.end is not End.STATUS:
        fail(f"the machine {_what_happened(outcome)} before the commands had ended")
    raise typer.Exit(outcome.status & 0xFF)


def _session(
    software: Software,
    shares: list[Share],
    memory: str,
    harts: int,
    interactive: bool,
    commands: bool,
    timeout: float | None,
) -> Outcome:
    """From power on to power off."""
    terminal = Terminal(interactive=interactive, take_input=not commands or not is_terminal())
    with Guest(software, terminal, memory, harts, state=default_state_dir(), shares=shares) as guest:
        terminal.leave = guest.system.close
        terminal.begins = threading.Thread(target=guest.warm_up, name="penglai-warm-up", daemon=True).start
        with terminal.attached(guest.system.request):
            guest.start()
            try:
                return guest.wait(timeout)
            except TimeoutError:
                fail(f"switched off: it was still running after {timeout:g} seconds")


def _what_happened(outcome: Outcome) -> str:
    return {End.OFF: "was switched off", End.REBOOT: "wanted to reboot"}.get(outcome.end, "was closed")


def _terminate(_number: int, _frame: FrameType | None) -> None:
    """SIGTERM leaves as Ctrl-C does: the terminal is as it was before."""
    raise typer.Exit(TERMINATED)


def register(app: typer.Typer) -> None:
    """Add the command of this module."""
    app.command("boot")(boot)
