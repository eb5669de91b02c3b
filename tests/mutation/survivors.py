"""survivors.toml: mutants that no test can notice, or need not, each with its reason."""

import tomllib
from dataclasses import dataclass
from pathlib import Path

FILE = Path(__file__).with_name("survivors.toml")


@dataclass(frozen=True)
class Justified:
    """file: below src/penglai.  before, after: the lines that differ, stripped and joined by spaces."""

    file: str
    function: str
    before: str
    after: tuple[str, ...]
    reason: str


def justified() -> list[Justified]:
    """All of them."""
    table = tomllib.loads(FILE.read_text(encoding="utf-8"))
    return [
        Justified(
            entry["file"],
            entry["function"],
            entry["before"],
            (entry["after"],) if isinstance(entry["after"], str) else tuple(entry["after"]),
            entry["reason"],
        )
        for entry in table.get("survivor", [])
    ]


def reasons() -> dict[tuple[str, str, str, str], str]:
    """(file, function, before, after) -> reason."""
    return {
        (each.file, each.function, each.before, after): each.reason
        for each in justified()
        for after in each.after
    }
