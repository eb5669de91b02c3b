"""Virtio over memory-mapped registers, and its split queues in the guest's memory.

Everything in the queues is the guest's: addresses, lengths and chains are checked, and a queue that makes no
sense puts the device into the state "needs reset".  A device reaches memory as the host does: pages that are
not the host's do not exist for it.  Source: Virtual I/O Device specification 1.2, sections 2.7 and 4.2.
"""

import struct
from collections.abc import Callable
from typing import NamedTuple, Protocol

from penglai.abi.errors import AccessFault
from penglai.machine.memory import HostMemory

SIZE = 0x1000
"""Bytes of a device's window."""

MAGIC = 0x74726976
VERSION = 2
VENDOR = 0x4C50
QUEUE_MAX = 256

FEATURE_VERSION_1 = 1 << 32

STATUS_DRIVER_OK = 4
STATUS_NEEDS_RESET = 64

INTERRUPT_QUEUE = 1
INTERRUPT_CONFIG = 2

DESC_NEXT = 1
DESC_WRITE = 2
DESC_INDIRECT = 4

MAX_CHAIN_BYTES = 1 << 24
"""More than any request of a driver has; a chain that claims more is refused."""


class BrokenQueueError(Exception):
    """What the guest has put into a queue makes no sense."""


class Function(Protocol):
    """What a virtio device does; the transport is the same for all."""

    device_id: int
    features: int
    queues: int

    def config(self) -> bytes:
        """The configuration space."""

    def notified(self, device: "VirtioDevice", queue: int) -> None:
        """The driver has put something into a queue.  May raise AccessFault, BrokenQueueError."""

    def poll(self, device: "VirtioDevice") -> None:
        """Something may have come from outside, and the driver uses the device.  May raise as `notified`."""

    def reset(self) -> None:
        """The driver begins anew."""


class Chain(NamedTuple):
    """A request of the driver: buffers that the device reads, then buffers that it fills."""

    head: int
    readable: list[tuple[int, int]]
    writable: list[tuple[int, int]]

    @property
    def room(self) -> int:
        """Bytes that the device may write."""
        return sum(size for _, size in self.writable)


class Queue:
    """Where a queue lies, and how far it is served."""

    def __init__(self) -> None:
        self.size = 0
        self.ready = False
        self.desc = self.avail = self.used = 0
        self.next_avail = self.next_used = 0

    def place(self, name: str, high: bool, value: int) -> None:
        """Set one half of an address."""
        old = getattr(self, name)
        new = (old & 0xFFFF_FFFF) | value << 32 if high else (old >> 32 << 32) | value
        setattr(self, name, new)


class Dma(NamedTuple):
    """A device's way to memory.  written: is told of each piece that was written."""

    memory: HostMemory
    written: Callable[[int, int], None]

    def read(self, pa: int, size: int) -> bytes:
        """Copy of size bytes at pa.  Raises AccessFault."""
        return self.memory.read(pa, size)

    def write(self, pa: int, data: bytes) -> None:
        """Write at pa.  Raises AccessFault."""
        self.memory.write(pa, data)
        self.written(pa, len(data))


