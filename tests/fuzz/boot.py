"""Kernels to boot, their ramfs, and the command line in the device tree."""

import functools

import fdt

from penglai.abi.errors import BadArgumentError, ImageError, NoMemoryError
from penglai.machine import PhysicalMemory
from penglai.virt import devicetree, loader
from penglai.virt.devicetree import Description, Node
from tests.fuzz.choices import Choices, says_why

TITLE = "kernels, ramfs and command lines to boot with"
MEMORY = 16 << 20
HEADER = loader.HEADER


@functools.cache
def memory() -> PhysicalMemory:
    """One memory for all cases."""
    return PhysicalMemory(MEMORY)


def one(data: bytes) -> None:
    """What cannot be booted is refused; what can lies in memory, one thing beside the other."""
    choices = Choices(data)
    kind = choices.below(4)
    if kind == 0:
        tree(choices)
        return
    offset = choices.word((0, 0x20_0000, 0x40_0000, MEMORY - 0x20_0000))
    size = choices.word((0, 64, 0x1_0000, MEMORY))
    initrd = bytes(choices.pick((0, 0, 1, 4096, 1 << 20, MEMORY)))
    magic = choices.pick((loader.MAGIC2, loader.MAGIC2, loader.MAGIC2, choices.number(4)))
    head = HEADER.pack(0x6F, 0, offset, size, *(choices.number(1) for _ in range(4)), b"RISCV", magic)
    kernel = head + choices.take(choices.left) if kind < 3 else choices.take(choices.left)
    try:
        where = loader.place(memory(), kernel, initrd, "it")
    except (ImageError, NoMemoryError) as error:
        says_why(error)
        return
    ram = memory()
    pieces = [(where.kernel, kernel)]
    if where.initrd is not None:
        assert where.initrd[1] - where.initrd[0] == len(initrd)
        pieces.append((where.initrd[0], initrd))
    end = ram.base
    for address, content in pieces:
        assert address >= end
        assert ram.contains(address, len(content))
        assert ram.read(address, len(content)) == content
        end = address + len(content)
    assert end <= where.dtb
    assert ram.contains(where.dtb, loader.DTB_MAX)


def tree(choices: Choices) -> None:
    """A device tree: a command line that Linux would not take is refused, any other is in there."""
    append = choices.take(choices.below(1200)).decode(choices.pick(("latin-1", "ascii")), "ignore")
    ram = choices.word((MEMORY,))
    initrd = choices.pick((None, (choices.word(), choices.word())))
    node = Node("test", 0x10_0000, 0x1000, ("test",))
    description = Description(
        ram=0x8000_0000,
        ram_size=ram,
        append=append,
        initrd=initrd,
        seed=choices.take(64).ljust(64, b"\0"),
        plic=node,
        plic_sources=32,
        finisher=Node("finisher", 0x10_1000, 0x1000, ("test",)),
        devices=[],
        firmware=[],
    )
    try:
        blob = devicetree.make(description)
    except BadArgumentError:
        assert not append.isascii() or not append.isprintable() or len(append) > 1023
        return
    found = fdt.parse_dtb(blob)
    if append:
        assert found.get_property("bootargs", "/chosen").value == append
    else:
        assert not found.exist_property("bootargs", "/chosen")
