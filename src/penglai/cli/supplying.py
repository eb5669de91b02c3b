"""What the host of penglai run gives an enclave: shared memory, relay pages, a disk."""

from dataclasses import dataclass
from pathlib import Path

from penglai.abi.errors import BadArgumentError
from penglai.driver.shared import RelayPages, SharedMemory
from penglai.embedded import Machine
from penglai.machine.memory import parse_size
from penglai.toolchain.whole import read_whole

DISK_MEMORY = 128 << 10
"""Bytes of shared memory through which sectors pass if nobody asks for another size, as Penglai-TVM's hosts
have it."""


@dataclass(frozen=True)
class Supplies:
    """client, servers: the shared memory that each gets to see, or None.  relay: what is on the relay pages,
    by round."""

    machine: Machine
    client: SharedMemory | None
    servers: SharedMemory | None
    relay: tuple[bytes, ...]

    def pages(self, number: int) -> RelayPages | None:
        """Relay pages for the start of an enclave (0), or for the nth time that it has returned its own."""
        if number >= len(self.relay):
            return None
        content = self.relay[number]
        pages = self.machine.relay_pages(len(content))
        pages.write(content)
        return pages


def supply(machine: Machine, shm: str | None, relay: list[Path], disk: Path | None) -> Supplies:
    """Get what the options name.  Raises BadArgumentError for sizes and files that are none,
    NoMemoryError."""
    shared = machine.shared_memory(parse_size(shm)) if shm is not None else None
    servers = shared
    if disk is not None:
        servers = shared or machine.shared_memory(DISK_MEMORY)
        machine.use_disk(servers, file=disk)
    return Supplies(machine, shared, servers, tuple(map(_content, relay)))


def _content(path: Path) -> bytes:
    try:
        content = read_whole(path)
    except OSError as error:
        raise BadArgumentError(f"cannot read {path}: {error.strerror}") from error
    if not content:
        raise BadArgumentError(f"{path} is empty: relay pages have at least one byte")
    return content
