"""An enclave that reads, writes, calls and executes what it may not."""

import itertools
import struct

from penglai.abi import layout
from penglai.abi.firmware import Extension
from penglai.abi.riscv import PAGE_SIZE, RAM_BASE, Cause
from penglai.abi.sbi import HostCall, RunValue
from tests.attack.tally import Effort, Tally
from tests.attack.town import Town
from tests.support.rawhost import EXIT, RW, RX, ImageSpec, assemble

TITLE = "hostile enclave: memory, jumps, CSRs, privileged and random instructions"

ACCESSES = {
    "ld": "ld t1, 0(t0)",
    "lbu": "lbu t1, 0(t0)",
    "fld": "fld f1, 0(t0)",
    "c.ld": "mv a0, t0\nc.ld a1, 0(a0)",
    "sd": "sd t1, 0(t0)",
    "sb": "sb t1, 0(t0)",
    "fsw": "fsw f1, 0(t0)",
    "lr": "lr.d t1, (t0)",
    "sc": "sc.d t1, t1, (t0)",
    "amo": "amoswap.d t1, t1, (t0)",
    "across": "addi t0, t0, -4\nld t1, 0(t0)",
    "jump": "jr t0",
    "call": "jalr t0",
}
JUMPS = ("jump", "call")
USER_CSRS = (*range(1, 4), *range(0xC00, 0xC20))
ILLEGAL = (RunValue.FAULTED, Cause.ILLEGAL_INSTRUCTION)

INSTRUCTIONS = {
    "mret": 0x30200073,
    "sret": 0x10200073,
    "uret": 0x00200073,
    "dret": 0x7B200073,
    "wfi": 0x10500073,
    "mnret": 0x70200073,
    "sfence.vma": 0x12000073,
    "sfence.vma a0": 0x12050073,
    "hfence.vvma": 0x22000073,
    "hlv.d": 0x6C0542F3,
    "hsv.d": 0x6E55C073,
    "hlvx.wu": 0x683542F3,
    "sinval.vma": 0x16000073,
    "all ones": 0xFFFFFFFF,
    "all zeros": 0,
    "cbo.zero": 0x0045200F,
    "custom-0": 0x0000000B,
}

OPCODES = [0x03, 0x07, 0x0F, 0x13, 0x17, 0x1B, 0x23, 0x27, 0x2F, 0x33, 0x37, 0x3B]
OPCODES += [0x43, 0x47, 0x4B, 0x4F, 0x53, 0x57, 0x63, 0x67, 0x6F, 0x73, 0x0B, 0x2B, 0x5B, 0x7B]

SLICE = 20_000
"""Ticks of 100 ns after which random code is preempted."""

CODE, DATA, READ_ONLY = 0x1000, 0x8000, 0x9000

LOAD_ALL = f"li x4, {DATA}\n" + "".join(f"ld x{number}, {8 * number}(x4)\n" for number in range(5, 32))
VALUES = [DATA, DATA + PAGE_SIZE - 4, CODE, RAM_BASE, 0, 1, (1 << 64) - 1, layout.KERNEL_BUFFER, 0x100101, 98]


def attack(effort: Effort) -> Tally:
    """Each enclave does one thing, and the town is as it was."""
    tally = Tally()
    town = Town()
    for part in (memory, csrs, instructions, self_modifying, random_code):
        before = tally.tried
        part(tally, town, effort)
        tally.notes.append(f"{part.__name__} {tally.tried - before:,}")
    with tally.case("the victims, afterwards"):
        town.back_to_the_start()
    town.close()
    return tally


def outcome(
    town: Town, code: bytes | str, pages: dict[int, tuple[int, bytes]] | None = None
) -> tuple[int, int]:
    """Run code in an enclave: (RunValue, cause of the fault or 0).  It is gone afterwards."""
    raw = town.raw
    raw.rewind_to(town.free_from)
    text = assemble(code) if isinstance(code, str) else code
    eid = raw.make(ImageSpec({CODE: (RX, text.ljust(8, b"\0")), **(pages or {})}))
    raw.start(eid)
    result = raw.enter(eid, town.ports[0])
    assert result.error == 0
    if result.value not in (RunValue.ENDED, RunValue.FAULTED):
        assert raw.call(HostCall.DESTROY, eid).error == 0
    return result.value, raw.word(1) if result.value == RunValue.FAULTED else 0


def memory(tally: Tally, town: Town, effort: Effort) -> None:
    """Every kind of access to every place where an enclave has nothing."""
    physical = [*town.hostile_addresses().values(), RAM_BASE, RAM_BASE + 0x1000]
    places = [0, CODE - 8, CODE + PAGE_SIZE, layout.HEAP_BASE, layout.HEAP_BASE - 8, layout.MMAP_TOP - 8]
    places += [layout.MMAP_TOP, layout.STACK_TOP - 3 * PAGE_SIZE, layout.STACK_TOP, layout.RELAY_BASE]
    places += [layout.SHARED_BASE, layout.KERNEL_BUFFER - 8, layout.KERNEL_BUFFER + PAGE_SIZE]
    places += [1 << 38, (1 << 38) - 8, 1 << 39, 1 << 47, 1 << 63, (1 << 64) - 8, (1 << 64) - (1 << 38) - 8]
    places += [layout.KERNEL_BUFFER % (1 << 39), layout.KERNEL_BUFFER & ~(1 << 62), 0x8000_0000_0000_1000]
    cases = list(itertools.product(ACCESSES.items(), dict.fromkeys([*places, *physical])))
    for (name, text), place in effort.some(cases, 400):
        with tally.case((name, hex(place))):
            where = {DATA: (int(RW), place.to_bytes(8, "little"))}
            value, cause = outcome(town, f"li t0, {DATA}\nld t0, 0(t0)\n{text}\n{EXIT}", where)
            # A store-conditional without a reservation may fail before it looks at its address.
            assert value == RunValue.FAULTED or name == "sc", RunValue(value)
            assert cause != Cause.ILLEGAL_INSTRUCTION or name in JUMPS
    town.back_to_the_start()


