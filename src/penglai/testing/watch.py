"""What a test's machine tells of the test: in the report of a failure, in files that are kept, at its end."""

import fcntl
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from penglai.embedded import Machine

MOST_OUTPUT = 16 << 10
"""Bytes of what enclaves wrote that a report shows: the end of it."""


@dataclass(frozen=True)
class Kept:
    """A file that is written while a test runs.

    heading: of it in the report.  always: it is kept of tests that pass, too.  close: completes it.
    """

    heading: str
    path: Path
    always: bool
    close: Callable[[], None]


class Watch:
    """A machine, and what is to be told of it.

    failed: whether the test has.
    """

    def __init__(self, machine: Machine) -> None:
        self.failed = False
        self._machine = machine
        self._pages = machine.in_use().pages
        self._files: list[Kept] = []

    def begin_trace(self, place: Path, *, always: bool) -> None:
        """Write a trace from now on.  place: its path without the suffix."""
        path = place.with_name(f"{place.name}.trace.json")
        self._files.append(Kept("trace, for ui.perfetto.dev", path, always, self._machine.trace(path).close))

    def end(self) -> None:
        """The machine is closed: complete what was written, and remove what is not to be kept."""
        for each in self._files:
            each.close()
            if not (self.failed or each.always):
                each.path.unlink(missing_ok=True)

    def add_coverage(self, path: Path) -> None:
        """Add what was executed to a file, in which others may be writing at the same time."""
        with path.with_name(f".{path.name}.lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            self._machine.coverage.write(path, append=True)

    def sections(self) -> list[tuple[str, str]]:
        """Headings and texts for the report of a failure."""
        found = []
        if written := self._machine.console.getvalue():
            cut = "... " if len(written) > MOST_OUTPUT else ""
            found.append(("output of enclaves", cut + written[-MOST_OUTPUT:].decode("utf-8", "replace")))
        for fault in self._machine.faults:
            whose = fault.details.enclave if fault.details else "an enclave"
            found.append((f"fault of {whose}", f"{fault}\n{fault.explain(registers=True)}"))
        return found + [(each.heading, str(each.path)) for each in self._files]

    def leaks(self) -> str:
        """What the test has left behind, in words; empty if nothing."""
        alive = self._machine.in_use().enclaves
        if alive:
            return (
                f"the test has left enclaves alive: {', '.join(alive)}. Wait for their ends, destroy them, "
                "make them in a with block or by the fixture `enclave`"
            )
        left = self._machine.in_use().pages - self._pages
        return f"{left} pages of enclaves that have ended are in use" if left else ""
