"""penglai boot: the machine with Linux as its host."""

import importlib
import os
import threading
from pathlib import Path
from typing import Annotated

import typer

from penglai.cli.options import Memory, command, end_on_signals, err, fail
from penglai.guest.boot import Boot
from penglai.guest.image.current import Image
from penglai.guest.linux import Guest, check_sizes
from penglai.guest.sharing import Share
from penglai.guest.terminal import Terminal, is_terminal
from penglai.machine.store import default_state_dir
from penglai.machine.system import End, Outcome

SCRIPT = "exec sh /dev/tty"
"""Runs what is typed as a shell script: without prompts, and with the status of its end."""


@command
def boot(
    run: Annotated[
        str | None,
        typer.Option(metavar="COMMANDS", help="Run shell commands, and end with their status."),
    ] = None,
    memory: Memory = "256M",
    harts: Annotated[int, typer.Option(help="One for Linux, the others for enclaves.")] = 2,
    append: Annotated[str, typer.Option(help="More for the kernel's command line.")] = "",
    add: Annotated[
        list[str] | None,
        typer.Option(metavar="FILE", help="Put a file into / as well.  More than one may be."),
    ] = None,
    share: Annotated[
        str | None,
        typer.Option(
            metavar="DIR[:ro]", help="Show a directory as /share.  With :ro Linux cannot change it."
        ),
    ] = None,
    kernel: Annotated[Path | None, typer.Option(help="Another Linux Image.")] = None,
    initrd: Annotated[Path | None, typer.Option(help="Another initial ramfs.")] = None,
    timeout: Annotated[float | None, typer.Option(help="Switch off after so many seconds.")] = None,
) -> None:
    """Start the machine with Linux as its host, and give a shell in it; Ctrl-A x leaves.

    In / is what the image was built with (penglai image build).  One hart is Linux's, the others run
    enclaves; with one hart they take turns.  If standard input is no terminal, it is run as a shell script.
    """
    check_sizes(memory, harts)
    shares = [] if share is None else [Share.parse(share)]
    for each in shares:
        each.check()
    interactive = run is None and is_terminal()
    commands = SCRIPT if run is None and not os.isatty(0) else run
    plan = Boot(
        kernel=kernel,
        initrd=initrd,
        append=append,
        files=tuple(add or ()),
        commands=commands,
        plain=not interactive,
    )
    end_on_signals()
    software = plan.software(_build)
    state = default_state_dir()
    while True:
        terminal = Terminal(
            interactive=interactive, take_input=run is None or not os.isatty(0), our_init=plan.ours
        )
        guest = Guest(software, terminal, memory, harts, state=state, shares=shares)
        outcome = _session(guest, terminal, timeout)
        if terminal.failure is not None:
            fail(f"cannot write the output: {terminal.failure.strerror}")
        if terminal.abandoned:
            raise typer.Exit(1)
        if outcome.end is not End.REBOOT or commands is not None:
            break
    if (
        commands is not None
        and outcome.end is not End.STATUS
        and (run is not None or outcome.end is not End.OFF)
    ):
        fail(f"the machine {_what_happened(outcome)} before the commands had ended")
    raise typer.Exit(outcome.status & 0xFF)


def _build() -> Image:
    """The first image, as penglai image build makes it; what builds it is not imported for nothing."""
    err.print("there is no image yet; building it takes some minutes, once", style="dim")
    with importlib.import_module("penglai.cli.progress").progress() as tell:
        image: Image = importlib.import_module("penglai.guest.image.build").build_image(tell=tell)
    return image


def _session(guest: Guest, terminal: Terminal, timeout: float | None) -> Outcome:
    """From power on to power off."""
    terminal.leave = guest.system.close
    terminal.begins = threading.Thread(target=guest.warm_up, name="penglai-warm-up", daemon=True).start
    try:
        with guest, terminal.attached(guest.system.request):
            guest.start()
            return guest.wait(timeout)
    except TimeoutError:
        fail(f"switched off: it was still running after {timeout:g} seconds")


def _what_happened(outcome: Outcome) -> str:
    return {End.OFF: "was switched off", End.REBOOT: "wanted to reboot"}.get(outcome.end, "was closed")


def register(app: typer.Typer) -> None:
    """Add the command of this module."""
    app.command("boot")(boot)
