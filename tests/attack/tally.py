"""How hard a class of attack tries, and what came of it."""

import random
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TypeVar

T = TypeVar("T")

MOST_KEPT = 20
"""Broken cases that are told in full; of the others there is only the number."""


@dataclass(frozen=True)
class Effort:
    """How hard to try.

    seed: of everything random.  long: the long form, which leaves nothing out.  scale: of all counts; 1 is
    the short form of `make attack`, pytest takes less.
    """

    seed: int = 1
    long: bool = False
    scale: float = 1.0

    def count(self, short: int, whole: int | None = None) -> int:
        """How many cases: short of them at scale 1, in the long form whole, if given, or as scale says."""
        if self.long and whole is not None:
            return whole
        return max(1, int(short * self.scale))

    def random(self, *name: object) -> random.Random:
        """Random numbers that depend on the seed and on a name alone."""
        return random.Random(f"{self.seed} {name}")

    def some(self, cases: list[T], short: int) -> list[T]:
        """All cases in the long form, else as many as `count(short)`, spread evenly and by the seed."""
        few = self.count(short)
        if self.long or len(cases) <= few:
            return cases
        picked = sorted(self.random("some", len(cases)).sample(range(len(cases)), few))
        return [cases[index] for index in picked]


@dataclass
class Tally:
    """What came of a class of attack.

    tried: how many cases.  broken: for each promise that did not hold, enough to run the case again.
    notes: figures that are printed with the table.
    """

    tried: int = 0
    broken: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def break_(self, case: object, why: object) -> None:
        """A promise did not hold in this case."""
        self.broken.append(f"{case}: {why}")

    @contextmanager
    def case(self, name: object) -> Iterator[None]:
        """One case: what raises in it, an assert above all, is a broken promise; the next case goes on."""
        self.tried += 1
        try:
            yield
        except Exception as error:
            place = traceback.extract_tb(error.__traceback__)[-1]
            if len(self.broken) < MOST_KEPT:
                trace = "".join(traceback.format_exception(error))
                self.break_(name, f"{error!r} at {place.filename}:{place.lineno}\n{trace}")
            else:
                self.break_(name, f"{error!r} at {place.filename}:{place.lineno}")
