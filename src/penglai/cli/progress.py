"""Telling what goes on while something long is made."""

import time
from collections.abc import Iterator
from contextlib import contextmanager

from penglai.cli.options import err
from penglai.guest.image.work import Tell


@contextmanager
def progress() -> Iterator[Tell]:
    """Tells on standard error what is being done: in one line that moves, if it is a terminal."""
    started = time.monotonic()
    last = ""

    def line(what: str, steps: int) -> str:
        count = f", {steps} files" if steps else ""
        return f"{what} ({time.monotonic() - started:.0f} s{count})"

    if not err.is_terminal:

        def tell(what: str, _steps: int) -> None:
            nonlocal last
            if what != last:
                last = what
                err.print(what, style="dim")

        yield tell
        return
    with err.status("looking into the cache") as status:
        yield lambda what, steps: status.update(line(what, steps))
