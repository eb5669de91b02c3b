"""Every form of access to memory of RV64GC, and other instructions that trap.

Each is put into a slot of its own on a page of code, followed by ebreak: who gets there has not trapped.
"""

import functools
from dataclasses import dataclass

from tests.support.bare import assemble

SLOT = 32
"""Bytes of a slot."""

BASE = "a0"
"""The register of the address; compressed forms by the stack pointer use sp."""


@dataclass(frozen=True)
class Form:
    """An instruction, or a few.

    text: assembler.  offset: of the access from the base register.  size: bytes of the access, 0 if none.
    """

    name: str
    text: str
    offset: int = 0
    size: int = 0


def _plain() -> list[Form]:
    found = []
    for name, size in (("lb", 1), ("lbu", 1), ("lh", 2), ("lhu", 2), ("lw", 4), ("lwu", 4), ("ld", 8)):
        found.append(Form(name, f"{name} a1, -5({BASE})", -5, size))
    for name, size in (("sb", 1), ("sh", 2), ("sw", 4), ("sd", 8)):
        found.append(Form(name, f"{name} a1, 2047({BASE})", 2047, size))
    for name, size in (("flw", 4), ("fld", 8), ("fsw", 4), ("fsd", 8)):
        found.append(Form(name, f"{name} fa1, -2048({BASE})", -2048, size))
    return found


def _compressed() -> list[Form]:
    found = []
    forms = (("lw", "a1", 4, 124), ("ld", "a1", 8, 200), ("fld", "fa1", 8, 248))
    forms += (("sw", "a1", 4, 68), ("sd", "a1", 8, 136), ("fsd", "fa1", 8, 192))
    for name, register, size, offset in forms:
        found.append(Form(f"c.{name}", f"c.{name} {register}, {offset}({BASE})", offset, size))
        far = offset + 64
        found.append(Form(f"c.{name}sp", f"c.{name}sp {register}, {far}(sp)", far, size))
    return found


def _atomic() -> list[Form]:
    found = []
    for letter, size in (("w", 4), ("d", 8)):
        for name in ("swap", "add", "xor", "and", "or", "min", "max", "minu", "maxu"):
            full = f"amo{name}.{letter}"
            found.append(Form(full, f"{full} a1, a1, ({BASE})", 0, size))
        found.append(Form(f"lr.{letter}", f"lr.{letter} a1, ({BASE})", 0, size))
        found.append(Form(f"sc.{letter}", f"sc.{letter} a1, a1, ({BASE})", 0, size))
        pair = f"lr.{letter} a2, ({BASE})\nsc.{letter} a1, a1, ({BASE})"
        found.append(Form(f"lr+sc.{letter}", pair, 0, size))
    return found


ACCESSES = {form.name: form for form in (*_plain(), *_compressed(), *_atomic())}
ONE_OF_EACH = ("lbu", "ld", "flw", "c.ldsp", "sh", "sd", "c.fsd", "amoadd.d", "amoswap.w", "lr.d", "lr+sc.w")
"""A few that stand for all where all would be too many."""

JUMPS = {
    form.name: form
    for form in (
        Form("jr", f"jr {BASE}"),
        Form("jalr +2", f".option norvc\njalr ra, 2({BASE})"),
        Form("jalr +1", f"jalr ra, 1({BASE})"),
    )
}

