"""A file of verdicts, one a line: what has been noticed need not be tried again."""

from collections.abc import Iterator
from dataclasses import astuple, dataclass
from pathlib import Path

from tests.mutation.runner import NOTICED, Verdict

Key = tuple[str, str, str, str]
"""Of a mutant: file below src/penglai, function, the lines that differ before and after."""


@dataclass(frozen=True)
class Entry:
    """by: the test that noticed."""

    outcome: str
    file: str
    function: str
    before: str
    after: str
    line: str
    by: str

    @property
    def key(self) -> Key:
        """Which mutant it is about, wherever in its function."""
        return self.file, self.function, self.before, self.after


def append(path: Path, entry: Entry) -> None:
    """Write one more."""
    with path.open("a", encoding="utf-8") as log:
        log.write("\t".join(astuple(entry)) + "\n")


def entries(path: Path) -> Iterator[Entry]:
    """All of a file; none if there is no file."""
    if path.exists():
        for line in path.read_text(encoding="utf-8").splitlines():
            yield Entry(*line.split("\t"))


def noticed(path: Path) -> dict[Key, Verdict]:
    """What was noticed of each mutant of which every copy in its function was."""
    found = {entry.key: Verdict(entry.outcome, entry.by) for entry in entries(path)}
    return {key: verdict for key, verdict in found.items() if verdict.outcome in NOTICED}
