"""What a fleet tells of its machines and enclaves, and what it is asked for: plain data."""

from dataclasses import dataclass, field
from enum import StrEnum

from penglai.abi.layout import DEFAULT_STACK_SIZE


class Status(StrEnum):
    """How it is with an enclave of a fleet."""

    FRESH = "FRESH"
    RUNNING = "RUNNING"
    STOPPED = "STOPPED"
    EXITED = "EXITED"
    FAULTED = "FAULTED"
    DESTROYED = "DESTROYED"
    SEALED = "SEALED"
    """It is in a snapshot, and no machine is there that could have it."""
    LOST = "LOST"
    """Its machine has died, and there is no snapshot."""

    @property
    def over(self) -> bool:
        """Whether it has ended."""
        return self not in (Status.FRESH, Status.RUNNING, Status.STOPPED, Status.SEALED)


@dataclass(frozen=True)
class Size:
    """What a node offers, and its machine holds for its life.  memory: bytes, a multiple of 2 MiB."""

    memory: int
    harts: int

    @property
    def pages(self) -> int:
        """Of memory, 4 KiB each."""
        return self.memory >> 12


@dataclass(frozen=True)
class Order:
    """An enclave to be placed.

    image: an ELF.  servers: names and images of servers that it calls, which are placed with it.
    devices: public keys, 64 bytes each, of devices on which it may run; empty: on any.
    """

    image: bytes
    name: str = ""
    stack_size: int = DEFAULT_STACK_SIZE
    servers: tuple[tuple[str, bytes], ...] = ()
    devices: frozenset[bytes] = field(default_factory=frozenset)


@dataclass(frozen=True)
class MachineRow:
    """A machine.  pages: of its memory; used: by enclaves.  device_key: 64 bytes.  pid: of its process."""

    name: str
    pid: int
    device_key: bytes
    pages: int
    used: int
    harts: int
    enclaves: int

    @property
    def free(self) -> int:
        """Pages that no enclave has."""
        return self.pages - self.used


@dataclass(frozen=True)
class EnclaveRow:
    """An enclave.  number: by which the fleet names it.  run_time: ns on harts.  value: unsigned, if EXITED.

    reason: why it ended, where the status does not say it all.  moves: how often it came to another machine.
    snapshots: how many were saved.
    """

    number: int
    name: str
    machine: str
    status: Status
    pages: int = 0
    run_time: int = 0
    value: int | None = None
    reason: str = ""
    moves: int = 0
    snapshots: int = 0


@dataclass(frozen=True)
class Made:
    """An enclave that was made and does not run yet.  report: signed, with the nonce of the order."""

    number: int
    machine: str
    report: bytes


@dataclass(frozen=True)
class End:
    """How an enclave's run ended.  written: what it has written on this machine, the last of it."""

    status: Status
    value: int | None = None
    reason: str = ""
    run_time: int = 0
    written: bytes = b""
