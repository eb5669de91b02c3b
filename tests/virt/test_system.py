"""Software is put into memory and started; devices answer where the device tree says."""

import struct
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import fdt
import pytest
from tests.support.bare import assemble
from tests.virt.devices.test_console import Port

from penglai.abi.errors import BadArgumentError, ImageError, NoMemoryError
from penglai.abi.riscv import RAM_BASE
from penglai.abi.sbi import SbiResult
from penglai.machine import Clock, PhysicalMemory
from penglai.virt import loader
from penglai.virt.system import End, Outcome, Software, System, Vendor

MEMORY = 32 << 20
HEADER_BYTES = 64


def image(text: str, *, offset: int = 0x20_0000, size: int = 0x1_0000, magic2: int = loader.MAGIC2) -> bytes:
    """A kernel: the header of a Linux Image, whose first instruction jumps over it, then a program."""
    head = assemble(f".option norvc\nj .+{HEADER_BYTES}\nnop")
    header = struct.pack("<QQQIIQ8sII", offset, size, 0, 2, 0, 0, b"RISCV\0\0\0", magic2, 0)
    return head + header + assemble(text)


def vendor(answer: Callable[..., SbiResult] = lambda *_: SbiResult(-2, 0), waiting: bool = False) -> Vendor:
    return Vendor(frozenset([0xABC]), answer, lambda: waiting, "tester", "penglai,test")


@contextmanager
def started(software: Software, **more: object) -> Iterator[tuple[System, Port, PhysicalMemory]]:
    memory, console = PhysicalMemory(MEMORY), Port()
    yield System(memory, Clock(), software, console, more.pop("vendor", vendor()), **more), console, memory  # type: ignore[arg-type]
    memory.close()


FINISH = "li t0, 0x100000\nli t1, {value}\nsw t1, 0(t0)\n"


def test_a_program_ends_the_machine_with_a_status():
    with started(Software(image(FINISH.format(value=9 << 16 | 0x3333)))) as (system, _, _):
        assert system.run() == Outcome(End.STATUS, 9)


def test_a_guest_switches_off_or_reboots():
    for kind, end in ((0, End.OFF), (1, End.REBOOT), (2, End.REBOOT)):
        with started(Software(image(f"li a0, {kind}\nli a6, 0\nli a7, 0x53525354\necall\n"))) as (
            system,
            _,
            _,
        ):
            assert system.run().end is end


def test_a_system_is_closed_from_another_thread():
    with started(Software(image("1: wfi\nj 1b\n"))) as (system, _, _):
        system.close()
        assert system.run() == Outcome(End.CLOSED)


def test_it_begins_with_the_hart_and_the_tree_in_registers():
    text = "mv s0, a0\nld a0, 0(a1)\n" + "li a6, 1\nli a7, 0xabc\necall\n" + FINISH.format(value=0x5555)
    seen = []

    def answer(*call: object) -> SbiResult:
        seen.append(call)
        return SbiResult(0, 0)

    with started(Software(image(text)), vendor=vendor(answer)) as (system, _, _):
        assert system.run() == Outcome(End.STATUS, 0)
    (extension, function, arguments) = seen[0]
    assert (extension, function) == (0xABC, 1)
    assert arguments[0].to_bytes(8, "little")[:4] == b"\xd0\x0d\xfe\xed", "a0 was the tree's magic"


def tree_of(software: Software) -> fdt.FDT:
    with started(software) as (system, _, memory):
        where = loader.place(memory, software.kernel, software.initrd, "x")
        assert system.supervisor.registers()[11] == where.dtb
        size = int.from_bytes(memory.read(where.dtb + 4, 4), "big")
        return fdt.parse_dtb(memory.read(where.dtb, size))


