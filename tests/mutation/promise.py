"""A promise, and how it is broken by hand."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Mutation:
    """In `file`, `before` becomes `after`.  tests: what must notice."""

    promise: str
    file: str
    before: str
    after: str
    tests: tuple[str, ...]
