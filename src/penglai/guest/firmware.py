"""What serves Linux's calls of the monitor.

It is made when Linux first makes one: an operating system boots without any of it, and in less time than it
takes to import it.
"""

from collections.abc import Callable
from pathlib import Path

from penglai.abi.profile import ProfileName
from penglai.guest.enclaves import Calls, Elsewhere, InTurns
from penglai.machine.board import Board
from penglai.machine.clock import Clock
from penglai.machine.memory import PhysicalMemory
from penglai.machine.store import Store
from penglai.monitor.monitor import Monitor
from penglai.monitor.profiles import make
from penglai.virt.system import System


class Firmware:
    """Board, monitor, and where enclaves run.

    memory, clock, system: the machine's, which runs already.  harts: all of them, Linux's own included.
    state, profile: as for LinuxGuest.  failed: called when a hart of enclaves has failed.
    """

    def __init__(
        self,
        memory: PhysicalMemory,
        clock: Clock,
        system: System,
        harts: int,
        state: Path | None,
        failed: Callable[[Exception], None],
        profile: ProfileName,
    ) -> None:
        floats = profile is not ProfileName.TVM
        self._board = Board(memory, max(1, harts - 1), clock, Store(state), floats=floats)
        self.monitor = Monitor(self._board, make(profile))
        self._calls: Calls = (
            InTurns(self._board, system.supervisor)
            if harts == 1
            else Elsewhere(self._board, system.request, failed)
        )
        self.answer = self._calls.answer

    @property
    def waiting(self) -> bool:
        return self._calls.waiting

    def close(self) -> None:
        """Run nothing any more, and switch the machine off."""
        self._calls.close()
        self._board.power_off()
