"""What of an enclave program would not run on the original's machine, as far as its ELF says."""

from collections.abc import Iterator
from dataclasses import dataclass
from io import BytesIO

from elftools.elf.constants import P_FLAGS, SH_FLAGS
from elftools.elf.elffile import ELFFile

from penglai.abi.ecall import EXTENSION, IOCTL, PRIVATE, EnclaveCall, Ocall
from penglai.abi.errors import ImageError
from penglai.abi.riscv import PAGE_SIZE
from penglai.sdk.portable import ECALL, instructions

MAX_IMAGE = 512 << 20
A0, A6, A7 = 10, 16, 17
KNOWN = frozenset(call for call in EnclaveCall if call not in PRIVATE)
KILLS = {
    EnclaveCall.YIELD: "yield (89), which the machine does not survive",
}
KILLING_OCALLS = {
    Ocall.SHM_GET: "secure shared memory (ocall 9), which its driver does not have",
    Ocall.SHM_DESTROY: "secure shared memory (ocall 11), which the machine does not survive",
}
FLOAT_OPCODES = frozenset((0x07, 0x27, 0x43, 0x47, 0x4B, 0x4F, 0x53))
SYSTEM, LUI, OP_IMM, OP_IMM_32, JAL, JALR = 0x73, 0x37, 0x13, 0x1B, 0x6F, 0x67
FLOAT_CSRS = (1, 2, 3)


@dataclass(frozen=True)
class Finding:
    """address: where, or 0 for the whole file.  why: what is wrong there.  floating: such an instruction."""

    address: int
    why: str
    floating: bool = False

    def __str__(self) -> str:
        return f"{self.address:#x}: {self.why}" if self.address else self.why


def check(data: bytes, what: str) -> list[Finding]:
    """All that is found, by address.  what: how messages call the file.  Raises ImageError if it is none."""
    try:
        elf = ELFFile(BytesIO(data))
        found = [*_headers(elf), *_sections(elf)]
        for start, code in _executable(elf):
            found += _code(start, code)
    except Exception as error:  # the parser raises whatever comes to it for a damaged file
        raise ImageError(f"{what} is no ELF file that can be read: {error}") from error
    if elf["e_machine"] != "EM_RISCV" or elf.elfclass != 64:
        raise ImageError(f"{what} is no 64-bit RISC-V ELF")
    return sorted(found, key=lambda finding: finding.address)


def _headers(elf: ELFFile) -> Iterator[Finding]:
    loads = [segment for segment in elf.iter_segments() if segment["p_type"] == "PT_LOAD"]
    zeros = [section for section in elf.iter_sections() if _is_zeros(section)]
    total = 0
    for segment in elf.iter_segments():
        if not segment["p_filesz"]:
            continue
        address = segment["p_vaddr"]
        total += segment["p_filesz"]
        if segment["p_type"] != "PT_LOAD" and any(_overlap(segment, load) for load in loads):
            name = str(segment["p_type"]).removeprefix("PT_")
            yield Finding(address, f"the header {name} would be loaded over the program: it replaces a page")
        if segment["p_type"] == "PT_LOAD" and address % PAGE_SIZE:
            yield Finding(address, "a segment does not begin with a page: its bytes would lie elsewhere")
    for load in loads:
        end = load["p_vaddr"] + load["p_memsz"]
        if load["p_memsz"] > load["p_filesz"] and not any(_ends_at(section, end) for section in zeros):
            yield Finding(end, "zeros behind a segment are no section: nothing would be there")
    total += sum(section["sh_size"] for section in zeros)
    if total > MAX_IMAGE:
        yield Finding(0, f"the image has {total >> 20} MiB, and at most 512 can be loaded")
    if not elf["e_entry"]:
        yield Finding(0, "the entry is address 0")


def _overlap(one: object, other: object) -> bool:
    first, second = one["p_vaddr"], other["p_vaddr"]  # type: ignore[index]
    return bool(first < second + other["p_memsz"] and second < first + one["p_filesz"])  # type: ignore[index]


def _is_zeros(section: object) -> bool:
    return bool(section["sh_type"] == "SHT_NOBITS" and section["sh_addr"])  # type: ignore[index]


def _ends_at(section: object, end: int) -> bool:
    last = section["sh_addr"] + section["sh_size"]  # type: ignore[index]
    return bool(last <= end < last + PAGE_SIZE)


