"""How the monitor says no."""

from penglai.abi.errors import ErrorCode


class Refusal(Exception):  # noqa: N818 - a refusal is an answer, not an error of the monitor
    """A request is turned down, and nothing has changed.

    code: what the caller gets.  reason: for the log, in the field's terms.  value: what a1 carries (the
    number of missing pages when memory ran out, else 0).
    """

    def __init__(self, code: ErrorCode, reason: str, value: int = 0) -> None:
        super().__init__(reason)
        self.code = code
        self.reason = reason
        self.value = value


def bad_argument(reason: str) -> Refusal:
    """A request that is malformed."""
    return Refusal(ErrorCode.BAD_ARGUMENT, reason)


def breach(reason: str) -> Refusal:
    """A request that would break isolation."""
    return Refusal(ErrorCode.SECURITY, reason)
