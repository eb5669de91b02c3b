"""Where the harts here do something else than QEMU 7.2: the reason, and what exactly they do instead."""

from collections.abc import Callable
from dataclasses import dataclass

from tests.support.traps.cases import Case
from tests.support.traps.recorded import Outcomes


@dataclass(frozen=True)
class Difference:
    """instead: given the case, what QEMU does in it, and what QEMU and we do in all cases: the outcome here.

    None if this difference has nothing to do with the case.
    """

    name: str
    reason: str
    instead: Callable[[Case, str, Outcomes, Outcomes], str | None]


def _atomic(case: Case, qemu: str, _: Outcomes, __: Outcomes) -> str | None:
    if not case.form.startswith("amo") or not qemu.startswith("load "):
        return None
    return qemu.replace("load", "store", 1)


def _breakpoint(case: Case, qemu: str, _: Outcomes, __: Outcomes) -> str | None:
    return qemu.replace("tval 0x0", "tval pc") if qemu.startswith("breakpoint at") else None


def _rounded(case: Case, qemu: str, _: Outcomes, __: Outcomes) -> str | None:
    head, found, _ = qemu.partition("tval address-")
    return f"{head}tval address" if found and qemu.startswith("load access") else None


def _store_order(case: Case, qemu: str, _: Outcomes, ours: Outcomes) -> str | None:
    if not qemu.startswith("store page fault") or "A hole, B" not in case.situation.replace("far", "hole"):
        return None
    return "store access at +0, tval address"


def _zcb(case: Case, qemu: str, _: Outcomes, __: Outcomes) -> str | None:
    if not case.form.endswith("(Zcb)") or not qemu.startswith("illegal"):
        return None
    loads = case.form == "c.lbu (Zcb)" and "bare" in case.way.name
    return "load access at +0, tval address+1" if loads else "done+2"


def _ignored_double(case: Case, qemu: str, _: Outcomes, __: Outcomes) -> str | None:
    without_unit = "no FS" in case.way.name and case.form in ("c.fld", "c.fldsp", "c.fsd", "c.fsdsp")
    return "done+2" if qemu.startswith("illegal") and without_unit else None


def _like(old: str, new: str) -> Callable[[Case, str, Outcomes, Outcomes], str | None]:
    """What the same form does here in the situation that is called new instead of old."""

    def instead(case: Case, qemu: str, _: Outcomes, ours: Outcomes) -> str | None:
        return ours.get(case.name.replace(old, new)) if old in case.situation else None

    return instead


def _firmware(case: Case, qemu: str, _: Outcomes, __: Outcomes) -> str | None:
    return "done+4" if qemu.startswith("ecall s") and "S" in case.way.name else None


OLD_ENGINE = "Unicorn 2.1.4 stands on QEMU 5.0, whose walk of page tables does not check it"

DIFFERENCES = [
    Difference(
        "an atomic is a store",
        "The architecture calls every fault of an AMO a store/AMO fault; QEMU 7.2 calls some of them loads.",
        _atomic,
    ),
    Difference(
        "tval of a breakpoint",
        "The architecture leaves 0 and the address of the ebreak to choose from; here it is the address.",
        _breakpoint,
    ),
    Difference(
        "a misaligned load from where nothing is",
        "QEMU does it in two aligned halves and reports the lower one's address; here it is the load's own.",
        _rounded,
    ),
    Difference(
        "a store half to nowhere and half to a missing page",
        "QEMU translates both halves before it stores; here the first half meets the bus first.",
        _store_order,
    ),
    Difference(
        "Zcb is there",
        "QEMU 7.2 does not know the compressed instructions of Zcb; here they are executed.",
        _zcb,
    ),
    Difference(
        "compressed loads and stores of doubles with the unit off",
        "QEMU 5.0, on which Unicorn 2.1.4 stands, takes them for instructions that do nothing.",
        _ignored_double,
    ),
    Difference(
        "a call of S-mode is the firmware's",
        "The hart of a host gives it to Python, which here just returns.",
        _firmware,
    ),
    Difference("entries with bit 62", OLD_ENGINE, _like(" bit 62", "")),
    Difference("entries with bit 63", OLD_ENGINE, _like("vrw bit 63", "vrw")),
    Difference(
        "entries with bit 54", f"{OLD_ENGINE}: it belongs to the frame number", _like("vrw bit 54", "far")
    ),
    Difference(
        "entries with bit 60", f"{OLD_ENGINE}: it belongs to the frame number", _like("vrw bit 60", "far")
    ),
    Difference(
        "entries with bit 61", f"{OLD_ENGINE}: it belongs to the frame number", _like("vrw bit 61", "far")
    ),
    Difference("huge pages with bit 54", OLD_ENGINE, _like("megapage bit 54", "megapage far")),
    *(
        Difference(f"pointers with {what}", OLD_ENGINE, _like(f"pointer with {what}", instead))
        for what, instead in (
            ("A", "pointer"),
            ("D", "pointer"),
            ("U", "pointer"),
            ("bit 63", "pointer"),
        )
    ),
]
