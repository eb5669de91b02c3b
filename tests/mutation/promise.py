"""A promise, and how it is broken by hand."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Mutation:
    """In `file`, `before` becomes `after`.

    tests: what must notice.  engine: on which one, if not on the default.
    """

    promise: str
    file: str
    before: str
    after: str
    tests: tuple[str, ...]
    engine: str = ""
