"""What the monitor stands on: memory and its owners, harts, clock, keys, directory; and how it answers."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from penglai.abi.hang import Hang
from penglai.abi.sbi import RunValue
from penglai.machine.clock import Clock
from penglai.machine.hart import Hart
from penglai.machine.memory import PhysicalMemory
from penglai.monitor.enclave import Enclave
from penglai.monitor.freshness import Freshness
from penglai.monitor.keys import Keys
from penglai.monitor.ownership import Ownership
from penglai.monitor.registry import Registry

Handler = Callable[["Platform", Enclave], RunValue | None]
"""See monitor/calls.py."""


class Fatal(Exception):  # noqa: N818 - the end of an enclave, not an error of the monitor
    """The original would not survive what the enclave has done, and so the enclave does not."""

    def __init__(self, cause: Hang) -> None:
        super().__init__(cause.name)
        self.cause = cause


@dataclass(frozen=True)
class Profile:
    """What a machine answers: as this package means it, or as the original does.

    calls, ocalls: handlers by number; unknown: of all other calls.
    server_faults_end_caller: and the server stays.  write_result: of the ocall that writes.  dirty: fills
    what the original does not clear, or None: it is cleared.  snapshots: whether there are any.
    """

    name: str
    calls: Mapping[int, Handler]
    ocalls: Mapping[int, Handler]
    unknown: Handler
    server_faults_end_caller: bool = False
    write_result: int = 0
    dirty: int | None = None
    snapshots: bool = True


@dataclass(frozen=True)
class Platform:
    """The monitor's view of the machine."""

    memory: PhysicalMemory
    ownership: Ownership
    harts: tuple[Hart, ...]
    clock: Clock
    keys: Keys
    freshness: Freshness
    profile: Profile
    registry: Registry = field(default_factory=Registry)

    def forget_mappings(self, enclave: Enclave, *, ended: bool = False) -> None:
        """Mappings of this enclave went away, or all with its end: no hart may use them again."""
        for hart in self.harts:
            hart.flush_tlb(enclave.table.satp, ended=ended)

    def forget_code(self, code: list[slice]) -> None:
        """Runs of executable pages change hands: no hart may run what it translated from them."""
        for run in code:
            start, end = self.memory.address_of(run.start), self.memory.address_of(run.stop)
            for hart in self.harts:
                hart.invalidate(start, end)
