"""Sessions of the system's, which are what nodes of fleets are."""

import contextlib
import os
from collections.abc import Set as AbstractSet

import psutil


def living(sessions: AbstractSet[int]) -> list[int]:
    """Processes of these sessions, without those that have ended and that nobody has asked about yet."""
    found = []
    for process in psutil.process_iter():
        with contextlib.suppress(ProcessLookupError, psutil.NoSuchProcess):
            if os.getsid(process.pid) in sessions and process.status() != psutil.STATUS_ZOMBIE:
                found.append(process.pid)
    return found