def csrs(tally: Tally, town: Town, effort: Effort) -> None:
    """Every CSR that is not a user's is out of reach, to read and to write."""
    forms = {"csrrs t0, x0": 0x000022F3, "csrrw t0, t1": 0x000312F3, "csrrwi t0, 1": 0x0000D2F3}
    forms |= {"csrrc t0, t1": 0x000332F3}
    privileged = [number for number in range(4096) if number not in USER_CSRS]
    cases = list(itertools.product(privileged, forms.items()))
    known = [
        *range(0x100, 0x107),
        0x140,
        0x141,
        0x142,
        0x143,
        0x144,
        0x180,
        *range(0x300, 0x307),
        0x340,
        0x344,
    ]
    known += [0x3A0, 0x3B0, 0x7A0, 0x7B0, 0xB00, 0xF11, 0xF14, 0x5A8, 0x600, 0x680, 0x800, 0x015, 0x000]
    some = [*itertools.product(known, forms.items()), *effort.some(cases, 200)]
    for number, (name, word) in some if effort.long else some[:: max(1, round(1 / effort.scale))]:
        with tally.case((name, hex(number))):
            code = (word | number << 20).to_bytes(4, "little")
            assert outcome(town, code + assemble(EXIT)) == ILLEGAL
    for number in (0xC00, 0xC01, 0xC02):
        with tally.case(("writing a counter", hex(number))):
            assert outcome(town, (0x000312F3 | number << 20).to_bytes(4, "little")) == ILLEGAL
    town.back_to_the_start()


def instructions(tally: Tally, town: Town, effort: Effort) -> None:
    """Privileged instructions, and ecalls that are not Penglai's."""
    for name, word in INSTRUCTIONS.items():
        with tally.case(name):
            assert outcome(town, word.to_bytes(4, "little") + assemble(EXIT)) == ILLEGAL
    for number in (0, 0x100100, 0x100102, 0x10, 0x53525354, (1 << 64) - 1):
        with tally.case(("ecall", hex(number))):
            text = f"li a6, {number}\nli a7, {number}\necall\n{EXIT}"
            assert outcome(town, text) == (RunValue.FAULTED, Cause.ECALL_U)
    with tally.case("ebreak"):
        assert outcome(town, "ebreak") == (RunValue.FAULTED, Cause.BREAKPOINT)
    town.back_to_the_start()


def self_modifying(tally: Tally, town: Town, effort: Effort) -> None:
    """Code cannot be written, and what can be written is no code."""
    exits = int.from_bytes(assemble("nop\nnop"), "little")
    store = [f"li t0, {CODE + offset}\nli t1, {exits}\nsd t1, 0(t0)\n{EXIT}" for offset in (0, 8, 0xFF8)]
    store += [
        f"la t0, 1f\nli t1, {exits}\nsw t1, 0(t0)\n1: {EXIT}",
        f"li t0, {CODE}\namoor.w t1, t1, (t0)\n{EXIT}",
    ]
    for text in store:
        with tally.case(("store to code", text)):
            assert outcome(town, text) == (RunValue.FAULTED, Cause.STORE_PAGE_FAULT)
    own = {"data": f"li t0, {DATA}", "stack": "addi t0, sp, -64", "read-only data": f"li t0, {READ_ONLY}"}
    own |= {"kernel buffer": f"li t0, {layout.KERNEL_BUFFER}"}
    own |= {
        "heap": f"li a0, 4\nli a1, {PAGE_SIZE}\nli a6, 0x100101\nli a7, 98\necall\nli t0, {layout.HEAP_BASE}"
    }
    own |= {"mmap": f"li a0, 1\nli a1, 0\nli a2, {PAGE_SIZE}\nli a6, 0x100101\nli a7, 98\necall\nmv t0, a0"}
    for name, text in own.items():
        with tally.case(("jump into", name)):
            write = "" if name == "read-only data" else "li t1, 0x00100073\nsw t1, 0(t0)\n"
            pages = {DATA: (RW, b"\x13\0\0\0"), READ_ONLY: (int(RW) & 2, b"\x13\0\0\0")}
            assert outcome(town, f"{text}\n{write}jr t0", pages) == (RunValue.FAULTED, Cause.FETCH_PAGE_FAULT)
    town.back_to_the_start()


def random_code(tally: Tally, town: Town, effort: Effort) -> None:
    """Whatever it consists of, an enclave ends, asks the host for something, or is preempted."""
    chance = effort.random("code")
    port = town.ports[0]
    for number in range(effort.count(1000, 100_000)):
        with tally.case(("random code", number)):
            words = [chance.getrandbits(25) << 7 | chance.choice(OPCODES) for _ in range(24)]
            words += [chance.getrandbits(32) for _ in range(4)]
            chance.shuffle(words)
            registers = struct.pack("<32Q", *(chance.choice(VALUES) for _ in range(32)))
            port.ecall(Extension.TIME, 0, port.time() + SLICE)
            value, _ = outcome(
                town, assemble(LOAD_ALL) + struct.pack("<28I", *words), {DATA: (int(RW), registers)}
            )
            assert value in tuple(RunValue)
        if number % 50 == 0:
            town.back_to_the_start()