_WORDS = {
    "csrr mstatus": 0x300022F3,
    "csrw mtvec": 0x30529073,
    "csrr mhartid": 0xF1402573,
    "csrw mhartid": 0xF1451073,
    "csrr misa": 0x30102573,
    "csrr pmpcfg0": 0x3A002573,
    "csrr satp": 0x18002573,
    "csrr sstatus": 0x10002573,
    "csrr scause": 0x14202573,
    "csrw sscratch": 0x14051073,
    "csrw cycle": 0xC0051073,
    "csrs cycle, x0 reads": 0xC0002573,
    "csrw instret": 0xC0251073,
    "csrr ustatus": 0x00002573,
    "csrr unknown 8ff": 0x8FF02573,
    "csrr unknown 5ff": 0x5FF02573,
    "csrr unknown fff": 0xFFF02573,
    "csrr dcsr": 0x7B002573,
    "csrr fcsr": 0x00302573,
    "csrr hstatus": 0x60002573,
    "csrr vsatp": 0x28002573,
    "csrr vl": 0xC2002573,
    "csrr stimecmp": 0x14D02573,
    "funct3 4 of SYSTEM": 0x30004573,
    "mret": 0x30200073,
    "sret": 0x10200073,
    "uret": 0x00200073,
    "dret": 0x7B200073,
    "mnret": 0x70200073,
    "sfence.vma": 0x12000073,
    "sfence.vma rd": 0x120000F3,
    "sinval.vma": 0x16000073,
    "hfence.vvma": 0x22000073,
    "hlv.b": 0x60054573,
    "wfi rd": 0x105000F3,
    "ecall": 0x00000073,
    "ecall rd": 0x000000F3,
    "ebreak": 0x00100073,
    "zeros": 0x00000000,
    "ones": 0xFFFFFFFF,
    "48 bits": 0x0000001F,
    "64 bits": 0x0000003F,
    "custom-0": 0x0000000B,
    "custom-1": 0x0000002B,
    "custom-2": 0x0000005B,
    "custom-3": 0x0000007B,
    "reserved opcode 57": 0x00000057,
    "reserved opcode 6b": 0x0000006B,
    "reserved opcode 77": 0x00000077,
    "load funct3 7": 0x00057583,
    "store funct3 4": 0x00B54023,
    "store funct3 7": 0x00B57023,
    "load-fp funct3 0": 0x00050587,
    "flh": 0x00051587,
    "flq": 0x00054587,
    "fsh": 0x00B51027,
    "fsq": 0x00B54027,
    "branch funct3 2": 0x00052063,
    "jalr funct3 1": 0x00051067,
    "fence funct3 2 (cbo)": 0x0005200F,
    "fence funct3 3": 0x0005300F,
    "fence fm reserved": 0x9330000F,
    "slli shamt 64": 0x00000000 | 0x04051513,
    "srai top bit": 0xC0055513,
    "slliw shamt 32": 0x0205151B,
    "op funct7 2": 0x04B50533,
    "op funct7 7f": 0xFEB50533,
    "op-32 funct7 7f": 0xFEB5053B,
    "op-32 funct3 2": 0x00B5253B,
    "andn (Zbb)": 0x40B57533,
    "sh1add (Zba)": 0x20B52533,
    "clmul (Zbc)": 0x0AB51533,
    "bset (Zbs)": 0x28B51533,
    "czero.eqz": 0x0EB55533,
    "amo funct3 0": 0x00B5052F,
    "amo funct3 4 (lr.q)": 0x1005452F,
    "amo funct5 5": 0x28B5252F,
    "amocas.w": 0x28B5252F,
    "lr.w with rs2": 0x10B525AF,
    "fadd.d rm 5": 0x02B5D553,
    "fadd.d rm 6": 0x02B5E553,
    "fadd.h": 0x04B50553,
    "fadd.q": 0x06B50553,
    "fcvt to h": 0x44050553,
    "fmv.x.d rm 2": 0xE2052553,
    "fsqrt.d rs2": 0x5AB50553,
    "fmadd.d rm 5": 0x02B5D543,
    "fp reserved funct7": 0x7EB50553,
    "vsetvli": 0x0C0572D7,
    "vle8.v": 0x02050007,
}
_HALVES = {
    "c zero": 0x0000,
    "c.addi4spn 0": 0x0004,
    "c quadrant 0 funct3 4": 0x8C40,
    "c.lbu (Zcb)": 0x8148,
    "c.addiw x0": 0x2005,
    "c.lui x5, 0": 0x6281,
    "c.addi16sp 0": 0x6101,
    "c.lui x0, 1": 0x6005,
    "c.mul (Zcb)": 0x9D41,
    "c.zext.b (Zcb)": 0x9D61,
    "c.zext.w (Zcb)": 0x9D71,
    "c.subw reserved": 0x9D7D,
    "c.lwsp x0": 0x4002,
    "c.ldsp x0": 0x6002,
    "c.jr x0": 0x8002,
    "c.ebreak": 0x9002,
    "c.li x0": 0x4005,
    "c.addi x5, 0": 0x0281,
    "c.slli x5, 0": 0x0282,
    "c.mv x0": 0x802E,
    "c.add x0": 0x902E,
}


def _raw() -> dict[str, Form]:
    found = {name: Form(name, f".word {word:#x}") for name, word in _WORDS.items()}
    found |= {name: Form(name, f".short {half:#x}") for name, half in _HALVES.items()}
    modes = ((0, "rne"), (5, "5"), (6, "6"), (7, "dyn"))
    for mode, text in modes:
        body = f"li t0, {mode}\nfsrm t0\n.word 0x02b5f553"
        found[f"fadd.d, frm {text}"] = Form(f"fadd.d, frm {text}", body)
    return found


INSTRUCTIONS = _raw()
FORMS = ACCESSES | JUMPS | INSTRUCTIONS
SLOTS = {name: number * SLOT for number, name in enumerate(FORMS)}
"""Offset of each form's slot from the start of the code."""


@functools.cache
def code() -> bytes:
    """All slots."""
    slots = (f".p2align 5\n.option push\n{form.text}\n.option pop\nebreak" for form in FORMS.values())
    body = assemble("\n".join(slots))
    assert (len(FORMS) - 1) * SLOT < len(body) <= len(FORMS) * SLOT
    return body.ljust(len(FORMS) * SLOT, b"\0")
