"""The verdict on a mutant: which tests it meets, in which order, and in which process."""

import itertools
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from tests.mutation import c, python
from tests.mutation.runner import (
    KILLED,
    NOTICED,
    PACKAGE,
    SURVIVED,
    UNREACHED,
    Reach,
    Tree,
    Verdict,
    limit_of,
    try_tests,
)
from tests.mutation.warm import Question, Warm

Mutant = python.Mutant | c.Mutant

OFTEN = 4.0
"""A test that has noticed something in a file is tried so many times as early for each such mutant."""


@dataclass(frozen=True)
class Tried:
    """A mutant with its verdict.  change: the lines that differ.  seconds: what it took."""

    mutant: Mutant
    verdict: Verdict
    change: tuple[str, str]
    seconds: float


class Judge:
    """Tries mutants, one at a time; each process that tries some has its own.

    tree: of that process alone.  reach: of the tests that a mutant meets.  late: of those that it meets if it
    survives the others.  budget: seconds; if it is given, a mutant meets only as many tests as take that, on
    the fake engine, and those first that are named after its file.
    """

    def __init__(self, tree: Tree, reach: Reach, late: Reach, budget: float | None) -> None:
        self._tree = tree
        self._budget = budget
        self._reach = reach
        self._late = late
        files = sorted({test.partition("::")[0] for test in reach.seconds})
        self._stages: list[tuple[list[str], Warm | None]] = [([], None)]
        if reach.lines:
            forms = {"quick": ["--quick"]} if budget else {"quick": ["--quick"], "whole": []}
            self._stages = [
                (options, Warm(tree, form, [*options, *files])) for form, options in forms.items()
            ]
        self._noticed: Counter[tuple[Path, str]] = Counter()

    def judge(self, mutant: Mutant) -> Tried:
        """What becomes of a mutant."""
        begun = time.monotonic()
        with self._tree.changed(mutant.file, mutant.source):
            verdict = self._verdict(mutant)
        return Tried(mutant, verdict, mutant.change, time.monotonic() - begun)

    def _verdict(self, mutant: Mutant) -> Verdict:
        verdict = self._try(mutant, self._tests(mutant))
        if verdict.outcome == KILLED:
            self._noticed[mutant.file, verdict.by] += 1
        if verdict.outcome not in NOTICED and self._late.seconds:
            tests = self._late.of(_name(mutant), mutant.lines)
            verdict = try_tests(self._tree, tests, limit_of(tests, self._late.seconds)) if tests else verdict
        return verdict

    def _tests(self, mutant: Mutant) -> list[str]:
        """Those that reach it: what is quick or has often noticed something first."""
        if isinstance(mutant, c.Mutant):
            return sorted(self._reach.seconds, key=self._reach.seconds.__getitem__)
        found = self._reach.of(_name(mutant), mutant.lines)
        found.sort(key=lambda test: self._cost(mutant, test))
        return found if self._budget is None else self._affordable(mutant, found, self._budget)

    def _affordable(self, mutant: Mutant, tests: list[str], budget: float) -> list[str]:
        own = f"/test_{mutant.file.stem}.py::"
        tests.sort(key=lambda test: own not in test)
        spent = itertools.accumulate(self._reach.seconds.get(test, 0.0) for test in tests)
        return [test for test, seconds in zip(tests, spent, strict=True) if seconds < budget]

    def _cost(self, mutant: Mutant, test: str) -> float:
        return self._reach.seconds.get(test, 0.0) / (1 + OFTEN * self._noticed[mutant.file, test])

    def _try(self, mutant: Mutant, tests: Sequence[str]) -> Verdict:
        if not tests:
            return Verdict(UNREACHED)
        verdict = Verdict(SURVIVED)
        for options, warm in self._stages:
            verdict = self._ask(mutant, tests, options, warm)
            if verdict.outcome in NOTICED:
                break
            tests = [test for test in tests if test not in verdict.settled]
        return verdict

    def _ask(
        self, mutant: Mutant, tests: Sequence[str], options: Sequence[str], warm: Warm | None
    ) -> Verdict:
        limit = limit_of(tests, self._reach.seconds)
        verdict = None
        if warm and not self._reach.at_import(_name(mutant), mutant.lines):
            before, file = mutant.file.read_text(), self._tree.place(mutant.file)
            seconds = {test: self._reach.seconds.get(test, 0.0) for test in warm.knows(tests)}
            verdict = warm.ask(Question(file, before, mutant.source, seconds, limit))
        return verdict or try_tests(self._tree, tests, limit, *options)


def _name(mutant: Mutant) -> str:
    """As Reach has it."""
    return mutant.file.relative_to(PACKAGE.parent).as_posix()
