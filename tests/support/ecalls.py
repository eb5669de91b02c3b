"""Enclaves that make calls with whatever numbers they are given, and hosts that let them run."""

import itertools
import random

from penglai.abi import layout
from penglai.abi.ecall import EnclaveCall, Ocall
from penglai.abi.riscv import CHUNK_SIZE, PAGE_SIZE, RAM_BASE
from penglai.abi.sbi import RunValue
from penglai.machine import HostPort
from tests.support.rawhost import EXIT, RW, ImageSpec, RawHost, program

WORD = 1 << 64
TABLE = 0x10000
"""Where the program below has its rows: a7, a0 to a3."""
ROW = 40

CALL_ALL = f"""
li s0, {TABLE}
ld s1, 0(s0)
addi s0, s0, 8
1: beqz s1, 2f
ld a7, 0(s0)
ld a0, 8(s0)
ld a1, 16(s0)
ld a2, 24(s0)
ld a3, 32(s0)
addi s0, s0, {ROW}
addi s1, s1, -1
li a6, 0x100101
ecall
j 1b
2: {EXIT}
"""

ADDRESSES = [
    0,
    1,
    8,
    layout.TEXT_BASE,
    layout.TEXT_BASE + 3,
    TABLE,
    TABLE + 5,
    layout.HEAP_BASE,
    layout.MMAP_TOP - PAGE_SIZE,
    layout.MMAP_TOP,
    layout.STACK_TOP - PAGE_SIZE,
    layout.STACK_TOP - 8,
    layout.STACK_TOP,
    layout.SHARED_BASE,
    layout.KERNEL_BUFFER,
    layout.KERNEL_BUFFER + PAGE_SIZE - 4,
    layout.KERNEL_BUFFER - 8,
    RAM_BASE,
    RAM_BASE + (16 << 20) - PAGE_SIZE,
    1 << 38,
    1 << 39,
    1 << 63,
    WORD - PAGE_SIZE,
    WORD - 8,
    WORD - 1,
]
SIZES = [
    0,
    1,
    7,
    32,
    PAGE_SIZE,
    PAGE_SIZE + 1,
    2 * PAGE_SIZE,
    CHUNK_SIZE,
    1 << 40,
    1 << 63,
    WORD - PAGE_SIZE,
    WORD - 1,
]
NUMBERS = [*ADDRESSES, *SIZES]

ENDLESS = (EnclaveCall.EXIT,)


def rows_of(seed: int, count: int) -> list[tuple[int, int, int, int, int]]:
    """Calls with random bad numbers; each function and ocall often, in random order."""
    chance = random.Random(seed)
    functions = [function for function in EnclaveCall if function not in ENDLESS] + [0, 50, 100, WORD - 1]
    rows = []
    for _ in range(count):
        function = chance.choice([*functions, *([EnclaveCall.OCALL] * len(Ocall))])
        first = (
            chance.choice([*Ocall, 0, 13, WORD - 1])
            if function == EnclaveCall.OCALL
            else chance.choice(NUMBERS)
        )
        rows.append((int(function), int(first), *(chance.choice(NUMBERS) for _ in range(3))))
    return rows


def attacker(rows: list[tuple[int, ...]]) -> ImageSpec:
    table = b"".join(word.to_bytes(8, "little") for word in (len(rows), *itertools.chain(*rows)))
    spec = program(CALL_ALL)
    for start in range(0, len(table), PAGE_SIZE):
        spec.pages[TABLE + start] = (RW, table[start : start + PAGE_SIZE])
    return spec


def run_to_its_end(raw: RawHost, port: HostPort, eid: int) -> None:
    """Run an enclave, refusing whatever it asks of the host."""
    raw.start(eid)
    result = raw.enter(eid, port)
    while result.value in (RunValue.OCALL, RunValue.YIELD, RunValue.TIMER):
        assert result.error == 0
        if result.value == RunValue.OCALL:
            result = raw.answer(eid, raw.word(0), port=port)
        else:
            result = raw.enter(eid, port)
    assert result.value in (RunValue.ENDED, RunValue.FAULTED)
