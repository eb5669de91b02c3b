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
MOST_VISITS = 60

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
4: li t1, -3
bne a0, t1, 5f
mv a0, s4
5: mv s5, a7
ecall
mv s3, a0
li t1, {EnclaveCall.ACQUIRE_SERVER:d}
bne s5, t1, 1b
mv s4, a0
j 1b
2: {EXIT}
"""
"""Makes each call of a table; an argument -2 is the result of the call before, -3 of the last acquire."""
LAST, HANDLE = (1 << 64) - 2, (1 << 64) - 3

SERVER = "mv s5, a0\nmv s6, a1\nmv s7, a2\n" + answering("s5", "s6", "s7")
"""Gives back what it got."""

CALLS = (
    *EnclaveCall,
    *[EnclaveCall.OCALL] * 10,
    *[EnclaveCall.SHM_ATTACH] * 2,
    EnclaveCall.SPLIT_REGION,
    100,
    0,
)
OCALLS = (*Ocall, *[Ocall.MMAP, Ocall.UNMAP, Ocall.SHM_GET] * 4, 0, 13)
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
Likely = tuple[int, ...]
SIZES = (PAGE_SIZE, PAGE_SIZE, 2 * PAGE_SIZE, PAGE_SIZE, 3 * PAGE_SIZE, 1, 0)
WHERE = (
    layout.MMAP_TOP - PAGE_SIZE,
    LAST,
    layout.MMAP_TOP - PAGE_SIZE,
    layout.MMAP_TOP - 2 * PAGE_SIZE,
    layout.MMAP_TOP - 4 * PAGE_SIZE,
)
BUFFER = (layout.STACK_TOP - 2 * PAGE_SIZE,)
KEYS = (5, 6, LAST)
LIKELY: dict[int, tuple[Likely, ...]] = {
    EnclaveCall.ACQUIRE_SERVER: ((NAME,),),
    EnclaveCall.CALL_SERVER: ((HANDLE, LAST, 1), (ARGUMENT,)),
    EnclaveCall.RETURN: ((ARGUMENT,),),
    EnclaveCall.GET_REPORT: ((NAME, 0), BUFFER, (7,)),
    EnclaveCall.ASYNC_CALL: ((NAME,), (ARGUMENT,)),
    EnclaveCall.SPLIT_REGION: (WHERE, SIZES, WHERE),
    EnclaveCall.GET_KEY: ((0, 1), BUFFER, (16, 32, 64, 0)),
    EnclaveCall.SHM_ATTACH: (KEYS,),
    EnclaveCall.SHM_STAT: (KEYS,),
    EnclaveCall.SET_HANDLER: ((0, 0, 0, 0, 0, 0, layout.TEXT_BASE, layout.TEXT_BASE + 64),),
    EnclaveCall.HANDLER_GO: (BUFFER,),
    EnclaveCall.SET_EVENTS: ((0, 0, layout.TEXT_BASE, layout.TEXT_BASE + 64), (0, 1, 2, 3)),
}
LIKELY_OCALLS: dict[int, tuple[Likely, ...]] = {
    Ocall.MMAP: ((0, *WHERE), SIZES),
    Ocall.UNMAP: (WHERE, SIZES),
    Ocall.SBRK: ((PAGE_SIZE, 4 * PAGE_SIZE, 0, -PAGE_SIZE % (1 << 64), 1 << 22),),
    Ocall.GETRANDOM: (BUFFER, (16, PAGE_SIZE, 0)),
    Ocall.SHM_GET: ((5, 6, 0), SIZES),
    Ocall.SHM_DETACH: (KEYS,),
    Ocall.SHM_DESTROY: (KEYS,),
    Ocall.SHM_EXTEND: (KEYS, SIZES),
}
"""Arguments with which a call may do something."""

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
    fields = [choices.word((0, *ADDRESSES, *WHERE, *SIZES)) if choices.rarely(4) else 0 for _ in range(4)]
    argument = struct.pack("<6Q", choices.word(ADDRESSES), 0, *fields)
    while choices.left and len(rows) < PAGE_SIZE:
        function = choices.number(8) if choices.rarely(32) else choices.pick(CALLS)
        extension = choices.number(4) if choices.rarely(64) else 0x100101
        if function == EnclaveCall.OCALL:
            first = choices.pick(OCALLS)
            likely: tuple[Likely, ...] = ((first,), *LIKELY_OCALLS.get(first, ()))
        else:
            likely = LIKELY.get(function, ())
        if choices.rarely(3):
            likely = likely[:1] if function == EnclaveCall.OCALL else ()
        arguments = [choices.pick(numbers) for numbers in likely]
        arguments += [choices.word(ADDRESSES) for _ in range(4 - len(arguments))]
        rows += struct.pack("<8Q", *arguments, 0, 0, extension, function)
    text = assemble(name_at(NAME, name) + COPY_ARGUMENT + CALL_ALL)
    count = struct.pack("<Q", len(rows) // ROW)
    pages = {
        layout.TEXT_BASE: (RX, text),
        TABLE: (RW, bytes(rows)),
        TABLE + PAGE_SIZE: (RW, argument + count),
    }
    return found.raw.make(ImageSpec(pages, stack_pages=2))
