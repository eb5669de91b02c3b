"""The protocol of file servers, spoken from Python by way of an enclave that does what it is told."""

import struct
from collections.abc import Sequence
from dataclasses import dataclass, field

import penglai
from penglai import Reason
from penglai.abi.layout import DEFAULT_STACK_SIZE
from penglai.driver.disk import MemoryDisk
from tests.support.programs import compiled
from tests.support.waiting import PATIENCE

OPEN, CLOSE, READ, WRITE, STAT, SEEK, FLUSH, TRUNCATE, UNLINK, MKDIR = range(10)
HELLO, OPEN_EXACTLY, ABOUT, LIST, RENAME, RESIZE, REMOVE = range(32, 39)
O_RDONLY, O_WRONLY, O_RDWR, O_CREAT, O_EXCL, O_TRUNC, O_APPEND = 0, 1, 2, 0x40, 0x80, 0x200, 0x400
PATH = 128
REGION = 4096
ROUND = struct.Struct("<6Q16x")
SECTOR = 4096
SHARED = 128 << 10


@dataclass(frozen=True)
class Answer:
    """value: of the server, or the result of the call below zero.  data: what is in the region."""

    value: int
    data: bytes
    came_back: bool


class Puppet:
    """An enclave that calls a server as it is told."""

    def __init__(self, machine: penglai.Machine, room: int = 1 << 17, server: str = "filesystem") -> None:
        self._machine = machine
        self._pages = machine.relay_pages(room)
        program = compiled("puppet", f'-DPUPPET="{server}"')
        self._enclave = machine.create(program)
        self._is_started = False

    def call(self, operation: int, request: bytes = b"", size: int = REGION) -> Answer:
        """The answer to a request that lies at the start of a region of this size."""
        result = self.begin(operation, request, size).result(PATIENCE)
        assert result.reason is Reason.RELAY, result
        content = self._pages.read()
        _, _, _, failed, value, came_back = ROUND.unpack(content[: ROUND.size])
        return Answer(_signed(failed or value), content[ROUND.size :][:size], bool(came_back))

    def begin(self, operation: int, request: bytes = b"", size: int = REGION) -> penglai.Run:
        """The same without waiting for the answer."""
        self._pages.write(ROUND.pack(operation, size, len(request), 0, 0, 0) + request)
        begin = self._enclave.continue_with if self._is_started else self._enclave.start
        self._is_started = True
        return begin(relay=self._pages)

    def destroy(self) -> None:
        """End the enclave, and free its pages."""
        self._enclave.destroy()
        self._machine.free(self._pages)


def _signed(value: int) -> int:
    return value - (1 << 64) if value >> 63 else value


def path(*names: str) -> bytes:
    """Paths as requests have them."""
    return b"".join(name.encode().ljust(PATH, b"\0") for name in names)


