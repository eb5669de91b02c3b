"""Copies of what an enclave is doing, taken while it is on no hart, or by its hart."""

from penglai.abi.riscv import PAGE_SIZE, Pte
from penglai.debug.stack import SP, Snapshot, Stack
from penglai.machine.memory import PhysicalMemory
from penglai.monitor.enclave import Enclave

ANY = int(Pte.V)


def snapshot(memory: PhysicalMemory, enclave: Enclave, most: int) -> Snapshot:
    """Registers and stack.  most: bytes of the stack, from the stack pointer on."""
    context = enclave.context
    registers = tuple(context.x)
    made_from = enclave.template or enclave
    label = f"enclave {enclave.eid} {enclave.name}".rstrip()
    stack = _copy(memory, enclave, registers[SP], most)
    return Snapshot(label, made_from.eid, context.pc, registers, stack)


def _copy(memory: PhysicalMemory, enclave: Enclave, start: int, most: int) -> Stack:
    """A stack from an address on, or from where it begins: the pointer of one that was too small is below."""
    parts: list[bytes] = []
    first, at, end = start, start, min(start + most, 1 << 64)
    while at < end:
        place = enclave.table.reach(at, ANY)
        size = min(PAGE_SIZE - at % PAGE_SIZE, end - at)
        if place is not None:
            parts.append(memory.read(place, size))
        elif parts:
            break
        else:
            first = at + size
        at += size
    return Stack(first, b"".join(parts))
