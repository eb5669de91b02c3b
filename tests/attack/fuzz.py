"""Fuzzing: every target of tests/fuzz with its corpus and with random mutations of it.

The same targets, led by coverage: `make fuzz`.
"""

import time

from tests.attack.tally import Effort, Tally
from tests.fuzz import targets

TITLE = "fuzzing of every parser and every call"

LONG_CASES = 1_100_000
"""In the long form, of all targets together."""


def attack(effort: Effort) -> Tally:
    """Mutations of every target's corpus."""
    tally = Tally()
    whole = sum(targets.RATES.values())
    for name in targets.TARGETS:
        target, part = targets.load(name), targets.RATES[name]
        count = effort.count(50 * part, LONG_CASES * part // whole)
        begun, before = time.monotonic(), tally.tried
        for data in targets.cases(name, count, effort.random("fuzz", name)):
            with tally.case(f"{name}: {data.hex()}"):
                target.one(data)
        tried, took = tally.tried - before, time.monotonic() - begun
        tally.notes.append(f"{name} {tried:,} ({tried / took:,.0f} a second)")
        if hasattr(target, "fresh"):
            target.fresh()
    return tally