@dataclass
class Files:
    """The files of a machine, by operations of the protocol.  Each result is the server's value."""

    machine: penglai.Machine
    puppet: Puppet = field(init=False)

    def __post_init__(self) -> None:
        self.puppet = Puppet(self.machine)

    def value(self, operation: int, request: bytes = b"", size: int = REGION) -> int:
        return self.puppet.call(operation, request, size).value

    def open(self, name: str, flags: int = O_RDONLY, *, exactly: bool = True) -> int:
        return self.value(OPEN_EXACTLY if exactly else OPEN, path(name) + struct.pack("<i", flags))

    def close(self, descriptor: int) -> int:
        return self.value(CLOSE, struct.pack("<i", descriptor))

    def write(self, descriptor: int, data: bytes) -> int:
        return self.value(WRITE, struct.pack("<ii", descriptor, len(data)) + data, _region(len(data) + 8))

    def read(self, descriptor: int, size: int) -> bytes | int:
        answer = self.puppet.call(READ, struct.pack("<ii", descriptor, size), _region(size))
        return answer.data[: answer.value] if answer.value >= 0 else answer.value

    def seek(self, descriptor: int, offset: int, whence: int = 0) -> int:
        return self.value(SEEK, struct.pack("<iii", descriptor, offset, whence))

    def resize(self, descriptor: int, size: int) -> int:
        return self.value(RESIZE, struct.pack("<ii", descriptor, size))

    def size(self, name: str) -> int:
        return self.value(STAT, struct.pack("<i", -1) + path(name))

    def mkdir(self, name: str) -> int:
        return self.value(MKDIR, path(name))

    def unlink(self, name: str) -> int:
        return self.value(UNLINK, path(name))

    def rename(self, old: str, new: str) -> int:
        return self.value(RENAME, path(old, new))

    def put(self, name: str, content: bytes) -> None:
        """Make a file, or give it another content."""
        descriptor = self.open(name, O_WRONLY | O_CREAT | O_TRUNC)
        assert descriptor >= 3
        assert self.write(descriptor, content) == len(content)
        assert self.close(descriptor) == 0

    def content(self, name: str) -> bytes | int:
        """All of a file, or the error."""
        descriptor = self.open(name)
        if descriptor < 0:
            return descriptor
        found = self.read(descriptor, 1 << 16)
        self.close(descriptor)
        return found

    def list(self, name: str) -> dict[str, bool] | int:
        """Names in a directory, and whether each is one itself; or the error."""
        answer = self.puppet.call(LIST, struct.pack("<I", 0) + path(name))
        if answer.value < 0:
            return answer.value
        entries = struct.iter_unpack(f"<i{PATH}s", answer.data[: answer.value * (4 + PATH)])
        found = {text.partition(b"\0")[0].decode(): bool(kind) for kind, text in entries}
        return {name: kind for name, kind in found.items() if name not in (".", "..")}

    def tree(self, top: str = "") -> dict[str, bytes | int | None] | int:
        """All below a directory: contents of files, None for directories; an error instead of either."""
        entries = self.list(top or "/")
        if isinstance(entries, int):
            return entries
        found: dict[str, bytes | int | None] = {}
        for name, is_directory in sorted(entries.items()):
            place = f"{top}/{name}"
            if not is_directory:
                found[place] = self.content(place)
                continue
            below = self.tree(place)
            found[place] = below if isinstance(below, int) else None
            found |= {} if isinstance(below, int) else below
        return found


def _region(size: int) -> int:
    return max(REGION, (size + REGION - 1) // REGION * REGION)


class Server:
    """The file server and its block server on a machine.  `restart` keeps only the disk."""

    def __init__(self, machine: penglai.Machine) -> None:
        self.machine = machine
        self._shared = machine.shared_memory(SHARED)
        machine.use_disk(self._shared)
        self._enclaves: list[penglai.Enclave] = []
        self.restart()

    def restart(self, stack_size: int = DEFAULT_STACK_SIZE) -> None:
        """Destroy both, if they are there, and make them anew.  stack_size: of the file server; part of its
        measurement."""
        for enclave in self._enclaves:
            enclave.destroy()
        make = self.machine.create
        self._enclaves = [
            make("persistency", name="persistency", kind="server", shm=self._shared),
            make("filesystem", name="filesystem", kind="server", stack_size=stack_size),
        ]


class Recorder(MemoryDisk):
    """A disk that remembers in which order sectors were written, and which were read."""

    def __init__(self, content: dict[int, bytes] | None = None) -> None:
        super().__init__()
        self.content: dict[int, bytes] = dict(content or {})
        self.writes: list[tuple[int, bytes]] = []
        self.reads: set[int] = set()
        self.refuses = False

    def read(self, sector: int, size: int = SECTOR) -> bytes | None:
        """One of 4,096 bytes."""
        assert size == SECTOR
        self.reads.add(sector)
        return self.content.get(sector, bytes(size))

    def write(self, sector: int, data: bytes) -> bool:
        """One of 4,096 bytes."""
        assert len(data) == SECTOR
        if self.refuses:
            return False
        self.writes.append((sector, data))
        self.content[sector] = data
        return True


def use(machine: penglai.Machine, disk: MemoryDisk) -> None:
    """From now on sectors are kept there."""
    machine._driver.ocalls.disk = disk


def after(writes: Sequence[tuple[int, bytes]]) -> dict[int, bytes]:
    """What a disk has after these."""
    return dict(writes)
