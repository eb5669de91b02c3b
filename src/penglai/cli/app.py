"""The `penglai` command: its subcommands by name."""

import importlib
from typing import Any

import typer
from typer.core import TyperGroup

COMMANDS = {
    "run": "running",
    "trace": "tracing",
    "test-stop": "stopping",
    "boot": "booting",
    "image": "imaging",
    "measure": "attesting",
    "attest": "attesting",
    "verify": "attesting",
    "build": "tools",
    "demos": "tools",
    "doctor": "tools",
    "version": "tools",
}
"""Which module of this room has a command: each is imported when it is used, to start quickly."""


class LazyGroup(TyperGroup):
    """The commands, by name."""

    def list_commands(self, ctx: Any) -> list[str]:  # noqa: ARG002 - the base class's signature
        """In the order in which help shows them."""
        return list(COMMANDS)

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        """The command of a name, from its module."""
        if cmd_name not in COMMANDS:
            return None
        module: Any = importlib.import_module(f"penglai.cli.{COMMANDS[cmd_name]}")
        app = typer.Typer(pretty_exceptions_enable=False)
        app.callback()(_nothing)
        module.register(app)
        group = typer.main.get_group(app)
        return group.get_command(ctx, cmd_name)


def _nothing() -> None:
    """Makes a group of an app that has one command."""


app = typer.Typer(
    name="penglai",
    cls=LazyGroup,
    help="Penglai-TVM enclaves for RISC-V: build, run, stop, resume and destroy them, all in this process.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)


@app.callback()
def _main() -> None:
    """Penglai-TVM enclaves for RISC-V: build, run, stop, resume and destroy them, all in this process."""
