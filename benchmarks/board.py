"""The memory in which life.c and beat.c tell when they run."""

import mmap
import struct
import time

from benchmarks.measure import PATIENCE

WORDS = struct.Struct("=5Q")
FIRST, ASKED, ANSWERED, TIME, BEATS = range(5)


class Board:
    """The host's view.  It waits asleep, so that it takes nothing from what it measures."""

    def __init__(self, memory: mmap.mmap) -> None:
        self._words = memoryview(memory).cast("B")[: WORDS.size].cast("Q")
        self._asked = 0

    def clear(self) -> None:
        """Before a new program."""
        self._words[:] = memoryview(bytes(WORDS.size)).cast("Q")
        self._asked = 0

    def first(self) -> int:
        """The time at which it began."""
        return self._wait(FIRST, 0)

    def ask(self) -> None:
        """Whatever runs, from now on, tells when it sees this."""
        self._asked += 1
        self._words[ASKED] = self._asked

    def answer(self) -> int:
        """The time at which it saw the question."""
        self._wait(ANSWERED, self._asked - 1)
        return self._words[TIME]

    def beats(self) -> int:
        """How often it has gone round."""
        return self._words[BEATS]

    def release(self) -> None:
        """Let the memory go."""
        self._words.release()

    def _wait(self, index: int, old: int) -> int:
        limit = time.monotonic() + PATIENCE
        while self._words[index] == old:
            if time.monotonic() > limit:
                raise TimeoutError("the program does not run")
            time.sleep(0.0003)
        return self._words[index]
