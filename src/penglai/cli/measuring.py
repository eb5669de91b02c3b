"""Options of commands that run something: what is measured of it meanwhile, and written when it is over."""

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, NamedTuple

import typer

from penglai.abi.errors import PenglaiError
from penglai.cli.options import err
from penglai.embedded import Machine

CoverageFile = Annotated[
    Path | None,
    typer.Option(
        "--coverage",
        metavar="FILE",
        help="Write there which lines and branches were executed, as lcov does.  Runs on Unicorn.",
    ),
]
CoverageAppend = Annotated[
    bool, typer.Option("--coverage-append", help="Add to what the file of --coverage has.")
]
ProfileTime = Annotated[
    Path | None,
    typer.Option(
        "--profile-time",
        metavar="FILE",
        help="Write there where time went: for speedscope, or, if it ends in .perf, as perf script does.",
    ),
]
TraceTo = Annotated[
    Path | None,
    typer.Option(
        "--trace",
        metavar="FILE",
        help="Write there what ran where and when, with functions, for ui.perfetto.dev.",
    ),
]


class Measured(NamedTuple):
    """What the options say."""

    coverage: Path | None
    append: bool
    time: Path | None
    trace: Path | None

    @property
    def samples(self) -> bool:
        """Whether the machine has to take samples."""
        return self.time is not None or self.trace is not None

    @property
    def counts(self) -> bool:
        """Whether the machine has to count what it executes."""
        return self.coverage is not None

    def check(self) -> None:
        """Raise BadParameter for options that mean nothing together."""
        if self.append and self.coverage is None:
            raise typer.BadParameter("--coverage-append adds to the file that --coverage names: name it")


@contextlib.contextmanager
def measuring(machine: Machine, what: Measured) -> Iterator[None]:
    """Write what was measured when the block is over; nothing if an error ended it."""
    ran = True
    try:
        with tracing(machine, what.trace):
            yield
    except PenglaiError:
        ran = False
        raise
    finally:
        if ran:
            _write(machine, what)


def _write(machine: Machine, what: Measured) -> None:
    if what.coverage is not None:
        summary = machine.coverage.write(what.coverage, append=what.append)
        err.print(f"wrote {what.coverage}: {summary}", style="dim")
    if what.time is not None:
        summary = machine.time_profile.write(what.time)
        err.print(f"wrote {what.time}: {summary}", style="dim")


@contextlib.contextmanager
def tracing(machine: Machine, path: Path | None) -> Iterator[None]:
    """Write a trace of the block, if there is a path.  For functions the machine has to take samples."""
    if path is None:
        yield
        return
    with machine.trace(path) as written:
        yield
    err.print(f"wrote {path}: {written.events} events, for ui.perfetto.dev", style="dim")
