"""A fuzzer: tries inputs, keeps those with which something new is executed, and stops at a failure.

Many inputs go into one instance of a shadow, which costs a hundred times as much as a small input.  If with a
batch something was new, or it failed, its inputs are tried again, each in an instance of its own.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from penglai.debug.coverage import Coverage
from penglai.testing.batches import End, Target
from penglai.testing.mutating import Mutator


@dataclass(frozen=True)
class Failure:
    """Inputs with which the program fails: one, unless that alone does no harm.  end: how."""

    inputs: tuple[bytes, ...]
    end: End


class Fuzzer:
    """Led by what is executed.

    corpus: inputs to begin with.  batch: inputs of an instance.  The same arguments find the same.
    """

    def __init__(
        self, target: Target, coverage: Coverage, corpus: Sequence[bytes], mutator: Mutator, batch: int
    ) -> None:
        self.corpus: list[bytes] = []
        """Inputs that were kept."""
        self.executions = 0
        self._target = target
        self._coverage = coverage
        self._mutator = mutator
        self._batch = batch
        self._first = [b"", *corpus]
        self._known: NDArray[np.int64] = np.zeros(0, np.int64)

    @property
    def ways(self) -> int:
        """How many ways through the program's code have been seen."""
        return int(np.count_nonzero(self._known))

    def run(self, until: Callable[[], bool]) -> Failure | None:
        """Try inputs until this is true, which is asked after each batch; or until one fails."""
        for each in self._first:
            end = self._execute([each])
            if end.failed:
                return Failure((each,), end)
            self.corpus.append(each)
            self._known = self._coverage.ways()
        self._first = []
        while not until():
            if failure := self._try_some():
                return failure
        return None

    def _try_some(self) -> Failure | None:
        mutator, corpus = self._mutator, self.corpus
        inputs = [mutator.change(mutator.choose(corpus), corpus) for _ in range(self._batch)]
        fresh = self._coverage.fresh
        end = self._execute(inputs)
        if end.failed:
            return self._blame(inputs, end)
        if self._coverage.fresh != fresh:
            self._keep(inputs)
        return None

    def _execute(self, inputs: Sequence[bytes]) -> End:
        self._target.output()
        self.executions += len(inputs)
        return self._target.execute(inputs)

    def _blame(self, inputs: Sequence[bytes], end: End) -> Failure:
        """The last input that was begun, if it fails alone too."""
        last = max(end.begun - 1, 0)
        alone = self._execute(inputs[last : last + 1])
        if alone.failed:
            return Failure((inputs[last],), alone)
        return Failure(tuple(inputs[: last + 1]), self._execute(inputs[: last + 1]))

    def _keep(self, inputs: Sequence[bytes]) -> None:
        """Those of a batch with which something is executed that never was before it."""
        before = self._coverage.ways()
        known = np.zeros_like(before)
        known[: len(self._known)] = self._known
        new = (before > 0) & (known == 0)
        for each in inputs:
            if not new.any():
                break
            self._execute([each])
            after = self._coverage.ways()
            seen = new & (after > before)
            if seen.any():
                self.corpus.append(each)
                new &= ~seen
            before = after
        self._known = before
