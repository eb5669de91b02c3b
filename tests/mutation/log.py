"""A file of verdicts, one a line: what has been noticed need not be tried again."""

import functools
import hashlib
import json
from dataclasses import asdict, dataclass
from pathlib import Path

from tests.mutation.judging import Mutant, Tried
from tests.mutation.runner import NOTICED, PACKAGE, Verdict

Place = tuple[str, str, str]
"""Of a mutant: file below src/penglai, digest of its text, and where in the text it changes what."""


@dataclass(frozen=True)
class Entry:
    """A line.  before, after: the lines that differ.  by: the test that noticed."""

    outcome: str
    file: str
    digest: str
    place: str
    line: int
    function: str
    before: str
    after: str
    by: str


def append(path: Path, outcome: str, tried: Tried) -> None:
    """Write one more."""
    mutant = tried.mutant
    entry = Entry(outcome, *place(mutant), mutant.line, mutant.function, *tried.change, tried.verdict.by)
    with path.open("a", encoding="utf-8") as file:
        file.write(json.dumps(asdict(entry)) + "\n")


def noticed(path: Path) -> dict[Place, Verdict]:
    """Where something was noticed, and what.  A file that has changed since then has other places."""
    if not path.exists():
        return {}
    entries = [Entry(**json.loads(line)) for line in path.read_text(encoding="utf-8").splitlines()]
    return {
        (entry.file, entry.digest, entry.place): Verdict(entry.outcome, entry.by)
        for entry in entries
        if entry.outcome in NOTICED
    }


def place(mutant: Mutant) -> Place:
    """Where it is."""
    return mutant.file.relative_to(PACKAGE).as_posix(), _digest(mutant.file), mutant.place


@functools.cache
def _digest(file: Path) -> str:
    return hashlib.sha256(file.read_bytes()).hexdigest()[:16]
