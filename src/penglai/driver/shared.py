"""Memory of the host that enclaves get to see: shared memory, and relay pages, which change hands."""

import itertools
import threading
from collections.abc import Callable
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
    page_bytes: int = 0
    """Its size, also after it was closed."""
    _when_closed: Callable[["SharedMemory"], None]

    def close(self) -> None:
        """End the host's use; more than once does nothing.

        Raises BufferError while arrays or views of it are in use.
        """
        super().close()
        self._when_closed(self)

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

    def __contains__(self, part: "RelayPages") -> bool:
        return self.pa <= part.pa and part.pa + len(part) <= self.pa + self._size

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
    """The memories of a machine's host: who uses which, and what was promised to be freed.

    A page goes back to the allocator when its last user is gone: an enclave, or a program that still has a
    view, for shared memory; whoever has it for relay pages.
    """

    def __init__(self, memory: HostMemory, pages: PageAllocator) -> None:
        self._memory = memory
        self._pages = pages
        self._lock = threading.Lock()
        self._ids = itertools.count(1)
        self._users: dict[int, int] = {}
        self._unwanted: list[SharedMemory | RelayPages] = []

    def make_shared(self, size: int, when_closed: Callable[[SharedMemory], None]) -> SharedMemory:
        """Zeroed memory of size bytes, rounded up to pages.  Raises BadArgumentError, NoMemoryError."""
        pa, size = self._allocate(size)
        shared = self._memory.map(pa, size, SharedMemory)
        shared._when_closed = when_closed
        shared.id, shared.page_bytes = next(self._ids), size
        return shared

    def make_relay(self, size: int) -> RelayPages:
        """Zeroed relay pages of size bytes, rounded up.  Raises BadArgumentError, NoMemoryError."""
        pa, size = self._allocate(size)
        return RelayPages(next(self._ids), self._memory, pa, size)

    def attach(self, item: SharedMemory) -> None:
        """An enclave is about to map it."""
        with self._lock:
            self._users[item.pa] = self._users.get(item.pa, 0) + 1

    def detach(self, item: SharedMemory) -> None:
        """An enclave that mapped it has ended."""
        with self._lock:
            self._users[item.pa] -= 1
        self.collect()

    def drop(self, *items: SharedMemory | RelayPages) -> None:
        """Their program wants these no more: each is freed once nobody uses it."""
        with self._lock:
            self._unwanted += items
        self.collect()

    def collect(self) -> None:
        """Free what nobody wants and nobody uses any more."""
        with self._lock:
            self._unwanted = [item for item in self._unwanted if not self._free(item)]

    def _free(self, item: SharedMemory | RelayPages) -> bool:
        """Under the lock; False while somebody uses it."""
        if isinstance(item, RelayPages):
            size = len(item)
        else:
            size = item.page_bytes
            try:
                item.close()
            except BufferError:
                return False
        if self._users.get(item.pa) or not self._memory.owns(item.pa, size):
            return False
        self._users.pop(item.pa, None)
        self._pages.free(item.pa, size)
        return True

    def _allocate(self, size: int) -> tuple[int, int]:
        size = -(-size // PAGE_SIZE) * PAGE_SIZE
        if size <= 0:
            raise BadArgumentError("a memory to share has at least one byte")
        self.collect()
        pa = self._pages.allocate(size)
        self._memory.write(pa, bytes(size))
        return pa, size


class ProcessMemories:
    """The memories of one process, by id: those that it has made.  Others do not exist for it.

    check_open: raises MachineError if the process is closed.
    """

    def __init__(self, memories: SharedMemories, check_open: Callable[[], None]) -> None:
        self._memories = memories
        self._check_open = check_open
        self._shared: dict[int, SharedMemory] = {}
        self._relay: dict[int, RelayPages] = {}

    def make_shared(self, size: int) -> SharedMemory:
        """See SharedMemories.  Raises MachineError if the process is closed."""
        self._check_open()
        shared = self._memories.make_shared(size, self._forget)
        self._shared[shared.id] = shared
        return shared

    def make_relay(self, size: int) -> RelayPages:
        """See SharedMemories.  Raises MachineError if the process is closed."""
        self._check_open()
        relay = self._memories.make_relay(size)
        self._relay[relay.id] = relay
        return relay

    def shared(self, number: int) -> SharedMemory:
        """The shared memory with this id.  Raises BadArgumentError."""
        return _known(self._shared, number, "shared memory")

    def relay(self, number: int) -> RelayPages:
        """The relay pages with this id.  Raises BadArgumentError."""
        return _known(self._relay, number, "relay pages")

    def check(self, item: SharedMemory | RelayPages | None) -> None:
        """Raise BadArgumentError for memory that the process has not made, or has freed."""
        if item is None:
            return
        if isinstance(item, SharedMemory):
            known = self._shared.get(item.id) is item
        else:
            whole = self._relay.get(item.id)
            known = whole is not None and item in whole
        if not known:
            raise BadArgumentError(f"{item!r} was made by another program, or has been freed")

    def remove(self, item: SharedMemory | RelayPages) -> None:
        """The process wants it no more; more than once does nothing.

        Raises BufferError while arrays or views of a shared memory are in use.
        """
        if isinstance(item, SharedMemory):
            item.close()
            return
        found = self._relay.pop(item.id, None)
        if found is not None:
            self._memories.drop(found)

    def _forget(self, shared: SharedMemory) -> None:
        """It has been closed."""
        if self._shared.pop(shared.id, None) is not None:
            self._memories.drop(shared)

    def close(self) -> None:
        """The process ends: it wants none of them any more."""
        items: list[SharedMemory | RelayPages] = [*self._shared.values(), *self._relay.values()]
        self._shared.clear()
        self._relay.clear()
        self._memories.drop(*items)


def _known(table: dict[int, T], number: int, what: str) -> T:
    found = table.get(number)
    if found is None:
        raise BadArgumentError(f"there is no {what} with the id {number}")
    return found
