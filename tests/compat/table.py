"""The table of facts, for people: on a terminal what was got, in the documentation what is promised."""

from collections.abc import Iterable, Sequence
from pathlib import Path

from tests.compat import hosts
from tests.compat.fact import DIES, Fact, Relied

PAGE = Path(__file__).parents[2] / "docs" / "compatibility.md"

INTRODUCTION = """\
# Compatibility, fact by fact

What binaries of Penglai-TVM do that this package promises to answer as the original does, and where it
does not. `make compat` runs a program for each row on both hosts and prints what is got; this page is
made from the same data (`tests/compat`), and a test holds it to them. **R**: binaries may rely on it.
**A**: an accident of the original's, or a bug; nobody should. A machine of the profile "tvm" does as
the original in every row ([what for](guides/hardware.md)).
"""


def shown(value: int | str) -> str:
    """A value as people read it: small numbers, negative ones, and addresses."""
    if isinstance(value, str):
        return value
    signed = value - (1 << 64) if value >> 63 else value
    return str(signed) if -10000 < signed < 100000 else f"{value:#x}"


def differs(fact: Fact) -> bool:
    """Does the native profile mean something else?"""
    return fact.here != fact.expected


def page(facts: Sequence[Fact]) -> str:
    """docs/compatibility.md."""
    parts = [INTRODUCTION]
    for section in dict.fromkeys(fact.section for fact in facts):
        parts.append(f"## {section}\n\n| fact | | Penglai-TVM | here |\n|---|---|---|---|")
        parts += [_row(fact) for fact in facts if fact.section == section]
        parts.append("")
    parts.append("## Host programs, on Linux\n\n| fact | |\n|---|---|")
    parts += [f"| {says} | {Relied.YES} |" for says, _ in hosts.EXPECTED.values()]
    return "\n".join(parts) + "\n"


def _row(fact: Fact) -> str:
    native = shown(fact.here) if differs(fact) else "the same"
    expected = "the enclave ends" if fact.expected == DIES else shown(fact.expected)
    native = "the enclave ends" if native == DIES else native
    return f"| {fact.name}: {fact.says} | {fact.relied} | {expected} | {native} |"


def names(facts: Iterable[Fact]) -> list[str]:
    """All names, each of which is one fact's."""
    return [fact.name for fact in facts]
