"""The option --gdb: halt what a command runs at its entry until a gdb connects."""

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from typer.core import TyperCommand

from penglai.abi.errors import PenglaiError
from penglai.cli.numbers import whole
from penglai.cli.options import err

if TYPE_CHECKING:
    from penglai.embedded import Machine
    from penglai.host.enclave import Enclave

ANY_PORT = "0"


class WithGdb(TyperCommand):
    """A command whose option --gdb has a value behind = or none."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Give it the value that means any port."""
        end = args.index("--") if "--" in args else len(args)
        own = [f"--gdb={ANY_PORT}" if arg == "--gdb" else arg for arg in args[:end]]
        return super().parse_args(ctx, own + args[end:])


def parse_place(text: str) -> int | Path:
    """A port, or the path of a socket."""
    if "/" in text:
        return Path(text)
    port = whole(text)
    if not 0 <= port < 1 << 16:
        raise typer.BadParameter(f"{text} is no port: they are below 65536; a path has a /")
    return port


Gdb = Annotated[
    Any,
    typer.Option(
        help="Halt it at its entry until a gdb connects: at any free port, or --gdb=PORT, or --gdb=./SOCKET.",
        parser=parse_place,
        metavar="",
    ),
]


@contextlib.contextmanager
def halted(machine: "Machine", enclave: "Enclave", place: int | Path | None) -> Iterator[None]:
    """Wait for gdb at this place, if it is one; at the end, until gdb knows that the enclave has ended."""
    if place is None:
        yield
        return
    with machine.debug(enclave, place, attached=False) as session:
        err.print(f"halted at the entry; in gdb: target remote {session.address}")
        try:
            yield
        except BaseException:  # it is not to run on when nobody looks at it any more
            with contextlib.suppress(PenglaiError):
                enclave.destroy()
            raise
        session.wait()
