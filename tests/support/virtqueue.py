"""The driver's side of a virtio device: registers, and queues laid out by hand in the guest's memory."""

import struct
from dataclasses import dataclass, field

from penglai.abi.riscv import PAGE_SIZE, RAM_BASE
from penglai.machine import HostMemory, PhysicalMemory
from penglai.virt.devices.virtio import Dma, Function, VirtioDevice

QUEUE_SIZE = 8
NEXT, WRITE = 1, 2


@dataclass
class Rings:
    """Where a queue lies: one page each for descriptors, available and used ring."""

    desc: int
    avail: int
    used: int
    free: int = 0
    posted: int = 0
    taken: int = 0


@dataclass
class Driver:
    """Drives a function: `request` posts buffers and rings the bell."""

    function: Function
    memory: PhysicalMemory = field(default_factory=lambda: PhysicalMemory(4 << 20))
    line: list[bool] = field(default_factory=list)
    written: list[tuple[int, int]] = field(default_factory=list)

    def __post_init__(self) -> None:
        dma = Dma(HostMemory(self.memory), lambda pa, size: self.written.append((pa, size)))
        self.device = VirtioDevice(self.function, dma, self.line.append)
        self._page = RAM_BASE
        self.rings: list[Rings] = []
        self.start()

    def page(self, count: int = 1) -> int:
        self._page += count * PAGE_SIZE
        return self._page - count * PAGE_SIZE

    def start(self) -> None:
        """Reset, features, queues, driver ok."""
        device = self.device
        device.store(0x70, 4, 0)
        for status in (1, 3):
            device.store(0x70, 4, status)
        for word in (0, 1):
            device.store(0x14, 4, word)
            device.store(0x24, 4, word)
            device.store(0x20, 4, device.load(0x10, 4))
        device.store(0x70, 4, 11)
        self.rings = []
        for number in range(self.function.queues):
            device.store(0x30, 4, number)
            rings = Rings(self.page(), self.page(), self.page())
            for place in (rings.desc, rings.avail, rings.used):
                self.memory.write(place, bytes(PAGE_SIZE))
            device.store(0x38, 4, QUEUE_SIZE)
            for register, place in ((0x80, rings.desc), (0x90, rings.avail), (0xA0, rings.used)):
                device.store(register, 4, place & 0xFFFF_FFFF)
                device.store(register + 4, 4, place >> 32)
            device.store(0x44, 4, 1)
            self.rings.append(rings)
        device.store(0x70, 4, 15)

    def describe(
        self, queue: int, index: int, address: int, size: int, flags: int, following: int = 0
    ) -> None:
        raw = struct.pack("<QIHH", address, size, flags, following)
        self.memory.write(self.rings[queue].desc + 16 * index, raw)

    def post(self, queue: int, head: int, *, bell: bool = True) -> None:
        """Make a chain available."""
        rings = self.rings[queue]
        slot = rings.avail + 4 + 2 * (rings.posted % QUEUE_SIZE)
        self.memory.write(slot, struct.pack("<H", head))
        rings.posted += 1
        self.memory.write(rings.avail + 2, struct.pack("<H", rings.posted & 0xFFFF))
        if bell:
            self.device.store(0x50, 4, queue)

    def used(self, queue: int) -> tuple[int, int] | None:
        """(head, bytes written) of the next chain that came back, or None."""
        rings = self.rings[queue]
        (index,) = struct.unpack("<H", self.memory.read(rings.used + 2, 2))
        if index == rings.taken & 0xFFFF:
            return None
        raw = self.memory.read(rings.used + 4 + 8 * (rings.taken % QUEUE_SIZE), 8)
        rings.taken += 1
        head, size = struct.unpack("<II", raw)
        return head, size

    def send(self, queue: int, data: bytes) -> None:
        """One readable buffer, there and back."""
        place = self.page(-(-len(data) // PAGE_SIZE) or 1)
        self.memory.write(place, data)
        self.describe(queue, 0, place, len(data), 0)
        self.post(queue, 0)
        assert self.used(queue) == (0, 0)

    def acknowledge(self) -> int:
        """The reasons of the interrupt, which is taken back."""
        reasons = self.device.load(0x60, 4)
        self.device.store(0x64, 4, reasons)
        return reasons
