"""Numbers on the command line: ASCII digits, and nothing around them or between them.

Python's own int() and float() take other scripts' digits, underscores and blanks.
"""

import math
import re
from collections.abc import Callable

import typer

SECONDS = re.compile(r"(?:[0-9]+(?:\.[0-9]*)?|\.[0-9]+)(?:[eE][+-]?[0-9]+)?|inf|infinity")


def count(least: int) -> Callable[[str | int], int]:
    """A parser of whole numbers from `least` on."""

    def parse(text: str | int) -> int:
        if isinstance(text, int):
            return text  # a default
        if not re.fullmatch("-?[0-9]{1,18}", text):
            raise typer.BadParameter(f"{text!r} is no whole number; write it like 2")
        if int(text) < least:
            raise typer.BadParameter(f"{text} is less than {least}")
        return int(text)

    return parse


def whole(text: str) -> int:
    """A whole number: decimal, or hexadecimal with 0x."""
    if not re.fullmatch("-?(?:0[xX][0-9a-fA-F]+|0|[1-9][0-9]{0,99})", text):
        raise typer.BadParameter(f"{text!r} is no number; write it like 42 or 0x2a")
    return int(text, 0)


def hex_bytes(text: str) -> bytes:
    """Bytes in hexadecimal."""
    if not re.fullmatch("(?:[0-9a-fA-F]{2})*", text):
        raise typer.BadParameter(f"{text!r} is not hexadecimal")
    return bytes.fromhex(text)


def seconds(text: str | float) -> float:
    """A time; `inf` is for ever."""
    if isinstance(text, int | float):
        return text  # a default
    if not SECONDS.fullmatch(text):
        raise typer.BadParameter(f"{text!r} is no time; write seconds, like 2.5, or inf")
    return float(text)


def watched_seconds(text: str | float) -> float:
    """A time that has an end, and is long enough to see something in it."""
    found = seconds(text)
    if not 0.01 <= found < math.inf:
        raise typer.BadParameter(f"{text} seconds: at least 0.01, and not for ever")
    return found
