"""Showing what is being built: lines that move on a terminal, a line for each thing that begins elsewhere."""

import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext

from rich.console import Console
from rich.progress import Progress, SpinnerColumn, TaskID, TextColumn, TimeElapsedColumn

from penglai.guest.image.work import Tell

EVERY = 30.0
"""Seconds between two lines about something that goes on, where lines do not move."""

HEAD = "what these tests need is built, once; the first test begins when it is there"


class Shown:
    """The steps on a screen.  Those that find all they need in the cache say nothing, and are not shown."""

    def __init__(self, console: Console, progress: Progress | None, steps: Sequence[str]) -> None:
        self._console, self._progress = console, progress
        self._steps = {what: number for number, what in enumerate(steps, start=1)}
        self._began = time.monotonic()
        self._tasks: dict[str, TaskID] = {}
        self._told: dict[str, tuple[str, float]] = {}
        self._headed = False
        self._mine = threading.Lock()

    @contextmanager
    def making(self, step: str) -> Iterator[Tell]:
        """While a step is made: what to tell is being done for it."""
        how = "failed"
        try:
            yield lambda what, count: self._tell(step, what, count)
            how = "done"
        finally:
            self._end(step, how)

    def _tell(self, step: str, what: str, count: int) -> None:
        text = f"{what}, {counted(count, 'file')}" if count else what
        with self._mine:
            if self._progress is None:
                self._line(step, what, text)
            else:
                task = self._tasks.get(step)
                if task is None:
                    task = self._tasks[step] = self._progress.add_task(self._numbered(step))
                self._progress.update(task, description=f"{self._numbered(step)}: {text}")

    def _end(self, step: str, how: str) -> None:
        with self._mine:
            if step not in self._told and step not in self._tasks:
                return
            if (task := self._tasks.pop(step, None)) is not None and self._progress is not None:
                self._progress.remove_task(task)
            self._print(f"{self._numbered(step)}: {how}")

    def _line(self, step: str, what: str, text: str) -> None:
        before, when = self._told.get(step, ("", 0.0))
        if what != before or time.monotonic() > when + EVERY:
            self._told[step] = what, time.monotonic()
            self._print(f"{self._numbered(step)}: {text}")

    def _print(self, text: str) -> None:
        if not self._headed:
            self._headed = True
            self._console.print(HEAD)
        self._console.print(f"{_clock(time.monotonic() - self._began)} {text}", markup=False, highlight=False)

    def _numbered(self, step: str) -> str:
        return f"{self._steps[step]}/{len(self._steps)} {step}"


@contextmanager
def shown(console: Console, steps: Sequence[str]) -> Iterator[Shown]:
    """The steps on a screen while they are made."""
    columns = (SpinnerColumn(), TimeElapsedColumn(), TextColumn("{task.description}", markup=False))
    moving = Progress(*columns, console=console, transient=True) if console.is_terminal else None
    with moving or nullcontext():
        yield Shown(console, moving, steps)


def counted(number: int, thing: str) -> str:
    """1 file, 2 files."""
    return f"{number} {thing}" if number == 1 else f"{number} {thing}s"


def _clock(seconds: float) -> str:
    return f"{int(seconds) // 60:3}:{int(seconds) % 60:02}"
