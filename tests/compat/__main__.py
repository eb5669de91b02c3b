"""make compat: every fact on both hosts, in one table.

    python -m tests.compat [--without-linux] [--write]

--write: brings docs/compatibility.md up to date instead.
"""

import sys

from rich.console import Console
from rich.table import Table

import penglai
from penglai import ToolchainError
from tests.compat import embedded, hosts, linux, table
from tests.compat.fact import Fact
from tests.compat.facts import FACTS


def main(words: list[str]) -> int:
    """The exit status: 1 if something else is got than expected."""
    if "--write" in words:
        table.PAGE.write_text(table.page(FACTS), encoding="utf-8")
        return 0
    console = Console(width=max(Console().width, 130))
    native = {fact.name: _alone(fact, "native") for fact in FACTS}
    tvm = {fact.name: _alone(fact, "tvm") for fact in FACTS}
    guest: dict[str, int | str] = {}
    host: dict[str, int | str] = {}
    if "--without-linux" not in words:
        try:
            guest, host = linux.observe(FACTS), hosts.observe()
        except ToolchainError as error:
            console.print(f"without Linux: {error}", style="yellow")
    wrong = _show(console, native, tvm, guest) + _show_hosts(console, host)
    console.print(f"{len(FACTS) + len(host)} facts, {wrong} not as expected")
    return 1 if wrong else 0


def _alone(fact: Fact, profile: str) -> int | str:
    """What is got on a machine of its own."""
    with penglai.Machine(embedded.MEMORY, 1, state=None, profile=profile) as machine:
        return embedded.observe(fact, machine)


def _show(
    console: Console, native: dict[str, int | str], tvm: dict[str, int | str], guest: dict[str, int | str]
) -> int:
    columns = ("fact", "", "Penglai-TVM", "profile tvm", "expected here", "Python host", "Linux")
    lines = Table(*columns, box=None, pad_edge=False)
    wrong = 0
    for fact in FACTS:
        got = [native[fact.name], *([guest[fact.name]] if guest else [])]
        bad = any(each != fact.here for each in got) or tvm[fact.name] != fact.expected
        wrong += bad
        cells = map(table.shown, (fact.expected, tvm[fact.name], fact.here, *got))
        lines.add_row(fact.name, str(fact.relied), *cells, style="red" if bad else "")
    console.print(lines)
    return wrong


def _show_hosts(console: Console, host: dict[str, int | str]) -> int:
    if not host:
        return 0
    lines = Table("host program", "expected", "Linux", box=None, pad_edge=False)
    wrong = 0
    for name, (_, expected) in hosts.EXPECTED.items():
        got = host.get(name, "nothing")
        wrong += got != expected
        lines.add_row(name, str(expected), str(got), style="" if got == expected else "red")
    console.print(lines)
    return wrong


sys.exit(main(sys.argv[1:]))
