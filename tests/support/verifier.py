"""Walks the code that the native engine has emitted, and says what in it could reach beyond a window.

Of each access to the guest's memory the base has to be a register that was compared with the window's last
address on every way that leads there, or nothing; nobody can enter between the two (native/native.h).
"""

import ctypes
from collections.abc import Iterator

from capstone import CS_ARCH_X86, CS_MODE_64, Cs, CsInsn
from capstone.x86 import X86_OP_IMM, X86_OP_MEM, X86_REG_GS

from penglai.machine.engine import Native
from penglai.machine.library import library

OFFSETS = range(-2048, 2049)
CONSTANTS = range(1 << 31)
FRAME = range(-128, 1024)
JUMPS = {"jmp", "call", "ja", "jae", "jb", "jbe", "je", "jne", "jl", "jge", "jo", "js", "jp", "jnp"}
KEPT = {"r15", "rbp"}
"""What blocks never write to."""
MNEMONICS = {
    *(
        "add",
        "adc",
        "and",
        "or",
        "sub",
        "xor",
        "cmp",
        "test",
        "mov",
        "movabs",
        "lea",
        "movsxd",
        "movzx",
        "movsx",
    ),
    *("imul", "mul", "div", "idiv", "neg", "not", "cdq", "cqo", "shl", "shr", "sar", "shlx", "shrx", "sarx"),
    *("sete", "setne", "seta", "setae", "setb", "setl", "setnp", "cmova", "cmovb", "cmovg", "cmovl", "nop"),
    *("lock xadd", "xchg", "lock cmpxchg", "mfence", "push", "ret", *JUMPS),
    *("movq", "movd", "movss", "movsd", "movaps", "andps", "andnps", "orps", "xorps"),
    *(f"{name}{size}" for name in ("ucomis", "comis", "mins", "maxs", "cvtsi2s") for size in "sd"),
    *(f"v{name}s{size}" for name in ("add", "sub", "mul", "div", "sqrt") for size in "sd"),
    *(f"vf{name}213s{size}" for name in ("madd", "msub", "nmadd", "nmsub") for size in "sd"),
    *("cvttss2si", "cvttsd2si", "cvtss2si", "cvtsd2si", "cvtss2sd", "cvtsd2ss"),
}


def pairs(name: str, cache: int) -> list[tuple[int, int]]:
    """What one of the functions of cache.c tells."""
    function = getattr(library().calls, name)
    words = (ctypes.c_uint64 * function(cache, None, 0))()
    function(cache, words, len(words))
    return list(zip(words[::2], words[1::2], strict=True))


def whole(insn: CsInsn, number: int) -> str:
    """The name of a register's 64 bits."""
    name: str = insn.reg_name(number)
    if name in {"eax", "ebx", "ecx", "edx", "esi", "edi", "ebp", "esp"}:
        return "r" + name[1:]
    if name in {"ax", "bx", "cx", "dx", "si", "di", "bp", "sp"}:
        return "r" + name
    if name in {"al", "bl", "cl", "dl"}:
        return f"r{name[0]}x"
    if name in {"sil", "dil", "bpl", "spl"}:
        return "r" + name[:2]
    return name.rstrip("dwb") if name.startswith("r") and name[1:2].isdigit() else name


def written_by(insn: CsInsn) -> set[str]:
    """The registers that it writes."""
    return {whole(insn, number) for number in insn.regs_access()[1]} - {"rflags"}


def frame_operands(insn: CsInsn) -> tuple[str, str]:
    """The place in the frame of which a register becomes a copy, and the one that is written."""
    source = stored = ""
    for number, operand in enumerate(insn.operands):
        if operand.type == X86_OP_MEM and operand.mem.base and insn.reg_name(operand.mem.base) == "rbp":
            place = f"{operand.mem.disp}"
            if number == 0 and insn.mnemonic not in {"cmp", "test", "mul", "imul", "ucomisd", "ucomiss"}:
                stored = place
            elif number == 1 and insn.mnemonic == "mov" and operand.size == 8:
                source = place
    return source, stored


