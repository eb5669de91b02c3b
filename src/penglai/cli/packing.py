"""penglai pack, and the options of other commands that take a Linux program."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer

from penglai.cli.options import command, err, fail
from penglai.offline import measure
from penglai.sdk.packing import pack

FILE_SERVER, BLOCK_SERVER = "filesystem", "persistency"
"""The shipped servers that keep protected directories, and the sectors of their disk."""

LinuxProgram = Annotated[
    bool,
    typer.Option("--linux", help="It is a Linux program for riscv64: pack it, unchanged, and take that."),
]
Arguments = Annotated[
    list[str] | None,
    typer.Argument(metavar="[-- ARGUMENT...]", help="What a Linux program is given.", show_default=False),
]
Root = Annotated[
    Path | None,
    typer.Option(metavar="DIR|TAR", help="Its /: libraries and other files.", show_default=False),
]
Files = Annotated[
    list[str] | None,
    typer.Option("--file", metavar="HOST=PATH", help="One more file or directory, and its path inside."),
]
Environment = Annotated[
    list[str] | None,
    typer.Option("--env", metavar="NAME=VALUE", help="Its environment, instead of PATH and HOME."),
]
Mounted = Annotated[
    list[str] | None,
    typer.Option(
        "--mount", metavar="HOST_DIR:PATH", help="A directory of this computer, seen inside; not trusted."
    ),
]
MountPoints = Annotated[
    list[str] | None,
    typer.Option(
        "--mount-point", metavar="PATH", help="Where the host may put a directory of its own: run's --mount."
    ),
]

Protected = Annotated[
    list[str] | None,
    typer.Option(
        "--protected",
        metavar="PATH",
        help="A directory inside that the shipped file server keeps, sealed on the --disk of the host's.",
    ),
]
Published = Annotated[
    list[str] | None,
    typer.Option(
        "--publish",
        metavar="[ADDRESS:]PORT:PORT",
        help="A port of this computer (0: any; of 127.0.0.1), and the port on which the program listens.",
    ),
]
Peers = Annotated[
    list[str] | None,
    typer.Option(
        "--connect",
        metavar="HOST:PORT",
        help="Where the program may connect to, by IPv4 address; 10.0.2.2 is this computer.",
    ),
]


@dataclass(frozen=True)
class Packed:
    """What the options say of a Linux program.  mounts, protected: paths inside that others keep."""

    arguments: Sequence[str] | None
    root: Path | None
    files: Sequence[str] | None
    environment: Sequence[str] | None
    mounts: Sequence[str] = ()
    protected: Sequence[str] = ()

    def image(self, program: str) -> bytes:
        """The image of the program."""
        files = {path: host for host, path in (_split("--file", text) for text in self.files or ())}
        variables = dict(_split("--env", text) for text in self.environment) if self.environment else None
        protected = (
            dict.fromkeys(self.protected, measure(FILE_SERVER, kind="server")) if self.protected else {}
        )
        return pack(
            program,
            self.arguments or (),
            env=variables,
            root=self.root,
            files=files,
            mounts=self.mounts,
            protected=protected,
        )

    def image_or(self, eapp: str, *, linux: bool) -> str | bytes:
        """The image of a Linux program, or the name of any other, for which these options are nothing."""
        if linux:
            return self.image(eapp)
        given = (("an argument", self.arguments), ("--root", self.root), ("--file", self.files))
        for name, value in (*given, ("--env", self.environment)):
            if value:
                raise typer.BadParameter(f"{name} is for Linux programs: say --linux too")
        return eapp


def split_mounts(texts: Sequence[str] | None) -> dict[str, str]:
    """The host's directory, by the path inside, of each HOST_DIR:PATH."""
    found = {}
    for text in texts or ():
        directory, separator, path = text.rpartition(":")
        if not separator or not directory:
            raise typer.BadParameter(f"--mount {text}: write it like --mount HOST_DIR:PATH")
        found[path] = directory
    return found


def split_publish(texts: Sequence[str] | None) -> dict[int, str]:
    """The place on this computer, by the port inside, of each [ADDRESS:]PORT:PORT."""
    found = {}
    for text in texts or ():
        place, separator, inside = text.rpartition(":")
        if not separator or not inside.isdecimal() or not place.rpartition(":")[2].isdecimal():
            raise typer.BadParameter(f"--publish {text}: write it like --publish 8080:80")
        found[int(inside)] = place if ":" in place else f"127.0.0.1:{place}"
    return found


def _split(option: str, text: str) -> tuple[str, str]:
    name, separator, value = text.partition("=")
    if not separator or not name:
        raise typer.BadParameter(f"{option} {text}: write it with a = between the two")
    return name, value


@command
def pack_command(
    program: Annotated[str, typer.Argument(help="A Linux program for riscv64.", metavar="PROGRAM")],
    arguments: Arguments = None,
    output: Annotated[Path | None, typer.Option("--output", "-o", help="The image to make.")] = None,
    root: Root = None,
    files: Files = None,
    environment: Environment = None,
    mount_points: MountPoints = None,
    protected: Protected = None,
) -> None:
    """Make an enclave image of a Linux program, unchanged, with its files, arguments and environment.

    All of it is measured.  The image is like any other: run it, measure it, attest it.
    """
    target = output or Path(f"{Path(program).name}.eapp")
    image = Packed(arguments, root, files, environment, mount_points or (), protected or ()).image(program)
    try:
        target.write_bytes(image)
    except OSError as error:
        fail(f"cannot write {target}: {error.strerror}")
    err.print(f"packed {target}, {len(image) >> 10} KiB", style="dim", markup=False)


def register(app: typer.Typer) -> None:
    """Add the command of this module."""
    app.command("pack")(pack_command)
