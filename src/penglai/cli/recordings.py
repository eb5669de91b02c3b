"""penglai record and penglai replay."""

import contextlib
import sys
import threading
from pathlib import Path
from typing import Annotated, Any

import typer

from penglai.abi.layout import DEFAULT_STACK_SIZE
from penglai.cli.halting import WithGdb, parse_place
from penglai.cli.numbers import count
from penglai.cli.options import Eapp, EndAfter, Memory, Servers, StackSize, command, err
from penglai.cli.packing import Arguments, Environment, Files, LinuxProgram, Mounted, Root
from penglai.cli.running import run
from penglai.debug.recording import Reader
from penglai.debug.replay import Interrupted, Player, play
from penglai.debug.rewind import ReplaySession
from penglai.debug.timeline import Timeline


@command
def record(
    eapp: Eapp,
    arguments: Arguments = None,
    linux: LinuxProgram = False,
    root: Root = None,
    files: Files = None,
    environment: Environment = None,
    mount: Mounted = None,
    output: Annotated[Path, typer.Option("--output", "-o", help="Write the recording there.")] = Path(
        "run.rec"
    ),
    memory: Memory = "256M",
    stack_size: StackSize = str(DEFAULT_STACK_SIZE),
    server: Servers = None,
    timeout: EndAfter = None,
) -> None:
    """Run an enclave, or a Linux program, and record it: `penglai replay` executes it again bit by bit.

    It is `penglai run --record`, which has more options.  The recording contains what is in the enclave's
    memory: it is the machine owner's, as gdb is, and reports say that the machine can be looked into.
    """
    run(
        eapp,
        arguments,
        linux,
        root,
        files,
        environment,
        mount,
        memory=memory,
        stack_size=stack_size,
        server=server,
        timeout=timeout,
        record=output,
    )


@command
def replay(
    recording: Annotated[
        Path, typer.Argument(help="A file that `penglai record` has written.", metavar="FILE")
    ],
    engine: Annotated[
        str | None, typer.Option(metavar="NAME", help="What executes it: native or unicorn.")
    ] = None,
    gdb: Annotated[
        Any,
        typer.Option(
            help="Wait for a gdb, at any free port, or --gdb=PORT, or --gdb=./SOCKET; it can go backwards.",
            parser=parse_place,
            metavar="",
        ),
    ] = None,
    eid: Annotated[
        int | None,
        typer.Option(
            metavar="EID", help="Whom gdb sees: by default the first one that ran.", parser=count(0)
        ),
    ] = None,
) -> None:
    """Execute a recording again, and compare: registers after each run, and pages now and then.

    What the enclaves wrote is on standard output.  The exit status is 1 if anything is not as it was
    recorded.
    """
    reader = Reader(recording)
    if gdb is not None:
        _debug(reader, engine, eid, gdb)
        return
    player = Player(reader, engine)
    player.on_text = _show
    ended: list[BaseException | None] = []
    thread = threading.Thread(target=lambda: ended.append(_caught(player, reader)))
    thread.start()
    try:
        thread.join()
    except KeyboardInterrupt:
        player.stop()
        thread.join()
        raise
    finally:
        player.close()
    if ended[0] is not None:
        raise ended[0]
    done = player.summary
    enclaves = "1 enclave" if done.enclaves == 1 else f"{done.enclaves} enclaves"
    err.print(f"{recording}: {done.runs} runs of {enclaves}, bit by bit as they were recorded", style="dim")


def _show(text: bytes) -> None:
    sys.stdout.buffer.write(text)
    sys.stdout.buffer.flush()


def _debug(reader: Reader, engine: str | None, eid: int | None, place: int | Path) -> None:
    timeline = Timeline(reader, engine, eid)
    with contextlib.closing(timeline), ReplaySession(timeline, place) as session:
        space = timeline.space
        err.print(f"enclave {space.eid} {space.name}: in gdb: target remote {session.address}")
        session.wait()


def _caught(player: Player, reader: Reader) -> BaseException | None:
    try:
        play(player, reader)
    except Interrupted:
        return None
    except BaseException as error:
        return error
    return None


def register(app: typer.Typer) -> None:
    """Add the commands of this module."""
    app.command("record")(record)
    app.command("replay", cls=WithGdb)(replay)
