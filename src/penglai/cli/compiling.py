"""penglai build, cc, c++, ar, ranlib and toolchain."""

import sys
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import typer
from typer.core import TyperCommand

from penglai.abi.errors import ToolchainError
from penglai.abi.profile import ProfileName
from penglai.cli.options import Eapp, Json, command, err, fail, write_json
from penglai.sdk.build import KINDS, build_words
from penglai.sdk.cc import become
from penglai.sdk.check import Finding, check
from penglai.sdk.commandline import expand
from penglai.sdk.hostbuild import HOST
from penglai.sdk.images import find_image
from penglai.sdk.toolchainfiles import BuildSystem, toolchain_file

MOST_FINDINGS = 20

HELP = {
    "cc": "Compile and link C as any compiler does; what is linked is an enclave.",
    "c++": "The same for C++, with its library.",
    "ar": "Make archives of object files.",
    "ranlib": "Index an archive.",
}


@command
def build_program(
    sources: Annotated[
        list[str], typer.Argument(help="C, C++, Zig, assembler or object files.", metavar="SOURCE...")
    ],
    output: Annotated[Path | None, typer.Option("--output", "-o", help="The ELF to make.")] = None,
    host: Annotated[bool, typer.Option("--host", help="A host program for Linux instead.")] = False,
    profile: Annotated[
        ProfileName, typer.Option(help="tvm: a program that runs on Penglai-TVM's own machine as well.")
    ] = ProfileName.NATIVE,
) -> None:
    """Compile C, C++ or Zig sources to an enclave ELF.

    With --host: to a static Linux program with Penglai's host library, for penglai boot.

    Options that penglai does not know, such as -O1, -g, -I include or -lname, go to the compiler.
    """
    made = build_words(HOST if host else KINDS[profile], sources, output, loud=True)
    if made and profile is ProfileName.TVM and not host and made.is_file():
        _complain_of(made, check(made.read_bytes(), str(made)))
    if made:
        err.print(f"built {made}", style="dim")


@command
def check_program(eapp: Eapp, as_json: Json = False) -> None:
    """Say what of an enclave would not run on Penglai-TVM's own machine, as far as its ELF shows.

    The exit status is 1 if there is something.  With --profile tvm, build makes programs without, and run
    runs them on a machine that behaves so.
    """
    path = find_image(eapp)
    found = check(path.read_bytes(), eapp)
    if as_json:
        write_json([asdict(finding) for finding in found])
        raise typer.Exit(1 if found else 0)
    _complain_of(path, found)
    err.print(f"{eapp} has nothing that would not run there", style="dim", markup=False)


def _complain_of(path: Path, found: list[Finding]) -> None:
    """Write what was found, and end with status 1 if it is anything."""
    for finding in found[:MOST_FINDINGS]:
        typer.echo(str(finding))
    if found:
        more = f", of which {MOST_FINDINGS} are above" if len(found) > MOST_FINDINGS else ""
        fail(f"{path} would not run on the original: {len(found)} places{more}")


@command
def show_toolchain(
    system: Annotated[BuildSystem, typer.Argument(help="The build system.")],
) -> None:
    """Print the path of the file that makes a build system build enclaves.

    CONFIG_SITE for configure, --toolchain for cmake, --cross-file for meson.
    """
    typer.echo(toolchain_file(system, Path(sys.argv[0]).absolute()))


class CompilerLike(TyperCommand):
    """A command whose unknown options are the compiler's.

    They go behind `--`: the parser would look for its own short options inside them, and find the -o of
    -Wno-error.
    """

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Tell the command's own options from all else, then parse."""
        own, rest, waiting = [], [], _expanded(args)
        while waiting:
            argument = waiting.pop(0)
            if argument in ("-o", "--output", "--profile"):
                own += [argument, *waiting[:1]]
                del waiting[:1]
            elif argument in ("--help", "--host") or argument.startswith(("-o", "--output=", "--profile=")):
                own.append(argument)
            elif argument != "--":
                rest.append(argument)
        return super().parse_args(ctx, [*own, "--", *rest])


def _expanded(args: list[str]) -> list[str]:
    try:
        return expand(args)
    except ToolchainError as error:
        raise typer.BadParameter(str(error)) from error


def _tool(name: str) -> Callable[[typer.Context], None]:
    @command
    def run(context: typer.Context) -> None:
        become(name, context.args)

    return run


def register(app: typer.Typer) -> None:
    """Add the commands of this module."""
    app.command("build", cls=CompilerLike)(build_program)
    app.command("check")(check_program)
    app.command("toolchain")(show_toolchain)
    anything = {"ignore_unknown_options": True, "allow_extra_args": True, "help_option_names": []}
    for name, text in HELP.items():
        app.command(name, help=text, context_settings=anything)(_tool(name))
