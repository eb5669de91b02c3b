"""The cases: a form, the entries of the pages that it touches, where on them, in which mode.

A case's name is its situation and its form; what it does to the machine before it runs are `pokes`.
"""

import functools
import struct
from collections.abc import Iterator
from dataclasses import dataclass

from penglai.abi.riscv import PAGE_SIZE, PTE_PPN_SHIFT, Pte
from tests.support.traps import layout
from tests.support.traps.forms import ACCESSES, INSTRUCTIONS, JUMPS, ONE_OF_EACH, SLOTS, Form
from tests.support.traps.layout import FRAME_A, FRAME_B, HOLE, A, B, pte

U, S, M = 0, 1, 3
SUM, MXR = 1 << 18, 1 << 19
FS_INITIAL = 1 << 13
PATTERN = 0x1122334455667788
PAGE = PAGE_SIZE
DONE = Pte.V | Pte.A | Pte.D
MAX_POKES = 6


@dataclass(frozen=True)
class Way:
    """Privilege, translation, and the bits of sstatus that matter."""

    name: str
    privilege: int
    mode: str = "sv39"
    status: int = 0


@dataclass(frozen=True)
class Case:
    """situation: all but the form.  address: that of the access, or of the jump."""

    situation: str
    form: str
    way: Way
    pc: int
    address: int
    base: int
    pokes: tuple[tuple[int, int], ...]

    @property
    def name(self) -> str:
        return f"{self.situation}: {self.form}"


U39, S39 = Way("U", U), Way("S", S)
WAYS = (
    U39,
    Way("U mxr", U, status=MXR),
    S39,
    Way("S sum", S, status=SUM),
    Way("S mxr", S, status=MXR),
    Way("S sum mxr", S, status=SUM | MXR),
)
BARE = (Way("U bare", U, "bare"), Way("S bare", S, "bare"), Way("M bare", M, "bare"))
DEEP = (Way("U sv48", U, "sv48"), Way("S sv57", S, "sv57"), Way("U sv57", U, "sv57"))


def _kinds() -> dict[str, int]:
    """Leaf entries by name, but for the frame and the U bit, which depend on the place and the mode."""
    rights = {"": 0, "r": Pte.R, "w": Pte.W, "rw": Pte.R | Pte.W, "x": Pte.X}
    rights |= {"rx": Pte.R | Pte.X, "wx": Pte.W | Pte.X, "rwx": Pte.R | Pte.W | Pte.X}
    found = {f"v{name}": bits | DONE for name, bits in rights.items()}
    found["vrw not V"] = found["vrw"] & ~Pte.V
    found["zero"] = 0
    found["vrw not A"] = found["vrw"] & ~Pte.A
    found["vrw not D"] = found["vrw"] & ~Pte.D
    found["vrw not AD"] = found["vrw"] & ~(Pte.A | Pte.D)
    found["vr not AD"] = found["vr"] & ~(Pte.A | Pte.D)
    found["vrw G"] = found["vrw"] | Pte.G
    found["vrw rsw"] = found["vrw"] | 3 << 8
    for bit in (54, 60, 61, 62, 63):
        found[f"vrw bit {bit}"] = found["vrw"] | 1 << bit
    return found


KINDS = _kinds()
GOOD = "vrwx"
FEW_KINDS = ("zero", "vr", "vx", "vrw not AD", GOOD)
OTHER_U = " other's"
"""Behind a kind: the U bit is the wrong one for the mode."""


def leaf(kind: str, frame: int, privilege: int) -> int:
    """The entry of this kind for a page of the mode's own, or of the other one."""
    user = privilege == U
    if kind.endswith(OTHER_U):
        kind, user = kind.removesuffix(OTHER_U), not user
    if kind == "hole":
        frame, kind = HOLE, GOOD
    if kind == "far":
        frame, kind = ((1 << 44) - 1) << 12, GOOD
    return pte(frame, KINDS[kind] | (Pte.U if user else 0)) if kind != "zero" else 0


PLACES = ("inside", "odd", "across", "one over")


