"""From what was copied of a fault, and the program, to what people read."""

from collections.abc import Iterator

from penglai.abi.riscv import PAGE_SIZE
from penglai.debug.stack import Snapshot
from penglai.debug.symbols import Place, Program
from penglai.debug.unwind import walk
from penglai.driver.fault import Frame

UNKNOWN = Place("", "", 0)


def frames(seen: Snapshot, image: bytes | None) -> Iterator[Frame]:
    """The calls of one enclave of a chain, the innermost first; only where it was if there is no program."""
    if image is None:
        yield Frame(seen.label, seen.pc, *UNKNOWN)
    else:
        yield from frames_in(seen, Program(image))


def frames_in(seen: Snapshot, program: Program) -> Iterator[Frame]:
    """The same of a program that is open."""
    for depth, call in enumerate(walk(program, seen.pc, seen.registers, seen.stack)):
        # what a call returns to may be another line
        for place in program.places(call.pc - (depth > 0)) or [UNKNOWN]:
            yield Frame(seen.label, call.pc, *place, call.exact)


def variable(image: bytes | None, address: int) -> str:
    """Which variable of a program an address is in, or shortly behind; empty if there is none."""
    found = Program(image).object(address) if image else None
    if found is None or address - found.address > found.size + PAGE_SIZE:
        return ""
    return f"{address - found.address} bytes from the beginning of {found.name}, which has {found.size}"
