"""New inputs from those that are known: what a fuzzer tries."""

import random
from collections.abc import Sequence

INTERESTING = (0, 1, 2, 4, 8, 16, 32, 64, 100, 127, 128, 255, 256, 1000, 1024, 4096, 32767, 32768, 65535)
WIDTHS = (1, 2, 4, 8)
MOST_CHANGES = 4
LONGEST_RUN = 16


class Mutator:
    """Changes inputs by chance.  seed: of the numbers; the same makes the same inputs.  longest: bytes."""

    def __init__(self, seed: int, longest: int) -> None:
        self._random = random.Random(seed)  # noqa: S311 - nothing secret
        self._longest = longest
        self._ways = (
            self._flip,
            self._set,
            self._set_number,
            self._insert,
            self._remove,
            self._repeat,
        )

    def choose(self, corpus: Sequence[bytes]) -> bytes:
        """One of the known inputs; the latest are chosen more often, since they lead to what is new."""
        weighted = int(len(corpus) * max(self._random.random(), self._random.random()))
        return corpus[weighted]

    def change(self, data: bytes, corpus: Sequence[bytes]) -> bytes:
        """An input that differs from this one in a few places, or that has the end of another."""
        changed = bytearray(data)
        if self._random.random() < 0.1:
            other = self.choose(corpus)
            changed[self._place(changed) :] = other[self._place(other) :]
        for _ in range(self._random.randint(1, MOST_CHANGES)):
            self._random.choice(self._ways)(changed)
        return bytes(changed[: self._longest])

    def _place(self, data: bytes | bytearray) -> int:
        return self._random.randint(0, len(data))

    def _flip(self, data: bytearray) -> None:
        if data:
            data[self._random.randrange(len(data))] ^= 1 << self._random.randrange(8)

    def _set(self, data: bytearray) -> None:
        if data:
            data[self._random.randrange(len(data))] = self._random.randrange(256)

    def _set_number(self, data: bytearray) -> None:
        width = self._random.choice(WIDTHS)
        number = self._random.choice(INTERESTING) * self._random.choice((1, -1))
        order = self._random.choice(("little", "big"))
        at = self._place(data)
        data[at : at + width] = (number & (1 << 8 * width) - 1).to_bytes(
            width, "big" if order == "big" else "little"
        )

    def _insert(self, data: bytearray) -> None:
        at = self._place(data)
        data[at:at] = self._random.randbytes(self._random.randint(1, LONGEST_RUN))

    def _remove(self, data: bytearray) -> None:
        at = self._place(data)
        del data[at : at + self._random.randint(1, LONGEST_RUN)]

    def _repeat(self, data: bytearray) -> None:
        at = self._place(data)
        piece = data[at : at + self._random.randint(1, LONGEST_RUN)]
        data[at:at] = piece
