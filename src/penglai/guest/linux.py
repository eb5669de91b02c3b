"""A machine whose host is Linux: board, monitor, and a hart in S-mode."""

import logging
import threading
from pathlib import Path
from types import TracebackType
from typing import Self

from penglai.abi import sbi
from penglai.abi.errors import BadArgumentError, MachineError
from penglai.guest.enclaves import Calls, Elsewhere, InTurns
from penglai.machine.board import MAX_HARTS, Board
from penglai.machine.clock import Clock
from penglai.machine.memory import parse_size
from penglai.machine.services import ConsolePort
from penglai.machine.store import Store
from penglai.machine.system import Outcome, Software, System, Vendor
from penglai.monitor.monitor import Monitor

log = logging.getLogger(__name__)

DRIVER = "penglai,monitor"
"""What penglai.ko looks for in the device tree."""


class Guest:
    """A machine that runs an operating system as its host.

    software: what is started.  console: its terminal.  memory: bytes, or text like "256M"; a multiple of
    2 MiB.  harts: 1 for Linux, the others for enclaves; with one, enclaves take turns with Linux.  state: the
    directory of what outlives a restart; None: nothing does.

    A context manager; leaving it switches the machine off.

    Raises BadArgumentError for sizes that make no machine, ImageError, NoMemoryError for software that cannot
    be started, ToolchainError if the engine cannot be built.
    """

    def __init__(
        self,
        software: Software,
        console: ConsolePort,
        memory: int | str = "256M",
        harts: int = 2,
        *,
        clock: Clock | None = None,
        state: Path | None = None,
    ) -> None:
        if not 1 <= harts <= MAX_HARTS:
            raise BadArgumentError(f"a machine of {harts} harts: it must have 1 to {MAX_HARTS}")
        self._board = Board(parse_size(memory), max(1, harts - 1), clock, Store(state))
        self._monitor = Monitor(self._board)
        self._done = threading.Event()
        self._ended: Outcome | Exception | None = None
        self._calls: Calls
        if harts == 1:
            self._calls = InTurns(self._board, lambda: self.system.supervisor)
        else:
            self._calls = Elsewhere(self._board, self._notify, self._fail)
        vendor = Vendor(
            extensions=frozenset([sbi.EXTENSION]),
            answer=self._calls.answer,
            waiting=lambda: self._calls.waiting,
            name="penglai",
            compatible=DRIVER,
        )
        try:
            self.system = System(self._board.memory, self._board.clock, software, console, vendor)
        except BaseException:
            self._switch_off()
            raise
        self._thread = threading.Thread(target=self._main, name="penglai-host", daemon=True)

    def start(self) -> None:
        """Let it begin; returns at once."""
        self._thread.start()

    def wait(self, timeout: float | None = None) -> Outcome:
        """Wait until the guest has ended.  Raises TimeoutError, or MachineError if it could not go on."""
        if not self._done.wait(timeout):
            raise TimeoutError(f"the guest still runs after {timeout} seconds")
        if isinstance(self._ended, Exception):
            raise MachineError(f"the machine cannot go on: {self._ended}") from self._ended
        assert self._ended is not None
        return self._ended

    @property
    def done(self) -> bool:
        """True once the guest has ended."""
        return self._done.is_set()

    def close(self) -> None:
        """Switch the machine off.  More than once does nothing."""
        if self._thread.is_alive():
            self.system.close()
            self._thread.join()
        self._switch_off()

    def _switch_off(self) -> None:
        self._calls.close()
        self._board.power_off()

    def _main(self) -> None:
        try:
            self._finish(self.system.run())
        except Exception as error:
            log.critical("the host's hart fails: %r", error, exc_info=True)
            self._finish(error)

    def _finish(self, outcome: Outcome | Exception) -> None:
        """Only the first outcome counts."""
        if self._ended is None:
            self._ended = outcome
        self._done.set()

    def _fail(self, error: Exception) -> None:
        """A hart of enclaves has failed: the machine stops."""
        self._finish(error)
        self.system.close()

    def _notify(self) -> None:
        self.system.request()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"<Guest {'off' if self.done else 'on'} {self._board.memory.size >> 20} MiB>"
