"""Who answers the questions of a Linux program: each goes to what the host gives it for that."""

from collections.abc import Callable

from penglai.abi.question import Question
from penglai.driver.task import Buffer, Desk
from penglai.host.mounts import Mounts
from penglai.host.network import Network
from penglai.host.stdin import Stdin

NOBODY = 0


class Served:
    """What serves one run: its input, directories and network; a driver's Desk.

    Raises BadArgumentError if the network serves another run.
    """

    def __init__(self, stdin: Desk | None, mounts: Mounts | None, network: Network | None) -> None:
        self._stdin = stdin
        self._mounts = mounts
        self._network = network
        if network is not None:
            network.take()
            waits = Stdin() if stdin is None else stdin
            if isinstance(waits, Stdin):
                waits.watch(network.fileno())
            self._stdin = waits

    def answer(
        self, question: int, argument: int, buffer: Buffer, later: Callable[[int], None]
    ) -> int | None:
        """Hand the question to whom it concerns."""
        if Question.STAT <= question <= Question.RENAME:
            return self._mounts.answer(question, argument, buffer) if self._mounts else NOBODY
        if Question.LISTEN <= question <= Question.SHUT:
            return self._network.answer(question, argument, buffer) if self._network else NOBODY
        return self._stdin.answer(question, argument, buffer, later) if self._stdin else NOBODY

    def ended(self) -> None:
        """The enclave is no more."""
        if self._network is not None:
            self._network.ended()
        if self._stdin is not None:
            self._stdin.ended()


def desk_of(stdin: Stdin | None, mounts: Mounts | None, network: Network | None) -> Desk | None:
    """Who answers the questions of an enclave that has these.

    Raises BadArgumentError if the network serves another run.
    """
    return stdin if mounts is None and network is None else Served(stdin, mounts, network)
