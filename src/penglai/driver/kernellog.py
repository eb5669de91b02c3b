"""Text of enclaves as the original's driver shows it: in the kernel's log, which takes it for a format."""

import re

MAX_TEXT = 511
FORMAT = re.compile(rb"%(%|[-+ #0-9.]*[hlzj]*[A-Za-z])?")
LEVEL = re.compile(rb"\x01[0-7]")


def logged(text: bytes) -> bytes:
    """What a person sees of it: whole lines, and something stray for what the format asks for."""
    text = text[:MAX_TEXT]
    if LEVEL.match(text):
        return b"" if text[1:2] == b"7" else logged(text[2:])
    text = FORMAT.sub(lambda found: b"%" if found[0] == b"%%" else b"(stray)", text)
    return text if text.endswith(b"\n") else text + b"\n"
