"""An enclave's memory, as its own loads and stores would reach it: for arguments that are pointers.

Every pointer is hostile.  Access follows the enclave's own page table, which the monitor alone writes, and
asks for the permission that the enclave would need.  What is read is copied once.  What the enclave itself
could not access so is refused (bad argument).
"""

from penglai.abi.layout import ADDRESS_BITS, NAME_BYTES
from penglai.abi.riscv import PAGE_SIZE, Pte
from penglai.machine.memory import PhysicalMemory
from penglai.monitor.pagetable import PageTable
from penglai.monitor.refusal import bad_argument

READABLE, WRITABLE = int(Pte.R), int(Pte.W)
BOTH = READABLE | WRITABLE

CANONICAL = (0, (1 << (65 - ADDRESS_BITS)) - 1)
"""What the upper bits of an Sv39 address are: all bit 38."""


def read(memory: PhysicalMemory, table: PageTable, address: int, size: int) -> bytes:
    """Copy of size bytes at a virtual address.  Raises Refusal."""
    return _copy(memory, table, address, size, READABLE)


def read_writable(memory: PhysicalMemory, table: PageTable, address: int, size: int) -> bytes:
    """`read`, of memory to which the answer will be written.  Raises Refusal unless both would work."""
    return _copy(memory, table, address, size, BOTH)


def write(memory: PhysicalMemory, table: PageTable, address: int, data: bytes) -> None:
    """Write at a virtual address: all of it, or nothing.  Raises Refusal."""
    if 0 < len(data) <= PAGE_SIZE - address % PAGE_SIZE:  # nearly always
        memory.write(_place(table, address, WRITABLE), data)
        return
    done = 0
    for pa, length in _pieces(table, address, len(data), WRITABLE):
        memory.write(pa, data[done : done + length])
        done += length


def check_writable(table: PageTable, address: int, size: int) -> None:
    """Raise Refusal unless `write` of size bytes there would work."""
    _pieces(table, address, size, WRITABLE)


def read_name(memory: PhysicalMemory, table: PageTable, address: int) -> str:
    """A NUL-ended name of at most 15 bytes.  Raises Refusal, also if it has no end."""
    name = b""
    for offset in range(NAME_BYTES):  # byte by byte: what lies behind the NUL may be another page
        byte = read(memory, table, address + offset, 1)
        if byte == b"\0":
            return decode_name(name)
        name += byte
    raise bad_argument(f"the name at {address:#x} has no end")


def decode_name(name: bytes) -> str:
    """Text of a name; equal for equal bytes only: a backslash is two, for one alone stands for a byte."""
    return name.replace(b"\\", b"\\\\").decode("utf-8", "backslashreplace")


def _copy(memory: PhysicalMemory, table: PageTable, address: int, size: int, need: int) -> bytes:
    if 0 < size <= PAGE_SIZE - address % PAGE_SIZE:  # nearly always
        return memory.read(_place(table, address, need), size)
    return b"".join(memory.read(pa, length) for pa, length in _pieces(table, address, size, need))


def _pieces(table: PageTable, address: int, size: int, need: int) -> list[tuple[int, int]]:
    """(physical address, bytes) of each page's part of [address, address + size)."""
    end = address + size
    found = []
    while address < end:
        length = min(PAGE_SIZE - address % PAGE_SIZE, end - address)
        found.append((_place(table, address, need), length))
        address += length
    return found


def _place(table: PageTable, address: int, need: int) -> int:
    if address >> (ADDRESS_BITS - 1) not in CANONICAL:
        raise bad_argument(f"{address:#x} is no Sv39 address")
    pa = table.reach(address, need)
    if pa is None:
        raise bad_argument(f"{address:#x} is not {'writable' if need & WRITABLE else 'readable'}")
    return pa
