"""What a program in an enclave has of the command's own terminal: input, Ctrl-C, the window's size."""

import contextlib
import signal
from collections.abc import Iterator
from types import FrameType

from penglai.cli.streams import STDERR, STDIN, STDOUT
from penglai.host.stdin import Stdin


@contextlib.contextmanager
def own_stdin() -> Iterator[Stdin]:
    """Standard input for one run.  Inside, Ctrl-C goes to a program that listens, or ends the command."""
    stdin = Stdin(STDIN, terminal=(STDIN, STDOUT, STDERR))

    def interrupt(number: int, frame: FrameType | None) -> None:
        if not stdin.listens:
            signal.default_int_handler(number, frame)
        stdin.signal(number)

    def resize(number: int, _frame: FrameType | None) -> None:
        if stdin.listens:
            stdin.signal(number)

    before = {
        signal.SIGINT: signal.signal(signal.SIGINT, interrupt),
        signal.SIGWINCH: signal.signal(signal.SIGWINCH, resize),
    }
    try:
        yield stdin
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
