"""penglai fleet demo: what a fleet does when a node dies and another is drained, as a table that moves."""

import contextlib
import threading
from collections.abc import Iterator
from typing import TYPE_CHECKING

from rich.console import Console, Group
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table

from penglai.cli.options import out
from penglai.fleet.fleet import Fleet
from penglai.fleet.rows import EnclaveRow, Status

if TYPE_CHECKING:
    from rich.console import RenderableType

IMAGE = "count"
COUNTED = 400_000_000
"""What each returns: sdk/demos/count.c."""
MEMORY = "64M"
KILLED, DRAINED = "node-2", "node-3"
SAVE_EVERY = 2.0
FRAME = 0.25
"""Seconds between two looks at the fleet, while somebody looks at the table."""


class Demo:
    """Plays it with so many nodes and enclaves."""

    def __init__(self, nodes: int, enclaves: int) -> None:
        self._nodes = nodes
        self._wanted = enclaves
        self._events: list[str] = []
        self._rows: list[EnclaveRow] = []
        self._console = Console(highlight=False)

    def play(self) -> bool:
        """From up to down; True if every count ended right."""
        self._tell(f"{self._nodes} nodes come up, each with a machine of {MEMORY}")
        with Fleet(self._nodes, MEMORY, 2, save_every=SAVE_EVERY) as fleet, self._shown(fleet):
            placed = [fleet.place(IMAGE) for _ in range(self._wanted)]
            self._tell(f"{self._wanted} enclaves count to {COUNTED}")
            fleet.save()
            if self._nodes > 1:
                self._tell(f"{KILLED} is killed with -9: its enclaves go on from their last snapshots")
                fleet.crash(KILLED)
            if self._nodes > 2:
                self._drain(fleet)
            self._rows = [each.wait() for each in placed]
        right = sum(row.status is Status.EXITED and row.value == COUNTED for row in self._rows)
        moved = sum(row.moves > 0 for row in self._rows)
        out.print(f"{right} of {self._wanted} counts ended right; {moved} enclaves had changed machines")
        return right == self._wanted

    def _drain(self, fleet: Fleet) -> None:
        self._tell(f"{DRAINED} is drained: its enclaves move, and it is switched off")
        left = fleet.drain(DRAINED)
        self._tell(f"{DRAINED} is empty" if not left else f"{len(left)} stayed on {DRAINED}")

    def _tell(self, event: str) -> None:
        self._events.append(event)
        if not self._console.is_terminal:
            out.print(event)

    @contextlib.contextmanager
    def _shown(self, fleet: Fleet) -> Iterator[None]:
        """A table of the fleet, if somebody looks at it."""
        if not self._console.is_terminal:
            yield
            return
        over = threading.Event()
        with Live(self._frame(fleet), console=self._console, auto_refresh=False) as live:
            painter = threading.Thread(target=self._paint, args=(fleet, live, over), name="penglai-table")
            painter.start()
            try:
                yield
            finally:
                over.set()
                painter.join()
                live.update(self._frame(fleet), refresh=True)

    def _paint(self, fleet: Fleet, live: Live, over: threading.Event) -> None:
        while not over.wait(FRAME):
            live.update(self._frame(fleet), refresh=True)

    def _frame(self, fleet: Fleet) -> "RenderableType":
        rows = fleet.enclaves()
        table = Table("machine", box=None, pad_edge=False)
        for column in ("count here", "came from elsewhere", "free pages"):
            table.add_column(column, justify="right")
        for machine in fleet.machines():
            here = [row for row in rows if row.machine == machine.name and not row.status.over]
            came = sum(row.moves > 0 for row in here)
            table.add_row(machine.name, str(len(here)), str(came), str(machine.free))
        ended = sum(row.status.over for row in rows)
        bar = ProgressBar(total=max(1, self._wanted), completed=ended, width=40)
        return Group(*self._events, "", table, "", bar, f"{ended} of {self._wanted} have ended")
