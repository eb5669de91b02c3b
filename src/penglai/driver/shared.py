"""Memory of the host that enclaves get to see: shared memory, and relay pages, which change hands."""

import itertools
import threading
from typing import TypeVar

from penglai.abi.errors import BadArgumentError
from penglai.abi.riscv import PAGE_SIZE
from penglai.driver.pages import PageAllocator
from penglai.machine.memory import HostMemory, Mapping

T = TypeVar("T")


class SharedMemory(Mapping):
    """Memory that the host and any number of enclaves use at once.

    A buffer: index it, or give it to memoryview or numpy.frombuffer.  Enclaves find it at 0x39_0000_0000.
    id: by which a program names it.  Closing it ends the host's use; its pages are free when no enclave has
    it any more.
    """

    id: int = 0

    def __repr__(self) -> str:
        return f"<SharedMemory {self.id} {'closed' if self.closed else f'{len(self)} bytes'}>"


class RelayPages:
    """Pages that belong to the host or to one enclave, never to both.

    The host reads and writes them while they are its own; while an enclave has them every access raises
    AccessFault.  id: by which a program names them.
    """

    def __init__(self, number: int, memory: HostMemory, pa: int, size: int) -> None:
        self.id = number
        self.pa = pa
        self._memory = memory
        self._size = size

    @property
    def with_host(self) -> bool:
        """True while the host may access them."""
        return self._memory.owns(self.pa, self._size)

    def read(self, size: int | None = None, offset: int = 0) -> bytes:
        """Copy of size bytes (to the end by default) from offset on.  Raises AccessFault."""
        start, end, _ = slice(offset, None if size is None else offset + size).indices(self._size)
        return self._memory.read(self.pa + start, max(0, end - start))

    def write(self, data: bytes, offset: int = 0) -> None:
        """Write data from offset on.  Raises AccessFault, BadArgumentError if it does not fit."""
        if offset < 0 or offset + len(data) > self._size:
            raise BadArgumentError(f"{len(data)} bytes at {offset} do not fit into {self._size}")
        self._memory.write(self.pa + offset, bytes(data))

    def part(self, offset: int, size: int) -> "RelayPages":
        """The whole pages [offset, offset + size) alone.  Raises BadArgumentError if they are none."""
        if offset < 0 or offset % PAGE_SIZE or size <= 0 or size % PAGE_SIZE or offset + size > self._size:
            raise BadArgumentError(f"{size} bytes from {offset} on are not whole pages of {self._size} bytes")
        return RelayPages(self.id, self._memory, self.pa + offset, size)

    def __len__(self) -> int:
        return self._size

    def __bytes__(self) -> bytes:
        return self.read()

    def __getitem__(self, where: slice) -> bytes:
        start, end, step = where.indices(self._size)
        return self.read(max(0, end - start), start)[::step]

    def __setitem__(self, where: slice, data: bytes) -> None:
        start, end, step = where.indices(self._size)
        if step != 1 or len(data) != max(0, end - start):
            raise BadArgumentError(f"{len(data)} bytes cannot replace [{start}:{end}:{step}]")
        self.write(data, start)

    def __repr__(self) -> str:
        holder = "the host" if self.with_host else "an enclave"
        return f"<RelayPages {self.id} {self._size} bytes, {holder} has them>"


class SharedMemories:
    """The memories that a machine's host has made, and what was promised to be freed.

    A page goes back to the allocator when its last user is gone: an enclave for shared memory, whoever
    has it for relay pages.
    """

    def __init__(self, memory: HostMemory, pages: PageAllocator) -> None:
        self._memory = memory
        self._pages = pages
        self._lock = threading.Lock()
        self._ids = itertools.count(1)
        self._shared: dict[int, SharedMemory] = {}
        self._relay: dict[int, RelayPages] = {}
        self._users: dict[int, int] = {}
        self._away: list[tuple[int, int]] = []

    def make_shared(self, size: int) -> SharedMemory:
        """Zeroed memory of size bytes, rounded up to pages.  Raises BadArgumentError, NoMemoryError."""
        pa, size = self._allocate(size)
        with self._lock:
            shared = self._memory.map(pa, size, SharedMemory)
            shared.id = next(self._ids)
            self._shared[shared.id] = shared
        return shared

    def make_relay(self, size: int) -> RelayPages:
        """Zeroed relay pages of size bytes, rounded up.  Raises BadArgumentError, NoMemoryError."""
        pa, size = self._allocate(size)
        with self._lock:
            relay = RelayPages(next(self._ids), self._memory, pa, size)
            self._relay[relay.id] = relay
        return relay

    def shared(self, number: int) -> SharedMemory:
        """The shared memory with this id.  Raises BadArgumentError."""
        return _known(self._shared, number, "shared memory")

    def relay(self, number: int) -> RelayPages:
        """The relay pages with this id.  Raises BadArgumentError."""
        return _known(self._relay, number, "relay pages")

    def remove(self, item: SharedMemory | RelayPages) -> None:
        """Nobody can name it any more; its pages are free once nobody uses them.

        Raises BufferError while arrays or views of a shared memory are in use.
        """
        if isinstance(item, SharedMemory):
            size = 0 if item.closed else len(item)
            item.close()
            with self._lock:
                known = self._shared.pop(item.id, None) is not None
        else:
            size = len(item)
            with self._lock:
                known = self._relay.pop(item.id, None) is not None
        if known and size:
            with self._lock:
                self._away.append((item.pa, size))
            self.collect()

    def attach(self, item: SharedMemory) -> None:
        """An enclave is about to map it."""
        with self._lock:
            self._users[item.pa] = self._users.get(item.pa, 0) + 1

    def detach(self, item: SharedMemory) -> None:
        """An enclave that mapped it has ended."""
        with self._lock:
            self._users[item.pa] -= 1
        self.collect()

    def collect(self) -> None:
        """Free what was removed and is in nobody's hands any more."""
        with self._lock:
            kept = []
            for pa, size in self._away:
                if self._users.get(pa) or not self._memory.owns(pa, size):
                    kept.append((pa, size))
                else:
                    self._pages.free(pa, size)
            self._away = kept

    def _allocate(self, size: int) -> tuple[int, int]:
        size = -(-size // PAGE_SIZE) * PAGE_SIZE
        if size <= 0:
            raise BadArgumentError("a memory to share has at least one byte")
        self.collect()
        pa = self._pages.allocate(size)
        self._memory.write(pa, bytes(size))
        return pa, size


def _known(table: dict[int, T], number: int, what: str) -> T:
    found = table.get(number)
    if found is None:
        raise BadArgumentError(f"there is no {what} with the id {number}")
    return found
