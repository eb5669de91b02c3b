"""make mutate: changes the code in small ways, one at a time, and sees whether a test notices.

Exit status 1 if a change of the monitor survives that is not in survivors.toml, or a promise of planted.py is
broken and nobody notices.
"""

import argparse
import multiprocessing
import random
import sys
import tempfile
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass, field
from pathlib import Path

from rich.console import Console
from rich.table import Table

from tests.mutation import c, log, planted, python
from tests.mutation.asking import ask
from tests.mutation.judging import Judge, Mutant, Tried
from tests.mutation.rooms import ROOMS, Room
from tests.mutation.runner import (
    KILLED,
    NOTICED,
    PACKAGE,
    SURVIVED,
    TIMED_OUT,
    UNREACHED,
    Reach,
    Tree,
    measure,
)
from tests.mutation.survivors import reasons

SAMPLE = 25
"""Mutants of each room in the short form."""
PATIENCE = 30
"""Seconds after which a test that waits has noticed something: the PENGLAI_PATIENCE of its process."""
STRICT = "monitor"
"""The room of which every survivor needs a reason."""


@dataclass(frozen=True)
class Trees:
    """Copies of the source, one for each process, in a directory."""

    where: Path
    environment: dict[str, str]

    def new(self) -> Tree:
        """One more."""
        return Tree(Path(tempfile.mkdtemp(dir=self.where)), self.environment)


@dataclass
class Score:
    """Of a room.  all: mutants that there are; of them so many were tried."""

    room: str
    all: int
    counts: Counter[str] = field(default_factory=Counter)
    unexplained: list[Mutant] = field(default_factory=list)

    def add(self, tried: Tried) -> str:
        """Count a verdict; the word for it."""
        outcome, mutant = tried.verdict.outcome, tried.mutant
        key = mutant.file.relative_to(PACKAGE).as_posix(), mutant.function, *tried.change
        if outcome not in NOTICED and key in reasons():
            outcome = "justified"
        elif outcome not in NOTICED:
            self.unexplained.append(mutant)
        self.counts[outcome] += 1
        return outcome


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.mutation", description=__doc__)
    rooms = ["planted", *(room.name for room in ROOMS), c.ROOM]
    parser.add_argument("--room", action="append", choices=rooms, help="one of them (default all)")
    parser.add_argument("--long", action="store_true", help="every mutant; takes hours")
    parser.add_argument("--count", type=int, default=SAMPLE, help=f"mutants of each room (default {SAMPLE})")
    parser.add_argument("--seed", type=int, default=1, help="which ones (default 1)")
    parser.add_argument("--only", default="", help="a part of the file's name, or of the promise")
    parser.add_argument("--tests", action="append", help="a file of tests instead of the room's own")
    parser.add_argument("--own", action="store_true", help="in the long form, too, only the room's own tests")
    parser.add_argument(
        "--budget", type=float, help="seconds of quick tests that a mutant meets, and no others"
    )
    parser.add_argument("--jobs", type=int, default=2, help="processes that try mutants (default 2)")
    parser.add_argument("--log", type=Path, help="a file to which each verdict is appended")
    parser.add_argument(
        "--resume", action="store_true", help="what the log has as noticed is not tried again"
    )
    parser.add_argument(
        "--reach",
        type=Path,
        help="a file that keeps what the tests of the one room reach, while they stay as they are",
    )
    arguments = parser.parse_args()
    if arguments.resume and not arguments.log:
        parser.error("--resume needs the --log of what was tried before")
    return arguments


def main() -> int:
    arguments = parse()
    rooms = arguments.room or ["planted", *(room.name for room in ROOMS), c.ROOM]
    unnoticed = planted.main(arguments.only) if "planted" in rooms else 0
    scores = []
    with tempfile.TemporaryDirectory(prefix="penglai-mutate-") as name:
        where = Path(name)
        cache = separate_cache(where)
        trees = Trees(where, {"PENGLAI_PATIENCE": str(PATIENCE), "PENGLAI_CACHE": str(cache)})
        scores += [try_room(room, arguments, trees) for room in ROOMS if room.name in rooms]
        if c.ROOM in rooms:
            scores.append(try_c(arguments, trees))
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


def try_room(room: Room, arguments: argparse.Namespace, trees: Trees) -> Score:
    mutants: list[Mutant] = [each for path in room.files(arguments.only) for each in python.mutants(path)]
    say(f"{room.name}: {len(mutants)} mutants; its tests run once, to see what each of them reaches")
    reach = measured(arguments, trees, room)
    with_late = room.late and arguments.long and not arguments.own
    late = measure(trees.new(), room.late, room.name) if with_late else Reach()
    return try_all(room.name, mutants, arguments, (trees, reach, late, arguments.budget))


def measured(arguments: argparse.Namespace, trees: Trees, room: Room) -> Reach:
    """What its tests reach, from a file if there is one."""
    kept: Path | None = arguments.reach
    if kept and kept.exists():
        return Reach.read(kept)
    found = measure(trees.new(), arguments.tests or room.test_files(), room.name)
    if kept:
        found.write(kept)
    return found


def try_c(arguments: argparse.Namespace, trees: Trees) -> Score:
    """The engine, which is compiled anew for each mutant."""
    mutants: list[Mutant] = [each for path in c.files(arguments.only) for each in c.mutants(path)]
    say(f"{c.ROOM}: {len(mutants)} mutants; their tests run once, to see what each takes")
    seconds = measure(trees.new(), arguments.tests or c.TESTS, "machine").seconds
    return try_all(c.ROOM, mutants, arguments, (trees, Reach(seconds), Reach(), None))


def try_all(
    room: str,
    mutants: list[Mutant],
    arguments: argparse.Namespace,
    judging: tuple[Trees, Reach, Reach, float | None],
) -> Score:
    """Try what is chosen; what the log has as noticed is taken from there, if that is wanted."""
    score = Score(room, len(mutants))
    known = log.noticed(arguments.log) if arguments.resume else {}
    places = {log.place(mutant): mutant for mutant in chosen(mutants, arguments)}
    score.counts.update(known[place].outcome for place in places if place in known)
    still = [mutant for place, mutant in places.items() if place not in known]
    forked = multiprocessing.get_context("fork")
    with ProcessPoolExecutor(arguments.jobs, forked, _begin, judging) as pool:
        waiting = [pool.submit(_judge, mutant) for mutant in still]
        for number, done in enumerate(as_completed(waiting), 1):
            tried = done.result()
            outcome = score.add(tried)
            tell(f"{number:>4}/{len(still)} {tried.seconds:5.1f} s", tried, outcome)
            if arguments.log:
                log.append(arguments.log, outcome, tried)
    return score


judges: list[Judge] = []
"""Of a process that tries mutants: one."""


def _begin(trees: Trees, reach: Reach, late: Reach, budget: float | None) -> None:
    judges.append(Judge(trees.new(), reach, late, budget))


def _judge(mutant: Mutant) -> Tried:
    return judges[0].judge(mutant)


def tell(progress: str, tried: Tried, outcome: str) -> None:
    mutant, by = tried.mutant, tried.verdict.by
    what = f"{mutant.file.name}:{mutant.line} {mutant.operator} {by.partition('::')[2] or by}"
    say(f"{progress}  {outcome:<9} {what}")
    if outcome in (SURVIVED, UNREACHED):
        before, after = tried.change
        say(f"      in {mutant.function}: {before}\n      became {after}")


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