def _sections(elf: ELFFile) -> Iterator[Finding]:
    for section in elf.iter_sections():
        if _is_zeros(section) and section["sh_flags"] & SH_FLAGS.SHF_TLS:
            yield Finding(section["sh_addr"], f"the section {section.name} would be mapped over the program")


def _executable(elf: ELFFile) -> list[tuple[int, bytes]]:
    """Address and content of what holds code: sections if there are any, else segments."""
    sections = [
        (section["sh_addr"], section.data())
        for section in elf.iter_sections()
        if section["sh_type"] == "SHT_PROGBITS" and section["sh_flags"] & SH_FLAGS.SHF_EXECINSTR
    ]
    return sections or [
        (segment["p_vaddr"], segment.data())
        for segment in elf.iter_segments("PT_LOAD")
        if segment["p_flags"] & P_FLAGS.PF_X
    ]


def _code(start: int, code: bytes) -> Iterator[Finding]:
    """Reads the instructions one after the other, and knows the constants of a run without jumps."""
    known: dict[int, int] = {}
    for offset, raw in instructions(code):
        word = int.from_bytes(raw, "little")
        if raw == ECALL:
            why = _bad_call(known)
            if why:
                yield Finding(start + offset, why)
            known.pop(A0, None)
        elif _is_float(word, len(raw)):
            yield Finding(start + offset, "a floating-point instruction, and the unit is off", floating=True)
        else:
            _follow(known, word, len(raw))


def _bad_call(known: dict[int, int]) -> str:
    """Why an ecall with these registers would end badly, or nothing: what is not known is not said."""
    function, extension = known.get(A7), known.get(A6)
    if function is None:
        return ""
    if extension != EXTENSION:
        return "" if function == IOCTL else f"a system call ({function}), which ends the enclave"
    if function not in KNOWN:
        return f"call {function}, which Penglai-TVM does not have: it ends the enclave"
    if function == EnclaveCall.OCALL:
        return KILLING_OCALLS.get(Ocall(known[A0]), "") if known.get(A0) in tuple(Ocall) else ""
    return KILLS.get(EnclaveCall(function), "")


def _is_float(word: int, size: int) -> bool:
    if size == 2:
        return word & 3 in (0, 2) and word >> 13 in (1, 5)  # c.fld, c.fsd, c.fldsp, c.fsdsp on RV64
    opcode = word & 0x7F
    if opcode == SYSTEM and word >> 12 & 3:
        return word >> 20 in FLOAT_CSRS
    if opcode in (0x07, 0x27):
        return word >> 12 & 7 in (1, 2, 3, 4)  # the other widths are vectors
    return opcode in FLOAT_OPCODES


def _follow(known: dict[int, int], word: int, size: int) -> None:
    """What the registers hold behind an instruction, as far as it loads constants."""
    if size == 2:
        _follow_short(known, word)
        return
    opcode, target = word & 0x7F, word >> 7 & 31
    source, immediate = word >> 15 & 31, _signed(word >> 20, 12)
    if opcode in (JAL, JALR):
        known.clear()
    elif opcode == LUI:
        known[target] = _signed(word >> 12, 20) << 12
    elif opcode in (OP_IMM, OP_IMM_32) and not word >> 12 & 7 and (not source or source in known):
        known[target] = known.get(source, 0) + immediate
    elif opcode not in (0x23, 0x63):  # stores and branches write no register
        known.pop(target, None)


def _follow_short(known: dict[int, int], word: int) -> None:
    quadrant, function, target = word & 3, word >> 13, word >> 7 & 31
    immediate = _signed(word >> 7 & 0x20 | word >> 2 & 0x1F, 6)
    if quadrant == 1 and function == 2:  # c.li
        known[target] = immediate
    elif quadrant == 1 and function == 3 and target != 2:  # c.lui
        known[target] = immediate << 12
    elif quadrant == 1 and function in (0, 1):  # c.addi, c.addiw
        if target in known:
            known[target] += immediate
    elif (quadrant == 1 and function == 5) or (quadrant == 2 and function == 4 and not word >> 2 & 31):
        known.clear()  # c.j, c.jr, c.jalr
    elif quadrant == 2 and function == 4:  # c.mv, c.add
        other = word >> 2 & 31
        if not word >> 12 & 1 and other in known:
            known[target] = known[other]
        else:
            known.pop(target, None)
    elif quadrant == 2 and function in (0, 2, 3):  # c.slli, c.lwsp, c.ldsp
        known.pop(target, None)


def _signed(value: int, bits: int) -> int:
    value &= (1 << bits) - 1
    return value - (1 << bits) if value >> (bits - 1) else value
