"""What happened in a case, in a few words: the same words if the same happened elsewhere on the page."""

from penglai.abi.riscv import Cause, Pte
from penglai.machine.context import cause_name
from tests.support.traps import layout
from tests.support.traps.cases import PATTERN, Case
from tests.support.traps.run import WINDOW, Result

ACCESSED = int(Pte.A | Pte.D)


def _number(value: int) -> str:
    """A signed number of 64 bits."""
    value = (value + (1 << 63)) % (1 << 64) - (1 << 63)
    return f"{value:+#x}"


def _tval(case: Case, epc: int, tval: int) -> str:
    """tval, as the distance from what it could be about."""
    for name, origin in (("pc", epc), ("address", case.address), ("B", layout.B)):
        distance = (tval - origin + (1 << 63)) % (1 << 64) - (1 << 63)
        if -8 <= distance <= 8:
            return name if not distance else f"{name}{distance:+}"
    return f"{tval:#x}"


def outcome(case: Case, result: Result) -> str:
    """cause, epc as distance from the case's pc, tval, and what else has changed."""
    cause, epc, tval, a1, fa1, *rest = result
    window, (slot_a, slot_b) = rest[:4], rest[4:]
    distance = (epc - case.pc + (1 << 63)) % (1 << 64) - (1 << 63)
    where = f"{distance:+}" if abs(distance) < 64 else f"address{_number(epc - case.address)}"
    if cause == Cause.BREAKPOINT and case.form != "ebreak" and tval in (0, epc):
        words = [f"done{where}"]  # tval of a breakpoint: in the cases that are about breakpoints
    else:
        words = [f"{cause_name(cause)} at {where}, tval {_tval(case, epc, tval)}"]
    if (a1, fa1) != (PATTERN, PATTERN):
        words.append("register")
    before = dict(case.pokes)
    started = [before.get(number << 3, PATTERN) for number in WINDOW]
    if window[:2] != started[:2]:
        words.append("A")
    if window[2:] != started[2:]:
        words.append("B")
    for name, slot, pa in (("A", slot_a, layout.SLOT_A), ("B", slot_b, layout.SLOT_B)):
        new = (slot ^ dict(case.pokes).get(pa, 0)) & ACCESSED
        if new:
            words.append(f"{name} {Pte(new).name}")
    return ", ".join(words)
