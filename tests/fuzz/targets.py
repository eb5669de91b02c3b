"""The targets, and their corpora."""

import importlib
import random
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

from tests.fuzz.mutate import mutate

CORPUS = Path(__file__).parent / "corpus"

RATES = {
    "elf": 20,
    "create": 6,
    "sbi": 3,
    "ecalls": 3,
    "report": 10,
    "snapshot": 4,
    "ramfs": 20,
    "share": 4,
    "virtio": 6,
    "boot": 20,
    "firmware": 20,
    "gdb": 6,
}
"""Every target, with its part of the cases: how many are tried at the same effort."""

TARGETS = tuple(RATES)


def load(name: str) -> ModuleType:
    """The target's module."""
    return importlib.import_module(f"tests.fuzz.{name}")


def corpus(name: str) -> list[bytes]:
    """The target's corpus, in the order of the names."""
    return [path.read_bytes() for path in sorted((CORPUS / name).glob("*"))]


def cases(name: str, count: int, chance: random.Random) -> Iterator[bytes]:
    """The corpus, then mutations of it."""
    known = corpus(name)
    yield from known
    for _ in range(count):
        yield mutate(known, chance)
