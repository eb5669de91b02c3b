"""The `penglai` command: its subcommands by name."""

import importlib
from typing import Annotated, Any, Final

import typer
from typer.core import TyperGroup

from penglai.toolchain.places import package_version

COMMANDS = {
    "run": "running",
    "gdb": "debugging",
    "record": "recordings",
    "replay": "recordings",
    "trace": "tracing",
    "strace": "stracing",
    "fuzz": "fuzzing",
    "test-stop": "stopping",
    "snapshot": "moving",
    "restore": "moving",
    "boot": "booting",
    "image": "imaging",
    "pack": "packing",
    "measure": "attesting",
    "attest": "attesting",
    "policy": "verifying",
    "verify": "verifying",
    "verifier": "serving",
    "build": "compiling",
    "check": "compiling",
    "cc": "compiling",
    "c++": "compiling",
    "ar": "compiling",
    "ranlib": "compiling",
    "toolchain": "compiling",
    "fleet": "fleeting",
    "demos": "tools",
    "doctor": "tools",
    "version": "tools",
}
"""Which module of this room has a command: each is imported when it is used, to start quickly."""


MARKUP: Final = "markdown"
"""Of help texts: its paragraphs wrap at the width of the terminal."""


class LazyGroup(TyperGroup):
    """The commands, by name."""

    def list_commands(self, ctx: Any) -> list[str]:  # noqa: ARG002 - the base class's signature
        """In the order in which help shows them."""
        return list(COMMANDS)

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        """The command that a line begins with; for a misspelt one, the error names the nearest ones."""
        self.commands = dict.fromkeys(COMMANDS, self)  # only the names are looked at
        return super().resolve_command(ctx, args)

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        """The command of a name, from its module."""
        if cmd_name not in COMMANDS:
            return None
        module: Any = importlib.import_module(f"penglai.cli.{COMMANDS[cmd_name]}")
        app = typer.Typer(pretty_exceptions_enable=False, rich_markup_mode=MARKUP)
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
    pretty_exceptions_enable=False,
    rich_markup_mode=MARKUP,
)


def _show_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"penglai {package_version('pypenglai')}")
        raise typer.Exit


@app.callback()
def _main(
    _version: Annotated[
        bool, typer.Option("--version", help="Show the version.", is_eager=True, callback=_show_version)
    ] = False,
) -> None:
    """Penglai-TVM enclaves for RISC-V: build, run, stop, resume and destroy them, all in this process."""
