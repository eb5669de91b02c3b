"""How the monitor says no."""

from penglai.abi.errors import ErrorCode
from penglai.abi.snapshot import Why


class Refusal(Exception):  # noqa: N818 - a refusal is an answer, not an error of the monitor
    """A request is turned down, and nothing has changed.

    code: what the caller gets.  reason: for the log, in the field's terms.  value: what a1 carries (the
    number of missing pages when memory ran out, a Why where a snapshot is refused, else 0).
    """

    def __init__(self, code: ErrorCode, reason: str, value: int = 0) -> None:
        super().__init__(reason)
        self.code = code
        self.reason = reason
        self.value = value


def bad_argument(reason: str, value: int = 0) -> Refusal:
    """A request that is malformed.  value: see Refusal."""
    return Refusal(ErrorCode.BAD_ARGUMENT, reason, value)


def no_snapshot(why: Why, reason: str) -> Refusal:
    """A snapshot that is not made, or not accepted."""
    return Refusal(ErrorCode.GENERIC if why < Why.FORMAT else ErrorCode.SECURITY, reason, why)


def breach(reason: str) -> Refusal:
    """A request that would break isolation."""
    return Refusal(ErrorCode.SECURITY, reason)
