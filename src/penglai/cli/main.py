"""Entry point of the `penglai` command."""

import logging

import typer

from penglai.cli import attesting, imaging, tools
from penglai.cli.booting import boot
from penglai.cli.running import run
from penglai.cli.stopping import stop_tutorial

app = typer.Typer(
    name="penglai",
    help="Penglai-TVM enclaves for RISC-V: build, run, stop, resume and destroy them, all in this process.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
app.command("run")(run)
app.command("test-stop")(stop_tutorial)
app.command("boot")(boot)
imaging.register(app)
attesting.register(app)
tools.register(app)


def main() -> None:
    """Run the command line."""
    logging.basicConfig(format="penglai: %(message)s", level=logging.WARNING)
    logging.getLogger("penglai.toolchain").setLevel(logging.INFO)
    app()
