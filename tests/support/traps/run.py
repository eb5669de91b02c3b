"""The program that runs the cases, and the three machines that it runs on."""

import shutil
import struct
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

from penglai.abi.riscv import PAGE_SIZE
from penglai.machine import Board, Clock, Context, PhysicalMemory
from penglai.machine.supervisor import Exit, Supervisor
from tests.support.bare import assemble
from tests.support.traps import forms, layout
from tests.support.traps.cases import MAX_POKES, PATTERN, WORDS, Case, records
from tests.support.traps.layout import FRAME_A, FRAME_B, RAM_BASE, SLOT_A, SLOT_B
from tests.support.waiting import PATIENCE

QEMU = "qemu-system-riscv64"
VERSION = "7.2"
"""Of the QEMU whose traps are kept; others differ from it where the architecture leaves a choice."""

CPU = "rv64,zba=off,zbb=off,zbc=off,zbs=off,h=off,sstc=off,Zihintpause=off"
"""The extensions that the harts here have, and no others."""

WINDOW = ((FRAME_A + PAGE_SIZE - 16) >> 3, (FRAME_A + PAGE_SIZE - 8) >> 3, FRAME_B >> 3, (FRAME_B + 8) >> 3)
"""The words around the place where A meets B, in words of 8 bytes; each case begins with PATTERN in them."""
RESULT = struct.Struct("<11Q")
"""cause, epc, tval, a1, fa1, the window, the entries of A and B."""

OVER = 0xE0F
"""The call by which the program in S-mode says that it is done; the cases' own calls get an answer."""

_SET_UP = {
    "m": """
    li t0, -1
    csrw pmpaddr0, t0
    li t0, 0x1f
    csrw pmpcfg0, t0
    li t0, 7
    csrw mcounteren, t0
""",
    "s": "",
}
_END = {
    "m": "li t0, 0x100000\nli t1, 0x5555\nsw t1, 0(t0)\n1: j 1b\n",
    "s": f"li a7, {OVER}\necall\n",
}
_PROGRAM = """
    la t0, trap
    csrw {p}tvec, t0
    {set_up}
    li t0, 7
    csrw scounteren, t0
    li s0, {records}
    li s1, {results}
    li s2, {end}
    li s3, {pattern}
    li s4, {window_a}
    li s5, {window_b}
    li s6, {slots}
    li s7, 0x6000
next:
    sd s3, 0(s4)
    sd s3, 8(s4)
    sd s3, 0(s5)
    sd s3, 8(s5)
    {pokes}
    fence.i
    csrs {p}status, s7
    fmv.d.x fa1, s3
    csrw fcsr, x0
    ld t0, 0(s0)
    csrw satp, t0
    sfence.vma
    ld t0, 8(s0)
    csrw {p}status, t0
    ld t0, 16(s0)
    csrw {p}epc, t0
    ld a0, 24(s0)
    ld sp, 32(s0)
    mv a1, s3
    {p}ret
.p2align 2
trap:
    csrr t0, {p}cause
    sd t0, 0(s1)
    csrr t0, {p}epc
    sd t0, 8(s1)
    csrr t0, {p}tval
    sd t0, 16(s1)
    sd a1, 24(s1)
    csrs {p}status, s7
    fmv.x.d t0, fa1
    sd t0, 32(s1)
    ld t0, 0(s4)
    sd t0, 40(s1)
    ld t0, 8(s4)
    sd t0, 48(s1)
    ld t0, 0(s5)
    sd t0, 56(s1)
    ld t0, 8(s5)
    sd t0, 64(s1)
    ld t0, 0(s6)
    sd t0, 72(s1)
    ld t0, 8(s6)
    sd t0, 80(s1)
    addi s0, s0, {record_bytes}
    addi s1, s1, {result_bytes}
    bne s0, s2, next
    {finish}
"""


def program(count: int, letter: str) -> bytes:
    """The program for this many cases.  letter: m or s, its own privilege."""
    pokes = "".join(
        f"ld t1, {48 + 16 * n}(s0)\nld t2, {56 + 16 * n}(s0)\nsd t2, 0(t1)\n" for n in range(MAX_POKES)
    )
    return assemble(
        _PROGRAM.format(
            p=letter,
            set_up=_SET_UP[letter],
            finish=_END[letter],
            records=layout.RECORDS,
            results=layout.RESULTS,
            end=layout.RECORDS + count * WORDS * 8,
            pattern=PATTERN,
            window_a=WINDOW[0] << 3,
            window_b=WINDOW[2] << 3,
            slots=SLOT_A,
            pokes=pokes,
            record_bytes=WORDS * 8,
            result_bytes=RESULT.size,
        )
    )