def test_the_tree_tells_where_everything_is():
    tree = tree_of(Software(image("nop"), b"ramfs" * 1000, "console=hvc1 quiet"))

    def cells(path: str, name: str) -> list[int]:
        return list(tree.get_property(name, path).data)

    assert tree.get_property("bootargs", "/chosen").value == "console=hvc1 quiet"
    assert cells("/memory@80000000", "reg") == [0, RAM_BASE, 0, MEMORY]
    start, end = (cells("/chosen", f"linux,initrd-{which}") for which in ("start", "end"))
    assert end[1] - start[1] == 5000
    assert len(cells("/chosen", "rng-seed")) == 16
    assert cells("/cpus", "timebase-frequency") == [10_000_000]
    assert tree.get_property("compatible", "/soc/virtio_mmio@10001000").value == "virtio,mmio"
    assert cells("/soc/virtio_mmio@10001000", "interrupts") == [1]
    assert cells("/soc/plic@c000000", "interrupts-extended") == [1, 9]
    assert tree.get_property("compatible", "/firmware/tester").value == "penglai,test"


def test_two_machines_have_two_seeds():
    trees = [tree_of(Software(image("nop"))) for _ in range(2)]
    seeds = [tuple(tree.get_property("rng-seed", "/chosen").data) for tree in trees]
    assert seeds[0] != seeds[1]


def test_kernel_and_ramfs_lie_where_nothing_overlaps():
    software = Software(image("nop", size=0x10_1000), b"r" * 5000)
    with started(software) as (_, _, memory):
        where = loader.place(memory, software.kernel, software.initrd, "x")
        assert where.kernel == RAM_BASE + 0x20_0000
        assert where.initrd is not None
        assert where.initrd[0] >= where.kernel + 0x10_1000
        assert where.dtb >= where.initrd[1]
        assert memory.read(where.initrd[0], 5000) == b"r" * 5000


@pytest.mark.parametrize(
    ("kernel", "reason"),
    [
        (b"", "no Linux Image"),
        (b"\x7fELF" + bytes(100), "no Linux Image"),
        (b"\x1f\x8b" + bytes(100), "compressed"),
        (image("nop", magic2=0), "no Linux Image"),
        (image("nop", offset=0x1000), "aligned"),
    ],
)
def test_what_is_no_kernel_is_refused_with_the_reason(kernel: bytes, reason: str):
    with pytest.raises(ImageError, match=reason), started(Software(kernel, what="vmlinuz")):
        pass


@pytest.mark.parametrize("append", ["a" * 1024, "two\nlines", "grüße"])
def test_a_command_line_that_linux_would_not_take_is_refused(append: str):
    with pytest.raises(BadArgumentError, match="command line"), started(Software(image("nop"), b"", append)):
        pass


@pytest.mark.parametrize(
    "software", [Software(image("nop", size=1 << 40)), Software(image("nop"), bytes(31 << 20))]
)
def test_what_does_not_fit_is_refused(software: Software):
    with pytest.raises(NoMemoryError, match="more memory"), started(software):
        pass


def test_an_access_to_no_device_is_an_access_fault():
    text = """
    la t0, trap
    csrw stvec, t0
    li t0, 0x200000
    lw t0, 0(t0)
.p2align 2
trap:
    csrr t1, scause
    slli t1, t1, 16
    li t3, 0x3333
    or t1, t1, t3
    li t0, 0x100000
    sw t1, 0(t0)
    """
    with started(Software(image(text))) as (system, _, _):
        assert system.run() == Outcome(End.STATUS, 5)


def test_the_vendors_interrupt_reaches_the_guest_through_the_plic():
    text = """
    la t0, trap
    csrw stvec, t0
    li s0, 0xc000000
    li t0, 1
    sw t0, 48(s0)           # priority of source 12
    li t1, 0xc002000
    li t0, 1 << 12
    sw t0, 0(t1)            # enabled
    li t0, 1 << 9
    csrw sie, t0
    csrsi sstatus, 2
    li a7, 0xabc
    ecall
1:  wfi
    j 1b
.p2align 2
trap:
    li t1, 0xc200004
    lw t2, 0(t1)            # claim
    slli t1, t2, 16
    li t3, 0x3333
    or t1, t1, t3
    li t0, 0x100000
    sw t1, 0(t0)
    """
    with started(Software(image(text)), vendor=vendor(lambda *_: SbiResult(0, 0), waiting=True)) as (
        system,
        _,
        _,
    ):
        assert system.run() == Outcome(End.STATUS, 12)
