"""Create: parameters and page tables that a hostile host has made."""

from penglai.abi import layout
from penglai.abi.riscv import PAGE_SIZE, PTE_PPN_SHIFT, Pte
from penglai.abi.sbi import CreateParam, EnclaveType, HostCall, RunValue
from tests.fuzz import world
from tests.fuzz.choices import Choices
from tests.fuzz.world import World, case, host_addresses
from tests.support.rawhost import EXIT, RW, RX, ImageSpec, assemble

TITLE = "create: parameters and page tables"
fresh = world.fresh

CREATES = (HostCall.CREATE, HostCall.CREATE_SERVER, HostCall.CREATE_SHADOW)
KINDS = (EnclaveType.NORMAL, EnclaveType.SERVER, EnclaveType.SHADOW)
PLACES = (
    *(layout.TEXT_BASE + number * PAGE_SIZE for number in range(6)),
    *(layout.TEXT_BASE - PAGE_SIZE, 2 << 20, 1 << 30, layout.HEAP_BASE - PAGE_SIZE, layout.HEAP_BASE),
    *(layout.MMAP_TOP, layout.STACK_TOP - PAGE_SIZE, layout.STACK_TOP, layout.KERNEL_BUFFER % (1 << 39), 0),
)
BITS = (
    RX | Pte.U | Pte.V,
    RW | Pte.U | Pte.V,
    Pte.R | Pte.U | Pte.V,
    Pte.V,
    0,
    0x1F,
    0xDF,
    0xFF,
    0x13,
    0xD7,
    0x07,
    0x0B,
    0xC3,
)
FIELDS = tuple(name for name, *_ in CreateParam._fields_ if name != "name")
NAMES = (b"raw", b"", b"a server", b"0123456789abcde", b"0123456789abcdef", b"\xff\xfe", b"\xc3\xa4", b"a\0b")


def one(data: bytes) -> None:
    """It is refused and nothing has changed, or there is an enclave that is all its own."""
    choices = Choices(data)
    with case() as found:
        raw = found.raw
        which = choices.below(3)
        paddr, size = raw.stage(spec(choices))
        for _ in range(choices.below(4)):
            scribble(found, choices, paddr, size)
        param = parameters(found, choices, paddr, size, which)
        before = raw.snapshot()
        result = raw.call(CREATES[which], param)
        if result.error:
            assert raw.snapshot() == before, "a create that was refused has left something"
            assert -9 <= result.error < 0
            return
        raw.snapshot()
        if which == 0:
            live(found, result.value)


def live(found: World, eid: int) -> None:
    """A normal enclave runs, whatever it is made of, and comes to an end."""
    raw = found.raw
    found.tick()
    result = raw.call(HostCall.RUN, eid, raw.run_param(), port=found.port)
    assert result.error == 0, result
    assert result.value in tuple(RunValue)


def spec(choices: Choices) -> ImageSpec:
    pages = {layout.TEXT_BASE: (RX, assemble(EXIT))}
    entries, bits = {}, {}
    for _ in range(choices.below(6)):
        place = choices.pick(PLACES)
        kind = choices.below(4)
        if kind == 0:
            pages[place % (1 << 39)] = (Pte(choices.pick((RX, RW, Pte.R))), choices.text() or b"x")
        elif kind == 1:
            bits[place] = choices.pick(BITS)
        elif kind == 2:
            entries[place] = choices.word((0x2000_0001, 0x2000_00DF, 1 << 63 | 0xDF, 1 << 54 | 0xDF))
    return ImageSpec(pages, stack_pages=choices.below(4), entries=entries, bits=bits)


def scribble(found: World, choices: Choices, paddr: int, size: int) -> None:
    """Overwrite an entry of a table, root and middle ones above all."""
    raw = found.raw
    table = choices.pick(tuple(raw.tables.values()))
    tables = tuple(raw.tables.values())
    place = choices.pick(
        (*tables, paddr, paddr + PAGE_SIZE, paddr + size - PAGE_SIZE, *host_addresses(found))
    )
    entry = place >> 12 << PTE_PPN_SHIFT | choices.pick(BITS)
    if choices.rarely(4):
        entry = choices.number(8)
    raw.put(table, choices.pick((0, 1, 64, 223, 224, 255, 256, 384, 511)), entry)


def parameters(found: World, choices: Choices, paddr: int, size: int, which: int) -> int:
    raw = found.raw
    fields: dict[str, int | bytes] = {"type": KINDS[which], "name": choices.pick(NAMES)}
    good = (
        *host_addresses(found),
        paddr,
        size,
        layout.TEXT_BASE,
        PAGE_SIZE,
        2 * PAGE_SIZE,
        paddr + PAGE_SIZE,
    )
    for _ in range(choices.below(4)):
        field = choices.pick(FIELDS)
        fields[field] = choices.word(good) % (1 << (32 if field == "type" else 64))
    if choices.rarely(4):
        fields["shm_paddr"], fields["shm_size"] = raw.page(), PAGE_SIZE
    param = raw.param(int(fields.pop("paddr", paddr)), int(fields.pop("size", size)), **fields)
    if choices.rarely(8):
        return choices.word((param, param + 8, param + PAGE_SIZE - 8, *host_addresses(found)))
    return param
