"""What the monitor stands on: memory and its owners, the harts, the clock, the keys, the directory."""

from dataclasses import dataclass, field

from penglai.machine.clock import Clock
from penglai.machine.hart import Hart
from penglai.machine.memory import PhysicalMemory
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

    def forget_code(self, code: list[slice]) -> None:
        """Runs of executable pages change hands: no hart may run what it translated from them."""
        for run in code:
            start, end = self.memory.address_of(run.start), self.memory.address_of(run.stop)
            for hart in self.harts:
                hart.invalidate(start, end)