def _pieces(cases: tuple[Case, ...], letter: str) -> dict[int, bytes]:
    found = {layout.HARNESS: program(len(cases), letter), layout.CODE: forms.code()}
    found |= {layout.TABLES: layout.tables(), layout.RECORDS: records(cases, letter == "m")}
    assert layout.RECORDS + len(found[layout.RECORDS]) <= layout.RESULTS
    assert layout.RESULTS + len(cases) * RESULT.size <= RAM_BASE + layout.MEMORY
    return found


Result = tuple[int, ...]


def qemu_is_there() -> bool:
    """True if this system has that QEMU."""
    if not shutil.which(QEMU):
        return False
    shown = subprocess.run([QEMU, "--version"], capture_output=True, text=True, check=True)
    return f"version {VERSION}." in shown.stdout


def on_qemu(cases: tuple[Case, ...]) -> list[Result]:
    """The results of all cases, by a program in M-mode on QEMU's board."""
    pieces = _pieces(cases, "m")
    image = bytearray(max(pieces) + len(pieces[max(pieces)]) - RAM_BASE)
    for address, data in pieces.items():
        image[address - RAM_BASE : address - RAM_BASE + len(data)] = data
    with tempfile.TemporaryDirectory() as directory:
        bios, memory = Path(directory, "bios"), Path(directory, "memory")
        bios.write_bytes(image)
        size = layout.MEMORY >> 20
        backend = f"memory-backend-file,id=ram,size={size}M,mem-path={memory},share=on"
        command = [QEMU, "-M", "virt,memory-backend=ram", "-m", f"{size}M", "-object", backend, "-cpu", CPU]
        command += ["-bios", str(bios), "-nographic", "-monitor", "none", "-serial", "none", "-nodefaults"]
        subprocess.run(command, check=True, timeout=PATIENCE, stdin=subprocess.DEVNULL)
        with memory.open("rb") as file:
            file.seek(layout.RESULTS - RAM_BASE)
            return list(RESULT.iter_unpack(file.read(len(cases) * RESULT.size)))


def on_supervisor(cases: tuple[Case, ...]) -> list[Result]:
    """The results of cases of U-mode and S-mode, by the same program in S-mode on the hart of a host."""
    memory = PhysicalMemory(layout.MEMORY)
    try:
        for address, data in _pieces(cases, "s").items():
            memory.write(address, data)
        hart = Supervisor(memory, Clock(), layout.HARNESS)
        while (reason := hart.run()) is Exit.DEVICE or hart.exit.a[7] != OVER:
            if reason is Exit.DEVICE:
                hart.no_device()
        return list(RESULT.iter_unpack(memory.read(layout.RESULTS, len(cases) * RESULT.size)))
    finally:
        del hart
        memory.close()


def on_hart(cases: tuple[Case, ...], blocks: int = 1000) -> Iterator[Result]:
    """The results of cases, one context after the other on a hart of enclaves."""
    board = Board(layout.MEMORY, 1)
    memory, hart = board.memory, board.harts[0]
    for address, data in _pieces((), "m").items():
        memory.write(address, data)
    words = memory.words.reshape(-1)
    window = [number - (RAM_BASE >> 3) for number in WINDOW]
    slots = [(slot - RAM_BASE) >> 3 for slot in (SLOT_A, SLOT_B)]
    for case in cases:
        words[window] = PATTERN
        fields = struct.unpack(f"<{WORDS}Q", records((case,), machine_mode=True))
        for address, value in zip(fields[6::2], fields[7::2], strict=True):
            words[(address - RAM_BASE) >> 3] = value
        hart.flush_tlb()
        for frame in (FRAME_A, FRAME_B):
            hart.invalidate(frame, frame + PAGE_SIZE)
        context = Context(pc=case.pc, satp=fields[0], priv=case.way.privilege)
        context.x[2] = context.x[10] = case.base
        context.x[11] = context.f[11] = PATTERN
        trap = hart.run(context, blocks=blocks)
        yield (*trap, context.x[11], context.f[11], *map(int, words[window]), *map(int, words[slots]))
    board.power_off()
