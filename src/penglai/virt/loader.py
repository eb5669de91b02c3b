"""Putting an operating system into memory: a Linux Image, its initial ramfs, and the device tree.

Source: Linux, Documentation/riscv/boot-image-header.rst and boot.rst.
"""

import mmap
import struct
from typing import NamedTuple

from penglai.abi.errors import ImageError, NoMemoryError
from penglai.abi.riscv import CHUNK_SIZE, PAGE_SIZE
from penglai.machine.memory import PhysicalMemory

HEADER = struct.Struct("<IIQQQIIQ8sI")
"""Two instructions, load offset, size in memory, flags, version, two reserved words, magic, magic2."""
MAGIC2 = 0x05435352
"""`RSC\\x05`"""

DTB_MAX = 1 << 20


class Placement(NamedTuple):
    """Where things lie: physical addresses; initrd: start and end, None if there is none."""

    kernel: int
    initrd: tuple[int, int] | None
    dtb: int


def place(
    memory: PhysicalMemory, kernel: bytes | mmap.mmap, initrd: bytes, what: str, needs: int = 0
) -> Placement:
    """Copy kernel and ramfs into RAM, and find room for the tree.

    what: how messages call the kernel.  needs: bytes that it needs for its work, with these.

    Raises ImageError if it is no RISC-V Linux Image, NoMemoryError if RAM is too small.
    """
    offset, size = _header(kernel, what)
    start = memory.base + offset
    initrd_start = _round_up(start + max(size, len(kernel)), CHUNK_SIZE)
    dtb = _round_up(initrd_start + len(initrd), PAGE_SIZE)
    needed = max(needs, dtb + DTB_MAX - memory.base)
    if memory.size < needed:
        raise NoMemoryError(
            f"the machine has {memory.size >> 20} MiB; kernel and ramfs need {-(-needed >> 20)}: "
            "start it with more memory"
        )
    memory.load(start, kernel)
    memory.load(initrd_start, initrd)
    return Placement(start, (initrd_start, initrd_start + len(initrd)) if initrd else None, dtb)


def _header(kernel: bytes | mmap.mmap, what: str) -> tuple[int, int]:
    """Load offset and size in memory, bytes."""
    if len(kernel) < HEADER.size or HEADER.unpack_from(kernel)[-1] != MAGIC2:
        hint = "; it is compressed: unpack it first" if kernel[:2] == b"\x1f\x8b" else ""
        raise ImageError(f"{what} is no Linux Image for RISC-V{hint}")
    offset, size = HEADER.unpack_from(kernel)[2:4]
    if offset % CHUNK_SIZE:
        raise ImageError(f"{what} wants to lie at offset {offset:#x}, which is not aligned to 2 MiB")
    return offset, size


def _round_up(value: int, to: int) -> int:
    return -(-value // to) * to
