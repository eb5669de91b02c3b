"""make mutate: changes the code in small ways, one at a time, and sees whether a test notices.

Exit status 1 if a change of the monitor survives that is not in survivors.toml, or a promise of planted.py is
broken and nobody notices.
"""

import argparse
import random
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from rich.console import Console
from rich.table import Table

from tests.mutation import c, planted, python
from tests.mutation.asking import ask
from tests.mutation.rooms import ROOMS, Room
from tests.mutation.runner import (
    KILLED,
    PACKAGE,
    SURVIVED,
    TIMED_OUT,
    UNREACHED,
    Reach,
    Tree,
    Verdict,
    measure,
    try_tests,
)
from tests.mutation.survivors import reasons

SAMPLE = 25
"""Mutants of each room in the short form."""
PATIENCE = 30
"""Seconds after which a test that waits has noticed something: the PENGLAI_PATIENCE of its process."""
NOTICED = (KILLED, TIMED_OUT)
STRICT = "monitor"
"""The room of which every survivor needs a reason."""

Mutant = python.Mutant | c.Mutant


@dataclass
class Score:
    """Of a room.  all: mutants that there are; of them so many were tried."""

    room: str
    all: int
    counts: Counter[str] = field(default_factory=Counter)
    unexplained: list[Mutant] = field(default_factory=list)

    def add(self, mutant: Mutant, verdict: Verdict) -> str:
        """Count a verdict; the word for it."""
        outcome = verdict.outcome
        if outcome not in NOTICED and key(mutant) in reasons():
            outcome = "justified"
        elif outcome not in NOTICED:
            self.unexplained.append(mutant)
        self.counts[outcome] += 1
        return outcome


def key(mutant: Mutant) -> tuple[str, str, str, str]:
    return mutant.file.relative_to(PACKAGE).as_posix(), mutant.function, *mutant.change


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.mutation", description=__doc__)
    rooms = ["planted", *(room.name for room in ROOMS), c.ROOM]
    parser.add_argument("--room", action="append", choices=rooms, help="one of them (default all)")
    parser.add_argument("--long", action="store_true", help="every mutant; takes hours")
    parser.add_argument("--count", type=int, default=SAMPLE, help=f"mutants of each room (default {SAMPLE})")
    parser.add_argument("--seed", type=int, default=1, help="which ones (default 1)")
    parser.add_argument("--only", default="", help="a part of the file's name, or of the promise")
    parser.add_argument("--tests", action="append", help="a file of tests instead of the room's own")
    parser.add_argument("--log", type=Path, help="a file to which each verdict is appended")
    return parser.parse_args()


def main() -> int:
    arguments = parse()
    rooms = arguments.room or ["planted", *(room.name for room in ROOMS), c.ROOM]
    unnoticed = planted.main(arguments.only) if "planted" in rooms else 0
    scores = []
    with tempfile.TemporaryDirectory(prefix="penglai-mutate-") as name:
        where = Path(name)
        cache = separate_cache(where)
        state = str(where / "state")
        places = {"PENGLAI_CACHE": str(cache), "PENGLAI_STATE": state}
        tree = Tree(where, {"PENGLAI_PATIENCE": str(PATIENCE), **places})
        for room in ROOMS:
            if room.name in rooms:
                scores.append(try_room(tree, room, arguments))
        if c.ROOM in rooms:
            scores.append(try_c(tree, arguments))
    if scores:
        show(scores)
    strict = [mutant for score in scores if score.room == STRICT for mutant in score.unexplained]
    return 1 if unnoticed or strict else 0


def separate_cache(where: Path) -> Path:
    """A cache for what is built of mutants, with all that the user's own has."""
    cache = where / "cache"
    cache.mkdir()
    own = Path(ask("from penglai.toolchain.places import cache_dir", "cache_dir()"))
    (own / "zig").mkdir(parents=True, exist_ok=True)
    for entry in own.iterdir():
        (cache / entry.name).symlink_to(entry)
    return cache


def chosen(mutants: list[Mutant], arguments: argparse.Namespace) -> list[Mutant]:
    """A random sample, the same for the same seed; in the long form all, in such an order."""
    order = random.Random(arguments.seed).sample(mutants, len(mutants))
    return order if arguments.long else order[: arguments.count]


def try_room(tree: Tree, room: Room, arguments: argparse.Namespace) -> Score:
    mutants: list[Mutant] = [each for path in room.files(arguments.only) for each in python.mutants(path)]
    say(f"{room.name}: {len(mutants)} mutants; its tests run once, to see what each of them reaches")
    reach = measure(tree, arguments.tests or room.test_files(), room.name)
    late = measure(tree, room.late, room.name) if room.late and arguments.long else Reach()

    def judge(mutant: Mutant) -> Verdict:
        file = mutant.file.relative_to(PACKAGE.parent).as_posix()
        with tree.changed(mutant.file, mutant.source):
            verdict = try_tests(tree, reach.of(file, mutant.lines), reach.seconds)
            if verdict.outcome not in NOTICED and late.seconds:
                verdict = try_tests(tree, late.of(file, mutant.lines), late.seconds)
        return verdict

    return try_all(room.name, mutants, judge, arguments)


def try_c(tree: Tree, arguments: argparse.Namespace) -> Score:
    """The engine, which is compiled anew for each mutant."""
    mutants: list[Mutant] = [each for path in c.files(arguments.only) for each in c.mutants(path)]
    say(f"{c.ROOM}: {len(mutants)} mutants; their tests run once, to see what each takes")
    seconds = measure(tree, arguments.tests or c.TESTS, "machine").seconds

    def judge(mutant: Mutant) -> Verdict:
        with tree.changed(mutant.file, mutant.source):
            return try_tests(tree, seconds, seconds)

    return try_all(c.ROOM, mutants, judge, arguments)


def try_all(
    room: str, mutants: list[Mutant], judge: Callable[[Mutant], Verdict], arguments: argparse.Namespace
) -> Score:
    score = Score(room, len(mutants))
    for number, mutant in enumerate(tried := chosen(mutants, arguments), 1):
        begun = time.monotonic()
        verdict = judge(mutant)
        outcome = score.add(mutant, verdict)
        took = time.monotonic() - begun
        by = verdict.by.partition("::")[2] or verdict.by
        place = f"{mutant.file.name}:{mutant.line} {mutant.operator}"
        say(f"{number:>4}/{len(tried)} {took:5.1f} s  {outcome:<9} {place} {by}")
        if outcome in (SURVIVED, UNREACHED):
            before, after = mutant.change
            say(f"      in {mutant.function}: {before}\n      became {after}")
        if arguments.log:
            with arguments.log.open("a") as log:
                log.write("\t".join((outcome, *key(mutant), f"{mutant.line}", by)) + "\n")
    return score


def show(scores: Sequence[Score]) -> None:
    table = Table(title="mutants", title_justify="left")
    columns = ("there are", "tried", KILLED, TIMED_OUT, "justified", SURVIVED, UNREACHED, "noticed")
    table.add_column("room")
    for column in columns:
        table.add_column(column, justify="right")
    for score in scores:
        counts = score.counts
        tried = counts.total()
        noticed = sum(counts[outcome] for outcome in NOTICED)
        share = f"{100 * noticed / max(1, tried - counts['justified']):.1f} %"
        figures = [score.all, tried, *(counts[each] for each in columns[2:-1])]
        table.add_row(score.room, *map(str, figures), share)
    Console(width=None if sys.stdout.isatty() else 140).print(table)


def say(text: str) -> None:
    print(text, flush=True)  # noqa: T201


if __name__ == "__main__":
    sys.exit(main())
