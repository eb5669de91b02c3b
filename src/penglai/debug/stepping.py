"""Where an instruction may lead: what a hart has to stop at to have executed just it.

A step is no feature of the engine's.  It is a run that ends at whatever comes next, which is exact, whatever
the instruction does (docs/engine.md).  Encodings: RISC-V unprivileged specification, "RV32I" and "C".
"""

from collections.abc import Callable, Sequence

WORD = (1 << 64) - 1
LONGEST_SEQUENCE = 16
"""Instructions from a load-reserved to its store-conditional, which the specification promises to succeed."""

JAL, JALR, BRANCH, ATOMIC = 0x6F, 0x67, 0x63, 0x2F
LOAD_RESERVED, STORE_CONDITIONAL = 2, 3

Fetch = Callable[[int], int | None]
"""The halfword at an address, or None if there is none."""


def after(fetch: Fetch, pc: int, x: Sequence[int]) -> set[int]:
    """The addresses at one of which execution is after the instruction at pc.  x: the integer registers.

    A load-reserved goes together with what follows to its store-conditional: stopping between them would
    make that fail for ever.  Nothing if the instruction cannot be fetched.
    """
    instruction = read(fetch, pc)
    if instruction is None:
        return set()
    if atomic_kind(instruction) == LOAD_RESERVED:
        return _after_sequence(fetch, pc, x)
    return _next(instruction, pc, x)


def read(fetch: Fetch, pc: int) -> int | None:
    """The instruction at pc, of 16 or 32 bits."""
    low = fetch(pc)
    if low is None or low & 3 != 3:
        return low
    high = fetch(pc + 2)
    return None if high is None else high << 16 | low


def size(instruction: int) -> int:
    """Bytes of an instruction."""
    return 4 if instruction & 3 == 3 else 2


def atomic_kind(instruction: int) -> int | None:
    """Which atomic instruction it is, None if it is none."""
    return instruction >> 27 if instruction & 0x7F == ATOMIC else None


def _after_sequence(fetch: Fetch, start: int, x: Sequence[int]) -> set[int]:
    """All ways out of a load-reserved and what follows up to the store-conditional."""
    ways: set[int] = set()
    pc = start
    for _ in range(LONGEST_SEQUENCE):
        instruction = read(fetch, pc)
        if instruction is None:
            break
        ways |= _next(instruction, pc, x)
        pc += size(instruction)
        if atomic_kind(instruction) == STORE_CONDITIONAL:
            return {way for way in ways if not start <= way < pc}
    first = read(fetch, start)
    return set() if first is None else {start + size(first)}


def _next(instruction: int, pc: int, x: Sequence[int]) -> set[int]:
    following = pc + size(instruction) & WORD
    if instruction & 3 != 3:
        return _next_compressed(instruction, pc, following, x)
    opcode = instruction & 0x7F
    if opcode == JAL:
        return {pc + _jal_offset(instruction) & WORD}
    if opcode == JALR:
        offset = _signed(instruction >> 20, 12)
        return {_register(x, instruction >> 15 & 31) + offset & WORD & ~1}
    if opcode == BRANCH:
        return {following, pc + _branch_offset(instruction) & WORD}
    return {following}


def _next_compressed(instruction: int, pc: int, following: int, x: Sequence[int]) -> set[int]:
    quadrant, kind = instruction & 3, instruction >> 13
    if quadrant == 1 and kind == 5:  # c.j
        return {pc + _compressed_jump(instruction) & WORD}
    if quadrant == 1 and kind in (6, 7):  # c.beqz, c.bnez
        return {following, pc + _compressed_branch(instruction) & WORD}
    register = instruction >> 7 & 31
    if quadrant == 2 and kind == 4 and register and not instruction >> 2 & 31:  # c.jr, c.jalr
        return {_register(x, register) & ~1}
    return {following}


def _register(x: Sequence[int], number: int) -> int:
    return x[number] if number else 0


def _bits(value: int, *fields: tuple[int, int, int]) -> int:
    """An immediate that is put together of fields: (lowest bit, how many, where they go)."""
    return sum((value >> low & (1 << count) - 1) << to for low, count, to in fields)


def _signed(value: int, bits: int) -> int:
    value &= (1 << bits) - 1
    return value - (1 << bits) if value >> bits - 1 else value


def _jal_offset(instruction: int) -> int:
    return _signed(_bits(instruction, (21, 10, 1), (20, 1, 11), (12, 8, 12), (31, 1, 20)), 21)


def _branch_offset(instruction: int) -> int:
    return _signed(_bits(instruction, (8, 4, 1), (25, 6, 5), (7, 1, 11), (31, 1, 12)), 13)


def _compressed_jump(instruction: int) -> int:
    low = ((3, 3, 1), (11, 1, 4), (2, 1, 5), (7, 1, 6), (6, 1, 7))
    return _signed(_bits(instruction, *low, (9, 2, 8), (8, 1, 10), (12, 1, 11)), 12)


def _compressed_branch(instruction: int) -> int:
    return _signed(_bits(instruction, (3, 2, 1), (10, 2, 3), (2, 1, 5), (5, 2, 6), (12, 1, 8)), 9)