def place(where: str, size: int) -> int:
    """An address: aligned in A, misaligned in A, half in A and half in B, the last byte in B."""
    return {
        "inside": A + PAGE - 16,
        "odd": A + PAGE - 15,
        "across": B - size // 2,
        "one over": B - size + 1,
    }[where]


def fits(form: Form, where: str) -> bool:
    return where == "inside" or form.size > 1


def _case(
    situation: str,
    form: Form,
    way: Way,
    address: int,
    pokes: tuple[tuple[int, int], ...],
    pc: int | None = None,
) -> Case:
    code = {"bare": layout.CODE}.get(way.mode, layout.CODE_U if way.privilege == U else layout.CODE_S)
    return Case(
        f"{way.name} | {situation}",
        form.name,
        way,
        code + SLOTS[form.name] if pc is None else pc,
        address,
        (address - form.offset) % (1 << 64),
        pokes,
    )


def entries(a: str, b: str, privilege: int) -> tuple[tuple[int, int], ...]:
    return (layout.SLOT_A, leaf(a, FRAME_A, privilege)), (layout.SLOT_B, leaf(b, FRAME_B, privilege))


def permissions() -> Iterator[Case]:
    """Each kind of entry, on either page or both, for each place."""
    for way in WAYS:
        kinds = [*KINDS, "hole", "far"]
        kinds += [f"{kind}{OTHER_U}" for kind in ("vr", "vrw", "vx", "vrwx")]
        for kind in kinds:
            for names, ways in ((ONE_OF_EACH, WAYS), (ACCESSES, (U39, S39))):
                if way not in ways or (names is ACCESSES and kind not in FEW_KINDS):
                    continue
                for name in names:
                    if names is ACCESSES and name in ONE_OF_EACH:
                        continue
                    yield from _placed(ACCESSES[name], way, kind)


def _placed(form: Form, way: Way, kind: str) -> Iterator[Case]:
    for where in PLACES if way in (U39, S39) else ("inside", "across"):
        if not fits(form, where):
            continue
        pairs = [(kind, GOOD)]
        if where in ("across", "one over"):
            pairs.append((GOOD, kind))
        if where == "across" and kind not in ("zero", GOOD) and way in (U39, S39):
            pairs += [(kind, kind), (kind, "zero"), ("zero", kind)]
        for a, b in dict.fromkeys(pairs):
            pokes = entries(a, b, way.privilege)
            yield _case(f"A {a}, B {b} | {where}", form, way, place(where, form.size), pokes)


def upper_levels() -> Iterator[Case]:
    """Huge pages, and entries of the tables above."""
    rwx = Pte.R | Pte.W | Pte.X | DONE
    for way in (U39, S39, Way("U sv48", U, "sv48")):
        user = Pte.U if way.privilege == U else 0
        aligned = pte(FRAME_A & -(1 << 21), rwx | user)
        middles = {
            "megapage": aligned,
            "megapage read-only": aligned & ~int(Pte.W | Pte.X),
            "megapage not AD": aligned & ~int(Pte.A | Pte.D),
            "megapage of a crooked frame": pte(FRAME_A + PAGE, rwx | user),
            "megapage bit 54": aligned | 1 << 54,
            "megapage far": pte(((1 << 44) - (1 << 9)) << 12, rwx | user),
            "pointer": pte(layout.LEAVES, Pte.V),
            "pointer not V": pte(layout.LEAVES, 0),
            "pointer with A": pte(layout.LEAVES, Pte.V | Pte.A),
            "pointer with D": pte(layout.LEAVES, Pte.V | Pte.D),
            "pointer with U": pte(layout.LEAVES, Pte.V | Pte.U),
            "pointer with G": pte(layout.LEAVES, Pte.V | Pte.G),
            "pointer with bit 54": pte(layout.LEAVES, Pte.V) | 1 << 54,
            "pointer with bit 63": pte(layout.LEAVES, Pte.V) | 1 << 63,
            "pointer into the hole": pte(HOLE, Pte.V),
            "pointer far out": pte(((1 << 44) - 1) << 12, Pte.V),
            "write-only": pte(layout.LEAVES, Pte.V | Pte.W),
        }
        for kind, entry in middles.items():
            for name in ONE_OF_EACH:
                form = ACCESSES[name]
                pokes = (*entries(GOOD, GOOD, way.privilege), (layout.SLOT_MIDDLE, entry))
                for where in ("inside", "across"):
                    if fits(form, where):
                        yield _case(f"level 1 {kind} | {where}", form, way, place(where, form.size), pokes)
    for way in (U39, Way("U sv57", U, "sv57")):
        # Through the second gigabyte, which only these cases use.
        tops = {
            "gigapage": pte(0x8000_0000, rwx | Pte.U),
            "gigapage of a crooked frame": pte(0x8000_0000 + (1 << 21), rwx | Pte.U),
            "gigapage without U": pte(0x8000_0000, rwx),
            "nothing": 0,
        }
        for kind, entry in tops.items():
            for name in ONE_OF_EACH:
                form = ACCESSES[name]
                address = (1 << 30) + FRAME_A - 0x8000_0000 + PAGE - 16
                pokes = (*entries(GOOD, GOOD, U), (layout.ROOT39 + 8, entry))
                yield _case(f"level 2 {kind}", form, way, address, pokes)


