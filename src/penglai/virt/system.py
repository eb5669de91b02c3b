"""The host's side of the machine: the hart in S-mode, its firmware, its devices, and what starts on it.

One thread runs it all (`System.run`).  Others leave something in a queue and call `request`: the hart comes
out of the guest and looks at its devices.
"""

import mmap
import os
from collections.abc import Callable, Sequence
from enum import Enum
from typing import NamedTuple

from penglai.abi.firmware import ResetType
from penglai.abi.sbi import SbiResult
from penglai.machine.clock import Clock
from penglai.machine.memory import HostMemory, PhysicalMemory
from penglai.machine.supervisor import Exit, Supervisor
from penglai.virt import devicetree, loader
from penglai.virt.devices import finisher, plic, rtc, virtio
from penglai.virt.devices.bus import Bus
from penglai.virt.devices.console import ConsoleFunction
from penglai.virt.devicetree import Description, Node
from penglai.virt.outlets import outlets
from penglai.virt.services import ConsolePort, Services

FINISHER_BASE = 0x10_0000
RTC_BASE = 0x10_1000
PLIC_BASE = 0xC00_0000
VIRTIO_BASE = 0x1000_1000

VIRTIO_IRQ = 1
"""Of the first virtio device; the others follow."""
RTC_IRQ = 11
FIRMWARE_IRQ = 12
"""Of the firmware that is not the machine's own."""

REG_A0, REG_A1 = 10, 11
SEED_BYTES = 64


class Software(NamedTuple):
    """What is started.  kernel: a Linux Image.  initrd: one or more cpio archives.  append: command line.

    what: how messages call the kernel.  needs: bytes of memory to start, if known.
    """

    kernel: bytes | mmap.mmap
    initrd: bytes = b""
    append: str = ""
    what: str = "the kernel"
    needs: int = 0


class Vendor(NamedTuple):
    """Firmware that is not the machine's own.

    answer: of a call, as answer(extension, function, arguments).  waiting: True while it wants the guest to
    call; that is an interrupt.  compatible: by which the guest's driver finds it.
    """

    extensions: frozenset[int]
    answer: Callable[[int, int, tuple[int, ...]], SbiResult]
    waiting: Callable[[], bool]
    name: str
    compatible: str


class End(Enum):
    """How a guest ended."""

    OFF = "off"
    """It switched the machine off."""
    REBOOT = "reboot"
    STATUS = "status"
    """A program in it ended the machine, with an exit status."""
    CLOSED = "closed"
    """From outside."""


class Outcome(NamedTuple):
    """The end of a run.  status: 0 unless a program gave another one."""

    end: End
    status: int = 0


class System:
    """An operating system in memory, and the hart at its first instruction.

    memory, clock: the machine's.  console: its terminal.  vendor: firmware beside the machine's own.
    functions: more virtio devices.  Raises ImageError, NoMemoryError for software that cannot be started.
    """

    def __init__(
        self,
        memory: PhysicalMemory,
        clock: Clock,
        software: Software,
        console: ConsolePort,
        vendor: Vendor,
        functions: Sequence[virtio.Function] = (),
    ) -> None:
        self._vendor = vendor
        self._closing = False
        firmware_console, virtio_console = outlets(console, 2)
        functions = (ConsoleFunction(virtio_console), *functions)
        where = loader.place(memory, software.kernel, software.initrd, software.what, software.needs)
        memory.write(where.dtb, devicetree.make(_describe(memory, software, where, len(functions), vendor)))
        registers = {REG_A0: 0, REG_A1: where.dtb}
        self.supervisor = Supervisor(memory, clock, where.kernel, registers)
        host = HostMemory(memory)
        self._services = Services(self.supervisor, host, firmware_console, vendor.answer, vendor.extensions)
        self._plic = plic.Plic(self.supervisor.hold_external_interrupt)
        self._finisher = finisher.Finisher()
        self._bus = Bus()
        self._bus.add(PLIC_BASE, plic.SIZE, self._plic)
        self._bus.add(FINISHER_BASE, finisher.SIZE, self._finisher)
        self._bus.add(RTC_BASE, rtc.SIZE, rtc.Rtc(clock.wall_ns))
        dma = virtio.Dma(host, self.supervisor.written)
        self._virtio = [self._add_virtio(n, function, dma) for n, function in enumerate(functions)]

    def run(self) -> Outcome:
        """Run until the guest switches the machine off or `close`.  Raises MachineError, MonitorBug."""
        supervisor, services = self.supervisor, self._services
        record = supervisor.exit
        while True:
            reason = supervisor.run()
            if reason is Exit.CALL:
                record.a[0], record.a[1] = services.answer(record.a)
                if services.reset is not None:
                    off = services.reset.type is ResetType.SHUTDOWN
                    return Outcome(End.OFF if off else End.REBOOT)
                self._look_at_vendor()
            elif reason is Exit.DEVICE:
                self._access()
                if (finish := self._finisher.finish) is not None:
                    return Outcome(End.REBOOT if finish.again else End.STATUS, finish.status)
            elif self._closing:
                return Outcome(End.CLOSED)
            else:
                self._poll()

    def request(self) -> None:
        """Something was left for a device: the hart looks.  From any thread."""
        self.supervisor.request()

    def close(self) -> None:
        """Let `run` return.  From any thread."""
        self._closing = True
        self.request()

    # ---- devices -------------------------------------------------------------------------------

    def _poll(self) -> None:
        """Something may have been left for a device."""
        self._look_at_vendor()
        for device in self._virtio:
            device.poll()

    def _access(self) -> None:
        record = self.supervisor.exit
        window = self._bus.find(record.address, record.bytes)
        if window is None:
            self.supervisor.no_device()
        elif record.store:
            window.device.store(record.address - window.base, record.bytes, record.value)
        else:
            record.value = window.device.load(record.address - window.base, record.bytes)

    def _add_virtio(self, index: int, function: virtio.Function, dma: virtio.Dma) -> virtio.VirtioDevice:
        source = VIRTIO_IRQ + index
        device = virtio.VirtioDevice(function, dma, lambda on: self._plic.set_level(source, on))
        self._bus.add(VIRTIO_BASE + index * virtio.SIZE, virtio.SIZE, device)
        return device

    def _look_at_vendor(self) -> None:
        self._plic.set_level(FIRMWARE_IRQ, self._vendor.waiting())


def _describe(
    memory: PhysicalMemory, software: Software, where: loader.Placement, virtios: int, vendor: Vendor
) -> Description:
    """What the device tree tells of this machine."""
    windows = [
        Node("virtio_mmio", VIRTIO_BASE + n * virtio.SIZE, virtio.SIZE, ("virtio,mmio",), VIRTIO_IRQ + n)
        for n in range(virtios)
    ]
    clock = Node("rtc", RTC_BASE, rtc.SIZE, ("google,goldfish-rtc",), RTC_IRQ)
    return Description(
        ram=memory.base,
        ram_size=memory.size,
        append=software.append,
        initrd=where.initrd,
        seed=os.urandom(SEED_BYTES),
        plic=Node("plic", PLIC_BASE, plic.SIZE, ("sifive,plic-1.0.0", "riscv,plic0")),
        plic_sources=plic.SOURCES,
        finisher=Node("test", FINISHER_BASE, finisher.SIZE, ("sifive,test1", "sifive,test0")),
        devices=[*windows, clock],
        firmware=[Node(vendor.name, 0, 0, (vendor.compatible,), FIRMWARE_IRQ)],
    )
