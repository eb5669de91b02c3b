"""The classes of attack, in the order in which they run.  Add yours here."""

from typing import Protocol

from tests.attack import (
    automaton,
    crossings,
    enclave_calls,
    enclave_code,
    faults,
    fuzz,
    host_calls,
    host_images,
    host_memory,
    host_storm,
    interleavings,
    killing,
    late_harts,
    model,
    originals,
    pieces,
    snapshots,
)
from tests.attack.tally import Effort, Tally


class AttackClass(Protocol):
    """A module: what it tries, and the trying."""

    __name__: str
    TITLE: str

    def attack(self, effort: Effort) -> Tally:
        """Try; report what was tried and what broke."""
        ...


CLASSES: list[AttackClass] = [
    originals,
    host_memory,
    host_calls,
    host_images,
    host_storm,
    enclave_code,
    enclave_calls,
    pieces,
    model,
    automaton,
    interleavings,
    late_harts,
    crossings,
    faults,
    killing,
    snapshots,
    fuzz,
]


def name_of(module: AttackClass) -> str:
    """The name for --only, and in the table."""
    return module.__name__.rpartition(".")[2]
