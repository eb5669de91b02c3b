"""What a program in an enclave has of the command's own terminal: input, Ctrl-C, the window's size."""

import contextlib
import os
import signal
import threading
from collections.abc import Iterator
from types import FrameType

from penglai.cli.streams import STDERR, STDIN, STDOUT
from penglai.host.stdin import Stdin
from penglai.machine.board import start_thread

PASSED_ON = (signal.SIGINT, signal.SIGWINCH)


@contextlib.contextmanager
def own_stdin() -> Iterator[Stdin]:
    """Standard input for one run.  Inside, Ctrl-C goes to a program that listens, or ends the command.

    Signals are passed on by a thread that reads their numbers from a pipe.  A handler of Python's would run
    in the main thread, which waits for the end of the run, and which a signal that comes just before it
    waits does not wake.
    """
    stdin = Stdin(STDIN, terminal=(STDIN, STDOUT, STDERR))

    def interrupt(number: int, frame: FrameType | None) -> None:
        if not stdin.listens:
            signal.default_int_handler(number, frame)

    reader, writer = os.pipe()
    os.set_blocking(writer, False)
    thread = threading.Thread(target=_pass_on, args=(reader, stdin), name="penglai-signals", daemon=True)
    start_thread(thread)
    before = {
        signal.SIGINT: signal.signal(signal.SIGINT, interrupt),
        signal.SIGWINCH: signal.signal(signal.SIGWINCH, lambda _number, _frame: None),
    }
    waked = signal.set_wakeup_fd(writer, warn_on_full_buffer=False)
    try:
        yield stdin
    finally:
        signal.set_wakeup_fd(waked)
        for number, handler in before.items():
            signal.signal(number, handler)
        os.close(writer)
        thread.join()


def _pass_on(reader: int, stdin: Stdin) -> None:
    """Send a program that listens each signal whose number comes, until the pipe is closed."""
    with os.fdopen(reader, "rb", buffering=0) as numbers:
        while came := numbers.read(64):
            for number in came:
                if number in PASSED_ON and stdin.listens:
                    stdin.signal(number)
