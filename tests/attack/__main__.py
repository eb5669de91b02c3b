"""make attack: runs every class of attack, and prints one table.  Exit status 1 if anything is broken."""

import argparse
import os
import sys
import tempfile
import time

from rich.console import Console
from rich.table import Table

from tests.attack.classes import CLASSES, AttackClass, name_of
from tests.attack.tally import Effort, Tally

LONG_SCALE = 20.0


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.attack", description=__doc__)
    parser.add_argument("--long", action="store_true", help="leave nothing out; takes hours")
    parser.add_argument("--seed", type=int, default=1, help="of everything random (default 1)")
    parser.add_argument("--scale", type=float, help="of all counts (default 1, long 20)")
    parser.add_argument(
        "--only", action="append", choices=[name_of(each) for each in CLASSES], help="a class"
    )
    return parser.parse_args()


def run(module: AttackClass, effort: Effort, console: Console) -> tuple[Tally, float]:
    begun = time.monotonic()
    try:
        tally = module.attack(effort)
    except Exception as error:
        console.print_exception()
        tally = Tally(tried=1, broken=[f"the attack itself failed: {error!r}"])
    took = time.monotonic() - begun
    for broken in tally.broken:
        again = f"python -m tests.attack --only {name_of(module)} --seed {effort.seed}"
        again += " --long" if effort.long else f" --scale {effort.scale:g}"
        console.print(f"BROKEN {broken}\nto run it again: {again}", markup=False, highlight=False)
    return tally, took


def main() -> int:
    arguments = parse()
    scale = arguments.scale or (LONG_SCALE if arguments.long else 1.0)
    effort = Effort(arguments.seed, arguments.long, scale)
    console = Console(width=None if sys.stdout.isatty() else 110)
    form = "long form" if effort.long else "short form"
    table = Table(title=f"attacks, seed {effort.seed}, {form}", title_justify="left")
    table.add_column("class of attack")
    for column in ("cases tried", "broken", "seconds"):
        table.add_column(column, justify="right")
    table.add_column("figures")
    cases = broken = 0
    for module in CLASSES:
        if arguments.only and name_of(module) not in arguments.only:
            continue
        tally, took = run(module, effort, console)
        cases, broken = cases + tally.tried, broken + len(tally.broken)
        row = (f"{tally.tried:,}", str(len(tally.broken)), f"{took:.1f}", "; ".join(tally.notes))
        table.add_row(f"{name_of(module)}: {module.TITLE}", *row)
    table.add_section()
    table.add_row("all", f"{cases:,}", str(broken))
    console.print(table)
    return 1 if broken else 0


if __name__ == "__main__":
    with tempfile.TemporaryDirectory(prefix="penglai-attack-") as state:
        os.environ["PENGLAI_STATE"] = state  # machines of attacks have a state of their own
        status = main()
    sys.exit(status)
