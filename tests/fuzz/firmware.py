"""Calls of a hostile kernel to the machine's firmware, and what it does to the registers of devices."""

import functools

from penglai.abi.firmware import Extension
from penglai.abi.riscv import PAGE_SIZE, RAM_BASE
from penglai.abi.sbi import SbiResult
from penglai.machine import Clock, HostMemory, PhysicalMemory
from penglai.machine.supervisor import Supervisor
from penglai.virt.devices.finisher import Finisher
from penglai.virt.devices.plic import Plic
from penglai.virt.devices.rtc import Rtc
from penglai.virt.services import Services
from tests.fuzz.choices import Choices
from tests.fuzz.virtio import HIDDEN, MARKER, Port, memory

TITLE = "calls of the firmware, registers of devices"

EXTENSIONS = (*Extension, 0x100100, 0x10, 0, 9)
ADDRESSES = (RAM_BASE, HIDDEN, HIDDEN - 1, HIDDEN + PAGE_SIZE, RAM_BASE + (4 << 20) - 1, 0)
OFFSETS = (0, 4, 8, 0x7C, 0x80, 0x1000, 0x2000, 0x200000, 0x200004, 0x200008, 0x5FFFFC)
MOST_STEPS = 64


@functools.cache
def supervisor() -> tuple[Supervisor, PhysicalMemory]:
    """A hart that never runs, and its memory."""
    ram = memory()
    return Supervisor(ram, Clock(), RAM_BASE), ram


def fresh() -> None:
    supervisor.cache_clear()
    memory.cache_clear()


def one(data: bytes) -> None:
    """Every call has an answer that fits in two registers; every register has a value that fits."""
    choices = Choices(data)
    hart, ram = supervisor()
    services = Services(hart, HostMemory(ram), Port(), lambda *_: SbiResult(-3, 1 << 63))
    held: list[bool] = []
    devices = (Plic(held.append), Rtc(lambda: 1 << 60), Finisher())
    for _ in range(MOST_STEPS):
        if not choices.left:
            break
        if choices.below(2):
            registers = [choices.word(ADDRESSES) for _ in range(6)]
            registers += [choices.word(range(8)), choices.word(EXTENSIONS)]
            a0, a1 = services.answer(registers)
            assert 0 <= a0 < 1 << 64
            assert 0 <= a1 < 1 << 64
            continue
        device, size, offset = choices.pick(devices), choices.pick((1, 2, 4, 8)), choices.word(OFFSETS)
        offset = offset % 0x600000 & -size
        if choices.below(2):
            assert 0 <= device.load(offset, size) < 1 << 32
        else:
            device.store(offset, size, choices.number(8) % (1 << 8 * size))
        if device is devices[0]:
            devices[0].set_level(choices.below(32), bool(choices.below(2)))
    assert ram.read(HIDDEN, len(MARKER)) == MARKER