def addresses() -> Iterator[Case]:
    """Addresses that are none, in each mode."""
    bits = {"bare": 56, "sv39": 39, "sv48": 48, "sv57": 57}
    for way in (U39, S39, *DEEP, *BARE):
        top = bits[way.mode]
        odd = {
            "hole": HOLE,
            "hole, odd": HOLE + 1,
            "zero": 0,
            "the last": (1 << 64) - 8,
            "half of what there is": 1 << (top - 1),
            "all of what there is": 1 << top,
            "below it": (1 << (top - 1)) - 8,
            "the upper half": (1 << 64) - (1 << (top - 1)),
            "a bit too high": A | 1 << (top + 1),
            "bit 63": A | 1 << 63,
        }
        for name in ONE_OF_EACH:
            for kind, address in odd.items():
                yield _case(
                    f"address {kind}", ACCESSES[name], way, address, entries(GOOD, GOOD, way.privilege)
                )
        if way.mode == "bare":
            for form in ACCESSES.values():
                yield _case("aligned", form, way, FRAME_A + PAGE - 16, entries(GOOD, GOOD, U))
                if form.size > 1:
                    yield _case("odd", form, way, FRAME_A + PAGE - 15, entries(GOOD, GOOD, U))
        for form in JUMPS.values():
            for kind, address in odd.items():
                case = _case(f"jump to {kind}", form, way, address, entries(GOOD, GOOD, way.privilege))
                yield case


C_NOP_THEN = 0x0001
NOP = 0x00000013
EBREAK_16 = 0x9002


def _halves(at: int, *halves: int) -> dict[int, int]:
    """Words to write so that these halfwords are at offset `at` from the start of A, the rest zeros."""
    words: dict[int, int] = {}
    for number, half in enumerate(halves):
        offset = at + 2 * number
        frame = FRAME_A + offset if offset < PAGE else FRAME_B + offset - PAGE
        words.setdefault(frame & -8, 0)
        words[frame & -8] |= half << 8 * (frame & 7)
    return words


