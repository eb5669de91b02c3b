"""penglai boot: its command line; what it does is in linuxhost.py."""

from pathlib import Path
from typing import Annotated

import typer

from penglai.abi.profile import ProfileName
from penglai.cli.halting import Gdb, WithGdb
from penglai.cli.linuxhost import host
from penglai.cli.numbers import count, seconds
from penglai.cli.options import Memory, Profile, command


@command
def boot(
    run: Annotated[
        str | None,
        typer.Option(metavar="COMMANDS", help="Run shell commands, and end with their status."),
    ] = None,
    memory: Memory = "256M",
    harts: Annotated[
        int, typer.Option(help="One for Linux, the others for enclaves.", parser=count(0), metavar="N")
    ] = 2,
    append: Annotated[str, typer.Option(help="More for the kernel's command line.")] = "",
    add: Annotated[
        list[str] | None,
        typer.Option(metavar="FILE", help="Put a file into / as well.  Repeatable."),
    ] = None,
    share: Annotated[
        str | None,
        typer.Option(
            metavar="DIR[:ro]", help="Show a directory as /share.  With :ro Linux cannot change it."
        ),
    ] = None,
    kernel: Annotated[Path | None, typer.Option(help="Another Linux Image.")] = None,
    initrd: Annotated[Path | None, typer.Option(help="Another initial ramfs.")] = None,
    profile: Profile = ProfileName.NATIVE,
    gdb: Gdb = None,
    timeout: Annotated[
        float | None,
        typer.Option(help="Switch off after this many seconds.", parser=seconds, metavar="SECONDS"),
    ] = None,
) -> None:
    """Start the machine with Linux as its host, and give a shell in it; Ctrl-A x leaves.

    In / is what the image was built with (penglai image build).  One hart is Linux's, the others run
    enclaves; with one hart they take turns.  If standard input is no terminal, it is run as a shell script.
    """
    status = host(
        run=run,
        memory=memory,
        harts=harts,
        append=append,
        add=tuple(add or ()),
        share=share,
        kernel=kernel,
        initrd=initrd,
        profile=profile,
        gdb=gdb,
        timeout=timeout,
    )
    raise typer.Exit(status)


def register(app: typer.Typer) -> None:
    """Add the command of this module."""
    app.command("boot", cls=WithGdb)(boot)