class Walk:
    """Over one batch."""

    def __init__(self, start: int, end: int, entries: set[int], ends: set[int]) -> None:
        self.entries, self.ends = entries, ends
        self.code = ctypes.string_at(start, end - start)
        self.span = range(start, end)
        self.incoming: dict[int, frozenset[str]] = {}
        self.states: dict[int, frozenset[str]] = {}
        self.changed = False
        self.compared = ""
        self.copies: dict[str, str] = {}

    def complaints(self, decoder: Cs) -> Iterator[str]:
        """Known are registers, and places of the frame by their offsets, that hold addresses in it."""
        state: frozenset[str] | None = None
        self.compared, self.copies = "", {}
        covered = self.span.start
        for insn in decoder.disasm(self.code, self.span.start):
            covered = insn.address + insn.size
            known = self.known_at(insn.address, state)
            if insn.mnemonic not in MNEMONICS:
                yield f"{insn.mnemonic} is none of the instructions that are emitted"
            yield from self.accesses(insn, known)
            if insn.mnemonic in JUMPS and insn.operands[0].type == X86_OP_IMM:
                yield from self.jump(insn, known)
            if written_by(insn) & KEPT:
                yield f"{insn.mnemonic} {insn.op_str} writes what is to stay"
            behind = self.known_behind(insn, known)
            state = None if insn.mnemonic in {"jmp", "ret"} else behind
        if missed := self.incoming.keys() - self.states.keys():
            yield f"jumps lead into instructions: {sorted(map(hex, missed))}"
        if covered != self.span.stop:
            yield f"what is at {covered:#x} is no code"

    def known_at(self, where: int, state: frozenset[str] | None) -> frozenset[str]:
        """state: what is known behind the instruction before it; None if control comes from elsewhere."""
        if where in self.entries:
            state = frozenset()
        if where in self.incoming:
            state = self.incoming[where] if state is None else state & self.incoming[where]
        if where in self.entries or where in self.incoming:
            self.copies = {}
        self.states[where] = state or frozenset()
        return self.states[where]

    def known_behind(self, insn: CsInsn, known: frozenset[str]) -> frozenset[str]:
        """A comparison with the limit makes an address of a register, and of what it is a copy of."""
        if insn.mnemonic == "ja" and self.compared:
            known |= {self.compared, self.copies.get(self.compared, self.compared)}
        written = written_by(insn)
        source, stored = frame_operands(insn)
        gone = written | ({stored} if stored else set())
        self.copies = {reg: slot for reg, slot in self.copies.items() if not {reg, slot} & gone}
        known -= gone
        if source and written == {whole(insn, insn.operands[0].reg)}:
            (reg,) = written
            self.copies[reg] = source
            known |= {reg} if source in known else set()
        limit = insn.mnemonic == "cmp" and insn.op_str.endswith(", r15")
        self.compared = insn.op_str.partition(",")[0] if limit else ""
        return known

    def accesses(self, insn: CsInsn, known: frozenset[str]) -> Iterator[str]:
        text = f"{insn.address:#x}: {insn.mnemonic} {insn.op_str}"
        for operand in insn.operands:
            if operand.type != X86_OP_MEM or insn.mnemonic in {"lea", "nop"}:
                continue
            place = operand.mem
            base = insn.reg_name(place.base) if place.base else ""
            if place.segment == X86_REG_GS:
                good = not place.index and place.disp in (
                    OFFSETS if base in known else CONSTANTS if not base else ()
                )
            elif base == "rbp":
                good = not place.index and place.disp in FRAME
            else:  # a return that was pushed; an entry, of the table
                good = base == "rsp" or (
                    base == "rdx" and insn.mnemonic == "mov" and insn.op_str.startswith("ecx, ")
                )
            if not good:
                yield f"{text} may reach anything"

    def jump(self, insn: CsInsn, known: frozenset[str]) -> Iterator[str]:
        target = insn.operands[0].imm
        if target not in self.span:
            if target not in self.entries and target not in self.ends:
                yield f"{insn.address:#x} jumps to {target:#x}, which is no entry"
        elif target not in self.entries:
            if target < insn.address and target not in self.states:
                yield f"{insn.address:#x} jumps into an instruction"
            before = self.incoming.get(target, known)
            self.incoming[target] = before & known
            self.changed |= target < insn.address and not self.states.get(target, known) <= known


def complaints_of(walk: Walk, decoder: Cs) -> list[str]:
    """Walked again until what is known at the targets of jumps backwards is what is known at the jumps."""
    walk.changed = True
    found: list[str] = []
    while walk.changed:
        walk.changed = False
        found = list(walk.complaints(decoder))
    return found


def verify(engine: Native) -> tuple[int, list[str]]:
    """How many bytes of code an engine has emitted, and what is wrong with them."""
    decoder = Cs(CS_ARCH_X86, CS_MODE_64)
    decoder.detail = True
    entries = {place for place, _ in pairs("native_entries", engine.cache)}
    batches = pairs("native_emitted", engine.cache)
    stubs = [(start, end) for start, end in batches if not any(start <= place < end for place in entries)]
    ends = {place for start, end in stubs for place in range(start, end)}
    found = [
        complaint
        for start, end in batches
        if (start, end) not in stubs
        for complaint in complaints_of(Walk(start, end, entries, ends), decoder)
    ]
    found += [
        f"{start:#x}: a stub makes an access of the guest"
        for start, end in stubs
        for insn in decoder.disasm(ctypes.string_at(start, end - start), start)
        if any(o.type == X86_OP_MEM and o.mem.segment == X86_REG_GS for o in insn.operands)
    ]
    return sum(end - start for start, end in batches), found
