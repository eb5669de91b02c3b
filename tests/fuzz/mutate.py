"""Random changes of data: for where there is no coverage to be led by."""

import random
from collections.abc import Sequence

from tests.fuzz.choices import CROOKED

MOST_BYTES = 4096
MOST_CHANGES = 6
FRESH = 0.2
MOST_FRESH_BYTES = 1024


def mutate(corpus: Sequence[bytes], chance: random.Random) -> bytes:
    """A piece of the corpus, changed in a few places; or, now and then, something new."""
    if not corpus or chance.random() < FRESH:
        return chance.randbytes(chance.randrange(MOST_FRESH_BYTES))
    data = bytearray(chance.choice(corpus))
    for _ in range(chance.randint(1, MOST_CHANGES)):
        chance.choice(CHANGES)(data, corpus, chance)
    return bytes(data[:MOST_BYTES])


def _flip(data: bytearray, _corpus: Sequence[bytes], chance: random.Random) -> None:
    if data:
        data[chance.randrange(len(data))] ^= 1 << chance.randrange(8)


def _set(data: bytearray, _corpus: Sequence[bytes], chance: random.Random) -> None:
    if data:
        data[chance.randrange(len(data))] = chance.getrandbits(8)


def _number(data: bytearray, _corpus: Sequence[bytes], chance: random.Random) -> None:
    size = chance.choice((1, 2, 4, 8))
    if len(data) >= size:
        at = chance.randrange(len(data) - size + 1)
        data[at : at + size] = (chance.choice(CROOKED) % (1 << 8 * size)).to_bytes(size, "little")


def _insert(data: bytearray, _corpus: Sequence[bytes], chance: random.Random) -> None:
    at = chance.randrange(len(data) + 1)
    data[at:at] = chance.randbytes(chance.randint(1, 16))


def _remove(data: bytearray, _corpus: Sequence[bytes], chance: random.Random) -> None:
    if data:
        at = chance.randrange(len(data))
        del data[at : at + chance.randint(1, 32)]


def _repeat(data: bytearray, _corpus: Sequence[bytes], chance: random.Random) -> None:
    if data:
        at = chance.randrange(len(data))
        piece = data[at : at + chance.randint(1, 64)]
        to = chance.randrange(len(data) + 1)
        data[to:to] = piece


def _splice(data: bytearray, corpus: Sequence[bytes], chance: random.Random) -> None:
    other = chance.choice(corpus)
    if other:
        at, start = chance.randrange(len(data) + 1), chance.randrange(len(other))
        data[at:] = other[start:]


CHANGES = (_flip, _flip, _set, _number, _insert, _remove, _repeat, _splice)
