"""What an enclave did wrong: what the monitor tells the host, and what the machine's owner has seen."""

import itertools
from dataclasses import dataclass, field
from typing import Protocol

from penglai.abi import layout
from penglai.abi.hang import TEXT as HANGS
from penglai.machine.context import cause_name


@dataclass(frozen=True)
class Frame:
    """A call of a backtrace.

    enclave: whose code it is.  pc: the instruction that failed, or to which the call returns.  function,
    file, line: empty, or 0, where the program does not say; a function that was inlined has the pc of the one
    that it is part of.  exact: False if the frame was found by a guess.
    """

    enclave: str
    pc: int
    function: str
    file: str
    line: int
    exact: bool = True

    def __str__(self) -> str:
        place = f" ({self.file}:{self.line})" if self.file else ""
        guess = "" if self.exact else ", perhaps"
        return f"{self.pc:#x} in {self.function or '?'}{place}{guess}"


class Details(Protocol):
    """What the machine's owner has seen of a fault (penglai.debug).  No call of the ABI has it."""

    @property
    def enclave(self) -> str:
        """Whose code it was: the enclave's own label, or a server's that it had called."""

    @property
    def backtrace(self) -> tuple[Frame, ...]:
        """The calls that led there, the innermost first; those of a server's caller behind the server's."""

    @property
    def where(self) -> str:
        """What lay at the address, in words."""

    @property
    def registers(self) -> dict[str, int]:
        """The integer registers and pc by their names in the ABI, as they were."""


@dataclass(frozen=True)
class Fault:
    """What an enclave did wrong: the RISC-V cause, and the address it concerns.

    For memory faults the address is the one accessed; for the others, that of the instruction.  details: what
    the machine's owner has seen beside, or None; it tells no faults apart.
    """

    cause: int
    address: int
    details: Details | None = field(default=None, compare=False, repr=False)

    @property
    def backtrace(self) -> tuple[Frame, ...]:
        """The calls that led there, the innermost first; empty if nobody has seen them."""
        return self.details.backtrace if self.details else ()

    def explain(self, *, registers: bool = False) -> str:
        """What is known beside the cause, in lines: what lay there, and the backtrace.

        registers: with those too.  Empty if nothing is known.
        """
        if self.details is None:
            return ""
        lines = [self.details.where] if self.details.where else []
        whose, number = self.details.enclave, 0
        for frame, alike in itertools.groupby(self.backtrace):
            count = len(list(alike))
            if frame.enclave != whose:
                whose = frame.enclave
                lines.append(f"called by {whose}")
            lines.append(f"#{number:<3} {frame}")
            if count > 1:
                lines.append(f"     and {count - 1} more of the same")
            number += count
        if registers:
            lines += _in_columns(self.details.registers)
        return "\n".join(lines)

    def __str__(self) -> str:
        overflow = layout.MMAP_TOP <= self.address < layout.STACK_TOP
        hint = " (it lies below the stack, which is too small)" if overflow else ""
        what = HANGS.get(self.cause) or cause_name(self.cause)
        return f"{what} at {self.address:#x}{hint}"


def _in_columns(registers: dict[str, int]) -> list[str]:
    cells = [f"{name:>4} {value:016x}" for name, value in registers.items()]
    return ["  ".join(cells[start : start + 3]) for start in range(0, len(cells), 3)]
