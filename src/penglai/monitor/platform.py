"""What the monitor stands on: memory and its owners, the harts, the clock, the keys, the directory."""

from dataclasses import dataclass, field

import numpy as np

from penglai.abi.riscv import PAGE_SIZE
from penglai.machine.clock import Clock
from penglai.machine.hart import Hart
from penglai.machine.memory import PhysicalMemory
from penglai.machine.pages import Pages
from penglai.monitor.keys import Keys
from penglai.monitor.ownership import Ownership
from penglai.monitor.registry import Registry


@dataclass(frozen=True)
class Platform:
    """The monitor's view of the machine."""

    memory: PhysicalMemory
    ownership: Ownership
    harts: tuple[Hart, ...]
    clock: Clock
    keys: Keys
    registry: Registry = field(default_factory=Registry)

    def forget_mappings(self) -> None:
        """Mappings went away: no hart may use them again, in any later run."""
        for hart in self.harts:
            hart.flush_tlb()

    def forget_code(self, pages: Pages) -> None:
        """Executable pages change hands: no hart may run what it translated from them."""
        for first, last in _stretches(np.sort(pages)):
            start = self.memory.address_of(first)
            end = self.memory.address_of(last) + PAGE_SIZE
            for hart in self.harts:
                hart.invalidate(start, end)


def _stretches(pages: Pages) -> list[tuple[int, int]]:
    """(first, last) of each stretch of consecutive numbers in ascending pages."""
    if not len(pages):
        return []
    cuts = np.flatnonzero(np.diff(pages) != 1)
    firsts = pages[np.r_[0, cuts + 1]]
    lasts = pages[np.r_[cuts, len(pages) - 1]]
    return list(zip(firsts.tolist(), lasts.tolist(), strict=True))
