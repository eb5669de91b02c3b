"""Virtio devices, their registers and their queues, driven by a hostile kernel."""

import functools
import struct
from collections.abc import Callable

import numpy as np

from penglai.abi.riscv import PAGE_SIZE, RAM_BASE
from penglai.machine import HostMemory, PhysicalMemory
from penglai.virt.devices.console import ConsoleFunction
from penglai.virt.devices.share import ShareFunction, wire
from penglai.virt.devices.share.server import CALLS, VERSION
from penglai.virt.devices.share.tree import NO_FID
from penglai.virt.devices.virtio import STATUS_NEEDS_RESET, Dma, VirtioDevice
from tests.fuzz import share
from tests.fuzz.choices import Choices

TITLE = "virtio registers and queues"

MEMORY = 4 << 20
PAGES = tuple(RAM_BASE + number * PAGE_SIZE for number in range(4))
HIDDEN = RAM_BASE + 4 * PAGE_SIZE
"""A page behind them that is not the host's."""
MARKER = b"not the host's! "
PLACES = (*PAGES, HIDDEN, HIDDEN - 8, HIDDEN - 1, RAM_BASE + MEMORY - 1, RAM_BASE - 1)
REGISTERS = (*range(0, 0x120, 4), 0xFFC, 0x101)
SIZES = (1, 2, 4, 8)
MOST_STEPS = 64
CONSOLE = ConsoleFunction.device_id


class Port:
    """A terminal on which somebody types without end."""

    size = (80, 24)
    waiting = True

    def __init__(self) -> None:
        self.shown = 0
        self.typed = 0

    def write(self, data: bytes) -> None:
        assert MARKER not in data
        self.shown += len(data)

    def read(self, limit: int) -> bytes:
        """Typing ends after a while, and begins again at the next look."""
        self.typed += 1
        self.waiting = self.typed % 8 != 0
        return b"x" * min(limit, 16)


@functools.cache
def memory() -> PhysicalMemory:
    """One memory for all cases, with a page that is hidden."""
    found = PhysicalMemory(MEMORY)
    found.write(HIDDEN, MARKER * (PAGE_SIZE // len(MARKER)))
    with found.lock:
        found.show(np.array([(HIDDEN - RAM_BASE) // PAGE_SIZE]), visible=False)
    return found


def fresh() -> None:
    memory.cache_clear()
    share.fresh()


def device_of(choices: Choices, written: Callable[[int, int], None]) -> VirtioDevice:
    dma = Dma(HostMemory(memory()), written)
    if choices.below(2):
        return VirtioDevice(ConsoleFunction(Port()), dma, lambda _: None)
    share.place().empty()
    return VirtioDevice(ShareFunction(share.place().directory), dma, lambda _: None)


def one(data: bytes) -> None:
    """Whatever the driver does, the device goes on, and the page that is hidden does not exist for it."""
    choices = Choices(data)
    ram = memory()
    for page in PAGES:
        ram.write(page, bytes(PAGE_SIZE))

    def written(pa: int, size: int) -> None:
        assert ram.base <= pa <= pa + size <= ram.base + ram.size
        assert pa + size <= HIDDEN or pa >= HIDDEN + PAGE_SIZE

    device = device_of(choices, written)
    function = device.function
    if not choices.rarely(8):
        set_up(device, choices)
    for _ in range(MOST_STEPS):
        if not choices.left:
            break
        step(device, choices)
    device.store(0x70, 4, 0)
    assert not device.status & STATUS_NEEDS_RESET
    if isinstance(function, ShareFunction):
        function.close()
        share.place().check()
    assert ram.read(HIDDEN, PAGE_SIZE) == MARKER * (PAGE_SIZE // len(MARKER))


def set_up(device: VirtioDevice, choices: Choices) -> None:
    """As a driver would: queues of 8, one page for each ring; or nearly."""
    device.store(0x70, 4, 11)
    for queue in range(device.function.queues):
        device.store(0x30, 4, queue)
        device.store(0x38, 4, choices.pick((8, 8, 8, 1, 256, 0, 7, 512)))
        for register, page in zip((0x80, 0x90, 0xA0), PAGES, strict=False):
            place = choices.word(PLACES) if choices.rarely(12) else page + 1024 * queue
            device.store(register, 4, place & 0xFFFF_FFFF)
            device.store(register + 4, 4, place >> 32)
        device.store(0x44, 4, 1)
    device.store(0x70, 4, 15)


def step(device: VirtioDevice, choices: Choices) -> None:
    kind = choices.below(8)
    ram = memory()
    if kind == 0:
        register, size = choices.pick(REGISTERS), choices.pick(SIZES)
        assert 0 <= device.load(register, size) < 1 << 64
    elif kind == 1:
        device.store(choices.pick(REGISTERS), choices.pick(SIZES), choices.word(PLACES) & 0xFFFF_FFFF)
    elif kind == 2:
        device.poll()
    elif kind == 3:
        place = choices.pick(PAGES) + choices.below(PAGE_SIZE - 32)
        ram.write(place, choices.text())
    else:
        chain(device, choices)


def chain(device: VirtioDevice, choices: Choices) -> None:
    """A few descriptors, a message where they point, and the bell."""
    ram = memory()
    queue = choices.below(device.function.queues)
    desc, avail = PAGES[0] + 1024 * queue, PAGES[1] + 1024 * queue
    content = message(choices)
    ram.write(PAGES[3], content)
    descriptors = [(PAGES[3], len(content), 1, 1), (PAGES[3] + 2048, 2048, 2, 0)]
    if queue == 0 and device.function.device_id == CONSOLE:
        descriptors = [(PAGES[3], 64, 3, 1), (PAGES[3] + 64, 64, 2, 0)]
    for _ in range(choices.below(3)):
        place = choices.word(PLACES)
        size = choices.pick((0, 1, 7, 11, 64, 4096, 4097, 1 << 24, (1 << 32) - 1))
        flags = choices.pick((1, 0, 2, 3, 4, 7, choices.number(2)))
        descriptors[choices.below(2)] = place, size, flags, choices.below(9)
    for index, descriptor in enumerate(descriptors):
        ram.write(desc + 16 * index, struct.pack("<QIHH", *descriptor))
    (now,) = struct.unpack("<H", ram.read(avail + 2, 2))
    head = choices.below(9) if choices.rarely(8) else 0
    ram.write(avail + 4 + 2 * (now % 8), struct.pack("<H", head))
    more = choices.pick((2, 9, 40000)) if choices.rarely(8) else 1
    ram.write(avail + 2, struct.pack("<H", (now + more) & 0xFFFF))
    device.store(0x50, 4, choices.number(4) if choices.rarely(16) else queue)


def message(choices: Choices) -> bytes:
    """One for the file server."""
    if choices.rarely(4):
        return choices.text()
    kind = choices.below(4)
    if kind == 0:
        return wire.message(100, 7, wire.pack("ds", 8192, VERSION))
    if kind == 1:
        return wire.message(104, 7, wire.pack("ddssd", 0, NO_FID, b"", b"", 0))
    call = choices.pick(CALLS)
    return wire.message(call.number, 7, share.fields(call, choices))
