"""Times in seconds that callers give: checked before anything begins."""

import threading
from numbers import Real

from penglai.abi.errors import BadArgumentError

FOR_EVER = None
"""What waits without end."""


def checked_timeout(seconds: float | None) -> float | None:
    """Seconds to wait; None for ever, as are infinity and what is longer than the system can wait.

    Raises BadArgumentError for what is no number, not a number, or negative.
    """
    if seconds is None:
        return FOR_EVER
    if isinstance(seconds, bool) or not isinstance(seconds, Real):
        raise BadArgumentError(f"a time of {seconds!r}: write seconds, as a number")
    if not seconds >= 0:  # nor is NaN
        raise BadArgumentError(f"a time of {seconds!r} seconds: it cannot be less than 0")
    return FOR_EVER if seconds > threading.TIMEOUT_MAX else float(seconds)
