"""penglai image: building what penglai boot boots."""

import os
import shlex
import shutil
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from types import FrameType
from typing import Annotated

import typer

from penglai.abi.errors import ImageError
from penglai.cli.options import Json, command, err, fail, out, write_json
from penglai.guest.image.build import build_image
from penglai.guest.image.current import Image, current_image
from penglai.guest.image.work import Tell, root

FILES_VARIABLE = "SDK_FILES"

app = typer.Typer(
    help="Build Linux for penglai boot: kernel, penglai.ko, BusyBox and ramfs.", no_args_is_help=True
)


@app.command("build")
@command
def build(
    files: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[FILE|NAME=FILE|SHIPPED]...",
            help="What is put into /: files of yours, or names of what is shipped; all that is shipped by "
            f"default, or what ${FILES_VARIABLE} lists.",
            show_default=False,
        ),
    ] = None,
    debug: Annotated[bool, typer.Option("--debug", help="With a kernel that looks for mistakes.")] = False,
    update: Annotated[bool, typer.Option("--update", help="Ask Debian for newer sources.")] = False,
    as_json: Json = False,
) -> None:
    """Build the image; what is in the cache is not built again.

    Takes some four minutes the first time, on Debian, and needs no root if the tools are installed.
    """
    entries = files or _listed() or None
    signal.signal(signal.SIGTERM, _terminate)
    signal.signal(signal.SIGHUP, _terminate)
    with _progress() as tell:
        image = build_image(entries, variant="debug" if debug else "", update=update, tell=tell)
    _show(image, as_json)


@app.command("show")
@command
def show(as_json: Json = False) -> None:
    """Show the image that was built last, which penglai boot boots."""
    image = current_image()
    if image is None:
        fail("no image has been built; run: penglai image build")
    _show(image, as_json)


@app.command("clean")
@command
def clean() -> None:
    """Remove everything that was built or downloaded for Linux."""
    shutil.rmtree(root(), ignore_errors=True)
    err.print(f"removed {root()}", style="dim")


def _listed() -> list[str]:
    """What the environment lists."""
    try:
        return shlex.split(os.environ.get(FILES_VARIABLE, ""))
    except ValueError as error:
        raise ImageError(f"${FILES_VARIABLE} cannot be read: {error}") from error


def _terminate(number: int, _frame: FrameType | None) -> None:
    """Ends as Ctrl-C does: what was being made is removed, and its programs end."""
    raise typer.Exit(128 + number)


def _show(image: Image, as_json: bool) -> None:
    if as_json:
        write_json({**asdict(image), "kernel": str(image.kernel), "initrd": str(image.initrd)})
        return
    out.print(f"[bold]kernel  [/]{image.kernel} ({image.kernel.stat().st_size >> 10} KiB)")
    out.print(f"[bold]ramfs   [/]{image.initrd} ({image.initrd.stat().st_size >> 10} KiB)")
    variant = f", {image.variant}" if image.variant else ""
    out.print(f"[bold]from    [/]Linux {image.linux}{variant}; BusyBox {image.busybox}")
    out.print(f"[bold]in /    [/]{' '.join(image.files)}")


@contextmanager
def _progress() -> Iterator[Tell]:
    """Tells on standard error what is being done: in one line that moves, if it is a terminal."""
    started = time.monotonic()
    last = ""

    def line(what: str, steps: int) -> str:
        count = f", {steps} files" if steps else ""
        return f"{what} ({time.monotonic() - started:.0f} s{count})"

    if not err.is_terminal:

        def tell(what: str, _steps: int) -> None:
            nonlocal last
            if what != last:
                last = what
                err.print(what, style="dim")

        yield tell
        return
    with err.status("looking into the cache") as status:
        yield lambda what, steps: status.update(line(what, steps))


def register(main: typer.Typer) -> None:
    """Add the commands of this module."""
    main.add_typer(app, name="image")
