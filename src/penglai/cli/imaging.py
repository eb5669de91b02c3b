"""penglai image: building what penglai boot boots."""

import os
import shlex
import shutil
from typing import Annotated

import typer

from penglai.abi.errors import ImageError
from penglai.cli.options import Json, command, end_on_signals, err, fail, show, write_json
from penglai.cli.progress import progress
from penglai.guest.image.build import build_image
from penglai.guest.image.current import Image, current_image, root

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

    Takes some eight minutes the first time, on Debian, and needs no root if the tools are installed.
    """
    entries = files or _listed() or None
    end_on_signals()
    with progress() as tell:
        image = build_image(entries, variant="debug" if debug else "", update=update, tell=tell)
    _show(image, as_json)


@app.command("show")
@command
def show_current(as_json: Json = False) -> None:
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


def _show(image: Image, as_json: bool) -> None:
    if as_json:
        write_json({**image._asdict(), "kernel": str(image.kernel), "initrd": str(image.initrd)})
        return
    show("kernel  ", f"{image.kernel} ({image.kernel.stat().st_size >> 10} KiB)")
    show("ramfs   ", f"{image.initrd} ({image.initrd.stat().st_size >> 10} KiB)")
    variant = f", {image.variant}" if image.variant else ""
    show("from    ", f"Linux {image.linux}{variant}; BusyBox {image.busybox}")
    show("in /    ", " ".join(image.files))


def register(main: typer.Typer) -> None:
    """Add the commands of this module."""
    main.add_typer(app, name="image")
