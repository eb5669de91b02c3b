"""Waiting for something that will be true, without a time of its own."""

import time
from collections.abc import Callable

PATIENCE = 120.0
"""Seconds after which a test gives up on something that should have happened long ago."""


def until(condition: Callable[[], bool]) -> None:
    """Return when condition() is true; let other threads run meanwhile."""
    give_up = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < give_up, "it never happened"
        time.sleep(0)  # lets go of Python's lock