def fetches() -> Iterator[Case]:
    """Code on A that reaches into B, or ends where A ends."""
    nop, store = (NOP & 0xFFFF, NOP >> 16), (0x3023, 0x00B5)  # sd a1, 0(a0)
    codes = {
        "ebreak": (PAGE - 8, (EBREAK_16,)),
        "ebreak in the last halfword": (PAGE - 2, (EBREAK_16,)),
        "nop across": (PAGE - 2, (*nop, EBREAK_16)),
        "nops, nop across": (PAGE - 8, (C_NOP_THEN, *nop, *nop, EBREAK_16)),
        "nops into B": (PAGE - 4, (C_NOP_THEN, C_NOP_THEN, EBREAK_16)),
        "nop, ebreak in B": (PAGE - 4, (*nop, EBREAK_16)),
        "store, nop across": (PAGE - 6, (*store, *nop, EBREAK_16)),
        "store across": (PAGE - 2, (*store, EBREAK_16)),
        "illegal across": (PAGE - 2, (0xFFFF, 0xFFFF, EBREAK_16)),
        "illegal halfword at the end": (PAGE - 2, (0, EBREAK_16)),
        "starts in B": (PAGE, (EBREAK_16,)),
        "illegal starts in B": (PAGE, (0,)),
    }
    kinds = ["zero", "vr", "vrw", "vx", "vrx", GOOD, "vwx", "hole", "far"]
    kinds += [f"{GOOD}{OTHER_U}", f"vx{OTHER_U}"]
    for way in (*WAYS, Way("U sv48", U, "sv48"), Way("S sv57", S, "sv57")):
        for title, (at, halves) in codes.items():
            words = tuple(_halves(at, *halves).items())
            pairs = [(kind, GOOD) for kind in kinds] + [(GOOD, kind) for kind in kinds]
            pairs += [("vrx", "vrw"), ("vx", "zero"), ("zero", "zero")]
            for a, b in dict.fromkeys(pairs):
                if b in ("hole", "far") and "across" in title:
                    continue  # QEMU 7.2 stops there, by an assertion of its own
                pokes = (*entries(a, b, way.privilege), *words)
                form = Form(title, "")
                yield _case(f"fetch: A {a}, B {b}", form, way, 0x7000_0000, pokes, pc=A + at)


def instructions() -> Iterator[Case]:
    """Instructions that are illegal, or only here and now."""
    for way in (U39, S39, *BARE):
        for form in INSTRUCTIONS.values():
            if form.name in NOT_FOR.get(way.privilege, ()):
                continue
            yield _case("instruction", form, way, place("inside", 8), entries(GOOD, GOOD, way.privilege))
    for way in (Way("U no FS", U, status=-1), Way("S no FS", S, status=-1)):
        for form in (*INSTRUCTIONS.values(), *ACCESSES.values()):
            if "f" in form.name.split(",")[0] and form.name not in NOT_FOR.get(way.privilege, ()):
                yield _case("instruction", form, way, place("inside", 8), entries(GOOD, GOOD, way.privilege))


_OWN = ("csrw mtvec", "mret", "dret", "sret", "csrw sscratch", "ecall")
NOT_FOR = {S: ("sret", "csrw sscratch"), M: _OWN}
"""What would only lead the program of the cases itself astray."""


@functools.cache
def all_cases() -> tuple[Case, ...]:
    found = [*permissions(), *upper_levels(), *addresses(), *fetches(), *instructions()]
    names = {case.name for case in found}
    assert len(names) == len(found), "each case has a name of its own"
    return tuple(found)


MPP_SHIFT, SPP = 11, 1 << 8
WORDS = 6 + 2 * MAX_POKES


def status_of(case: Case, machine_mode: bool) -> int:
    """mstatus, or sstatus, to return to the case with."""
    status = case.way.status
    floating = 0 if status == -1 else FS_INITIAL
    bits = (0 if status == -1 else status) | floating
    if machine_mode:
        return bits | case.way.privilege << MPP_SHIFT
    return bits | (SPP if case.way.privilege == S else 0)


def records(cases: tuple[Case, ...], machine_mode: bool) -> bytes:
    """What the program that runs the cases reads."""
    found = bytearray()
    for case in cases:
        restore = (layout.SLOT_MIDDLE, pte(layout.LEAVES, Pte.V)), (layout.ROOT39 + 8, 0)
        pokes = [*restore, *case.pokes]
        merged = dict(pokes)
        assert len(merged) <= MAX_POKES
        pokes = [*merged.items()] + [(layout.RECORDS - 8, 0)] * (MAX_POKES - len(merged))
        flat = [word for poke in pokes for word in poke]
        words = (layout.MODES[case.way.mode], status_of(case, machine_mode), case.pc, case.base, case.base, 0)
        found += struct.pack(f"<{WORDS}Q", *words, *flat)
    return bytes(found)


assert PTE_PPN_SHIFT == 10
