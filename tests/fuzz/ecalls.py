"""Calls of a hostile enclave: any number, any registers; servers and callers of it live meanwhile."""

import struct

from penglai.abi import layout
from penglai.abi.ecall import EnclaveCall, Ocall
from penglai.abi.riscv import PAGE_SIZE, RAM_BASE
from penglai.abi.sbi import HostCall, RunValue
from tests.fuzz import world
from tests.fuzz.choices import Choices
from tests.fuzz.world import World, case
from tests.support.rawhost import EXIT, RW, RX, ImageSpec, answering, assemble, name_at

TITLE = "an enclave's calls, with any registers"
fresh = world.fresh

TABLE = 0x10000
ROW = 64
MOST_VISITS = 400

CALL_ALL = f"""
li s0, {TABLE}
li s1, {TABLE + PAGE_SIZE}
ld s1, 48(s1)
1: beqz s1, 2f
ld a0, 0(s0)
ld a1, 8(s0)
ld a2, 16(s0)
ld a3, 24(s0)
ld a4, 32(s0)
ld a6, 48(s0)
ld a7, 56(s0)
addi s0, s0, {ROW}
addi s1, s1, -1
li t1, -2
bne a0, t1, 3f
mv a0, s3
3: bne a1, t1, 4f
mv a1, s3
4: ecall
mv s3, a0
j 1b
2: {EXIT}
"""
"""Makes each call of a table; an argument -2 is the result of the call before."""
LAST = (1 << 64) - 2

SERVER = "mv s5, a0\nmv s6, a1\nmv s7, a2\n" + answering("s5", "s6", "s7")
"""Gives back what it got."""

CALLS = (*EnclaveCall, 1, 2, 3, 100, 0)
OCALLS = (*Ocall, 0, 13)
NAME = layout.STACK_TOP - 256
ARGUMENT = layout.STACK_TOP - 512
COPY_ARGUMENT = f"li t1, {TABLE + PAGE_SIZE}\nli t2, {ARGUMENT}\n" + "".join(
    f"ld t0, {8 * n}(t1)\nsd t0, {8 * n}(t2)\n" for n in range(6)
)
"""The call_arg goes to the stack."""

ADDRESSES = (
    *(NAME, ARGUMENT, ARGUMENT + 48, TABLE, TABLE + PAGE_SIZE - 8, layout.TEXT_BASE, layout.HEAP_BASE),
    *(layout.HEAP_BASE + PAGE_SIZE, layout.MMAP_TOP - PAGE_SIZE, layout.MMAP_TOP - 2 * PAGE_SIZE),
    *(layout.STACK_TOP, layout.STACK_TOP - 8, layout.SHARED_BASE, layout.KERNEL_BUFFER, RAM_BASE),
    *(0, 1, 2, 3, 4, 5, 7, 8, PAGE_SIZE, 2 * PAGE_SIZE, 16 * PAGE_SIZE, -PAGE_SIZE % (1 << 64), LAST),
)
NAMES = ("server", "raw", "other", "me", "")


def one(data: bytes) -> None:
    """Every call has a result, or is the enclave's end; the monitor and the others live on."""
    choices = Choices(data)
    with case() as found:
        raw = found.raw
        raw.make_server("server", SERVER)
        eid = build(found, choices)
        found.tick()
        result = raw.call(HostCall.RUN, eid, raw.run_param(), port=found.port)
        for _ in range(MOST_VISITS):
            assert result.error == 0, result
            if result.value in (RunValue.ENDED, RunValue.FAULTED):
                return
            found.tick()
            result = (
                serve(found, choices, eid) if result.value == RunValue.OCALL else raw.enter(eid, found.port)
            )


def serve(found: World, choices: Choices, eid: int) -> object:
    """Answer the ocall, well or badly."""
    raw = found.raw
    ocall = raw.word(0)
    if ocall == Ocall.RETURN_RELAY and choices.below(2):
        return raw.call(HostCall.RESUME, eid, 2, ocall, raw.page(), PAGE_SIZE, port=found.port)
    return raw.answer(
        eid, ocall, 0 if ocall in (Ocall.SBRK, Ocall.RETURN_RELAY) else choices.below(2), found.port
    )


def build(found: World, choices: Choices) -> int:
    """An enclave whose rows and whose call_arg are the data's."""
    rows = bytearray()
    name = choices.pick(NAMES)
    argument = struct.pack("<6Q", *(choices.word(ADDRESSES) for _ in range(6)))
    while choices.left and len(rows) < PAGE_SIZE:
        function = choices.pick(CALLS) if choices.below(16) else choices.number(8)
        extension = 0x100101 if choices.below(16) else choices.number(4)
        first = choices.pick(OCALLS) if function == EnclaveCall.OCALL else choices.word(ADDRESSES)
        arguments = (first, *(choices.word(ADDRESSES) for _ in range(3)))
        rows += struct.pack("<8Q", *arguments, 0, 0, extension, function)
    text = assemble(name_at(NAME, name) + COPY_ARGUMENT + CALL_ALL)
    count = struct.pack("<Q", len(rows) // ROW)
    pages = {
        layout.TEXT_BASE: (RX, text),
        TABLE: (RW, bytes(rows)),
        TABLE + PAGE_SIZE: (RW, argument + count),
    }
    return found.raw.make(ImageSpec(pages, stack_pages=2))
