"""Log messages that an enclave can cause at will: a bounded number a second, then a count of the rest."""

import logging
import threading
import time
from collections.abc import Callable

LINES_PER_SECOND = 10
"""Unless the owner of the machine says otherwise."""


class RateLimit(logging.Filter):
    """Lets the first messages of each second through; the last of them says that others are left out.

    To be added to a logger.  lines: how many a second.  clock: seconds.
    """

    def __init__(self, lines: int = LINES_PER_SECOND, clock: Callable[[], float] = time.monotonic) -> None:
        super().__init__()
        self.lines = lines
        self._clock = clock
        self._lock = threading.Lock()
        self._second = 0
        self._count = 0
        self._left_out = 0

    def filter(self, record: logging.LogRecord) -> bool:
        """True if the message is one of those that go through; it then tells how many did not."""
        with self._lock:
            second = int(self._clock())
            if second != self._second:
                self._second, self._count = second, 0
            self._count += 1
            if self._count > self.lines:
                self._left_out += 1
                return False
            left_out, self._left_out = self._left_out, 0
        if left_out:
            record.msg = f"{record.getMessage()} ({left_out} more such messages before were left out)"
            record.args = ()
        return True


ENCLAVES = RateLimit()
"""That of this process, for all that enclaves can cause."""


def limited_logger(name: str) -> logging.Logger:
    """The logger of this name, whose messages enclaves can cause."""
    logger = logging.getLogger(name)
    logger.addFilter(ENCLAVES)
    return logger
