"""The registers as gdb numbers them: x0 to x31, pc, f0 to f31, and the parts of fcsr."""

from dataclasses import dataclass

from penglai.machine.context import X_NAMES, Context

PC, FIRST_FLOAT, FFLAGS, FRM, FCSR = 32, 33, 65, 66, 67
COUNT = 68
FCSR_MASK, FFLAGS_MASK, FRM_SHIFT = 0xFF, 0x1F, 5

F_NAMES = (
    *(f"ft{n}" for n in range(8)),
    *("fs0", "fs1", *(f"fa{n}" for n in range(8))),
    *(f"fs{n}" for n in range(2, 12)),
    *(f"ft{n}" for n in range(8, 12)),
)
"""Of f0 to f31 in the ABI."""


def width(number: int) -> int:
    """Bytes of a register."""
    return 8 if number < FFLAGS else 4


def get(context: Context, number: int) -> bytes:
    """A register, little endian.  number: below COUNT."""
    return _value(context, number).to_bytes(width(number), "little")


def _value(context: Context, number: int) -> int:
    if number < PC:
        return int(context.x[number]) if number else 0
    if number == PC:
        return int(context.pc)
    if number < FFLAGS:
        return int(context.f[number - FIRST_FLOAT])
    fcsr = int(context.fcsr)
    return {FFLAGS: fcsr & FFLAGS_MASK, FRM: fcsr >> FRM_SHIFT & 7, FCSR: fcsr & FCSR_MASK}[number]


def put(context: Context, number: int, data: bytes) -> None:
    """Change a register.  data: as many bytes as it has.  x0 stays 0, and pc even."""
    value = int.from_bytes(data, "little")
    if number < PC:
        context.x[number] = value if number else 0
    elif number == PC:
        context.pc = value & ~1
    elif number < FFLAGS:
        context.f[number - FIRST_FLOAT] = value
    else:
        context.fcsr = _with_part(int(context.fcsr), number, value)


def _with_part(fcsr: int, number: int, value: int) -> int:
    if number == FFLAGS:
        return (fcsr & ~FFLAGS_MASK | value & FFLAGS_MASK) & FCSR_MASK
    if number == FRM:
        return (fcsr & FFLAGS_MASK | (value & 7) << FRM_SHIFT) & FCSR_MASK
    return value & FCSR_MASK


@dataclass(frozen=True)
class _Row:
    name: str
    bits: int
    type: str

    def __str__(self) -> str:
        return f'<reg name="{self.name}" bitsize="{self.bits}" type="{self.type}"/>'


def _feature(name: str, rows: list[_Row]) -> str:
    return f'<feature name="org.gnu.gdb.riscv.{name}">{"".join(map(str, rows))}</feature>'


POINTERS = {"ra": "code_ptr", "sp": "data_ptr", "gp": "data_ptr", "tp": "data_ptr"}

TARGET_XML = (
    '<?xml version="1.0"?><!DOCTYPE target SYSTEM "gdb-target.dtd"><target version="1.0">'
    "<architecture>riscv:rv64</architecture>"
    + _feature(
        "cpu",
        [*(_Row(name, 64, POINTERS.get(name, "int")) for name in X_NAMES), _Row("pc", 64, "code_ptr")],
    )
    + _feature(
        "fpu",
        [
            *(_Row(name, 64, "ieee_double") for name in F_NAMES),
            *(_Row(name, 32, "int") for name in ("fflags", "frm", "fcsr")),
        ],
    )
    + "</target>"
).encode()
"""What gdb asks for first: it knows these features of the architecture."""