class VirtioDevice:
    """One device on the bus.  line: raises or lowers its interrupt."""

    def __init__(self, function: Function, dma: Dma, line: Callable[[bool], None]) -> None:
        self.function = function
        self.dma = dma
        self.line = line
        self.status = 0
        self.queues = [Queue() for _ in range(function.queues)]
        self._selected = 0
        self._driver_features = 0
        self._feature_words = [0, 0]
        self._interrupts = 0
        self._generation = 0

    # ---- registers -----------------------------------------------------------------------------

    def load(self, offset: int, size: int) -> int:
        if offset >= 0x100:
            place = offset - 0x100
            return int.from_bytes(self.function.config()[place : place + size], "little")
        queue = self._queue
        features = self.function.features | FEATURE_VERSION_1
        values = {
            0x00: MAGIC,
            0x04: VERSION,
            0x08: self.function.device_id,
            0x0C: VENDOR,
            0x10: features >> 32 * self._feature_words[0] & 0xFFFF_FFFF if self._feature_words[0] < 2 else 0,
            0x34: QUEUE_MAX if queue is not None else 0,
            0x44: int(queue.ready) if queue is not None else 0,
            0x60: self._interrupts,
            0x70: self.status,
            0xFC: self._generation,
        }
        return values.get(offset, 0)

    def store(self, offset: int, size: int, value: int) -> None:
        if size != 4:
            return
        if offset == 0x50:
            self._notify(value)
        elif offset == 0x64:
            self._interrupts &= ~value
            self.line(bool(self._interrupts))
        elif offset == 0x70:
            self._set_status(value)
        elif offset == 0x30:
            self._selected = value
        elif offset in (0x14, 0x24):
            self._feature_words[offset == 0x24] = value
        elif offset == 0x20 and self._feature_words[1] < 2:
            shift = 32 * self._feature_words[1]
            self._driver_features &= ~(0xFFFF_FFFF << shift)
            self._driver_features |= value << shift
        elif (queue := self._queue) is not None and not queue.ready:
            self._set_up(queue, offset, value)
        elif queue is not None and offset == 0x44 and not value:
            queue.ready = False

    def _set_up(self, queue: Queue, offset: int, value: int) -> None:
        places = {0x80: "desc", 0x90: "avail", 0xA0: "used"}
        if offset == 0x38:
            queue.size = value
        elif offset & ~4 in places:
            queue.place(places[offset & ~4], bool(offset & 4), value)
        elif offset == 0x44 and value & 1:
            good = 0 < queue.size <= QUEUE_MAX and queue.size & (queue.size - 1) == 0
            if not good:
                self._break()
                return
            queue.ready, queue.next_avail, queue.next_used = True, 0, 0

    @property
    def _queue(self) -> Queue | None:
        return self.queues[self._selected] if self._selected < len(self.queues) else None

    def _set_status(self, value: int) -> None:
        if value:
            self.status = value | self.status & STATUS_NEEDS_RESET
            return
        self.status = self._interrupts = self._driver_features = 0
        self.queues = [Queue() for _ in self.queues]
        self.line(False)
        self.function.reset()

    # ---- queues --------------------------------------------------------------------------------

    def _notify(self, queue: int) -> None:
        if queue < len(self.queues) and self.running:
            self._serve(lambda: self.function.notified(self, queue))

    @property
    def running(self) -> bool:
        """True while the driver uses the device."""
        return bool(self.status & STATUS_DRIVER_OK) and not self.status & STATUS_NEEDS_RESET

    def poll(self) -> None:
        """Let the function look outside."""
        if self.running:
            self._serve(lambda: self.function.poll(self))

    def _serve(self, work: Callable[[], None]) -> None:
        """Do something with the queues; if the guest has broken them the device stops until it is reset."""
        try:
            work()
        except (AccessFault, BrokenQueueError):
            self._break()

    def pop(self, number: int) -> Chain | None:
        """The next request of a queue, or None.  Raises AccessFault, BrokenQueueError."""
        queue = self.queues[number]
        if not queue.ready:
            return None
        (index,) = struct.unpack("<H", self.dma.read(queue.avail + 2, 2))
        if index == queue.next_avail:
            return None
        if (index - queue.next_avail) & 0xFFFF > queue.size:
            raise BrokenQueueError(f"more than {queue.size} requests in a queue of that size")
        slot = queue.next_avail % queue.size
        (head,) = struct.unpack("<H", self.dma.read(queue.avail + 4 + 2 * slot, 2))
        queue.next_avail = (queue.next_avail + 1) & 0xFFFF
        return self._chain(queue, head)

    def _chain(self, queue: Queue, head: int) -> Chain:
        chain = Chain(head, [], [])
        index, total = head, 0
        for _ in range(queue.size):
            if index >= queue.size:
                raise BrokenQueueError(f"descriptor {index} of {queue.size}")
            raw = self.dma.read(queue.desc + 16 * index, 16)
            address, size, flags, following = struct.unpack("<QIHH", raw)
            total += size
            if flags & DESC_INDIRECT or total > MAX_CHAIN_BYTES:
                raise BrokenQueueError(f"descriptor {index} is indirect or too long")
            if not flags & DESC_WRITE and chain.writable:
                raise BrokenQueueError("a readable buffer behind a writable one")
            (chain.writable if flags & DESC_WRITE else chain.readable).append((address, size))
            if not flags & DESC_NEXT:
                return chain
            index = following
        raise BrokenQueueError("a chain without end")

    def gather(self, chain: Chain) -> bytes:
        """What the driver wants the device to read.  Raises AccessFault."""
        return b"".join(self.dma.read(address, size) for address, size in chain.readable if size)

    def answer(self, number: int, chain: Chain, data: bytes = b"") -> None:
        """Fill the chain's buffers with data and give it back.  Raises AccessFault, BrokenQueueError."""
        if len(data) > chain.room:
            raise BrokenQueueError(f"{len(data)} bytes for {chain.room}")
        rest = data
        for address, size in chain.writable:
            if rest and size:
                self.dma.write(address, rest[:size])
                rest = rest[size:]
        queue = self.queues[number]
        slot = queue.next_used % queue.size
        memory = self.dma.memory  # nobody executes a ring
        memory.write(queue.used + 4 + 8 * slot, struct.pack("<II", chain.head, len(data)))
        queue.next_used = (queue.next_used + 1) & 0xFFFF
        memory.write(queue.used + 2, struct.pack("<H", queue.next_used))
        self._interrupt(INTERRUPT_QUEUE)

    def config_changed(self) -> None:
        """The configuration space has another content now."""
        self._generation = (self._generation + 1) & 0xFF
        self._interrupt(INTERRUPT_CONFIG)

    def _interrupt(self, reason: int) -> None:
        self._interrupts |= reason
        self.line(True)

    def _break(self) -> None:
        self.status |= STATUS_NEEDS_RESET
        self._interrupt(INTERRUPT_CONFIG)
