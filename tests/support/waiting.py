"""Waiting for something that will be true, without a time of its own.

A time here ends a hang, and measures nothing: it is many times what the slowest thing takes on a machine that
is busy.  All limits of tests are these two; PENGLAI_PATIENCE sets the first one, for who looks for a hang.
"""

import os
import time
from collections.abc import Callable

HOUR = 3600.0
SOAK = bool(os.environ.get("PENGLAI_SOAK"))
"""Whether tests run in their long forms."""

PATIENCE = float(os.environ.get("PENGLAI_PATIENCE", 4 * HOUR if SOAK else HOUR))
"""Seconds after which a test gives up on something that should have happened long ago."""

LIMIT = 2 * PATIENCE
"""Seconds after which a whole test is given up."""


def until(condition: Callable[[], bool]) -> None:
    """Return when condition() is true; let other threads run meanwhile."""
    give_up = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < give_up, "it never happened"
        time.sleep(0)  # lets go of Python's lock
