"""Making a recording while a command runs."""

import contextlib
from collections.abc import Iterator
from pathlib import Path

from penglai.cli.options import err
from penglai.embedded import Machine


@contextlib.contextmanager
def recorded(machine: Machine, path: Path | None) -> Iterator[None]:
    """Record what the machine executes, if there is a path; at the end, say what there is in the file."""
    if path is None:
        yield
        return
    with machine.record(path) as recording:
        try:
            yield
        finally:
            recording.close()
            lost = "; it is full, and the rest is missing" if recording.full else ""
            err.print(f"wrote {path}: {recording.runs} runs, {recording.size >> 10} KiB{lost}", style="dim")
