"""A host that calls the monitor with every number that might be believed."""

import itertools

from penglai.abi.riscv import CHUNK_SIZE, PAGE_SIZE
from penglai.abi.sbi import EnclaveType, HostCall, RunParam
from tests.attack.tally import Effort, Tally
from tests.attack.town import Town
from tests.support.rawhost import EXIT, FOREVER, program

TITLE = "hostile host: every call with hostile numbers, structs and eids"

SIZES = [0, 1, 8, PAGE_SIZE - 1, PAGE_SIZE + 1, CHUNK_SIZE, 1 << 31, 1 << 40, 1 << 63, (1 << 64) - PAGE_SIZE]
SIZES += [(1 << 64) - 1]

CREATES = {
    EnclaveType.NORMAL: HostCall.CREATE,
    EnclaveType.SERVER: HostCall.CREATE_SERVER,
    EnclaveType.SHADOW: HostCall.CREATE_SHADOW,
}
ADDRESS_FIELDS = ("eid_pa", "kbuffer", "shm_paddr", "ocall_id_pa", "ocall_arg0_pa", "ocall_arg1_pa")
ADDRESS_FIELDS += ("syscall_pa", "retval_pa")
BY_EID = [
    HostCall.ATTEST,
    HostCall.RUN,
    HostCall.STOP,
    HostCall.RESUME,
    HostCall.DESTROY,
    HostCall.RUN_SHADOW,
]
BY_EID += [HostCall.DESTROY_SERVER, HostCall.DESTROY_SHADOW, HostCall.ATTEST_SHADOW, HostCall.INFO]


def attack(effort: Effort) -> Tally:
    """Each argument and each field alone, then at random together."""
    tally = Tally()
    for part in (numbers, eids, creates, instances, relay, chunks):
        town = Town()
        before = tally.tried
        try:
            part(tally, town, effort)
        finally:
            town.close()
        tally.notes.append(f"{part.__name__} {tally.tried - before:,}")
    return tally


def numbers(tally: Tally, town: Town, effort: Effort) -> None:
    """Calls by address, and functions that are none, with numbers in every argument."""
    values = [*town.hostile_addresses().values(), *SIZES, *range(4)]
    chance = effort.random("numbers")
    functions = [HostCall.CREATE, HostCall.CREATE_SERVER, HostCall.CREATE_SHADOW, HostCall.SCHRODINGER_INIT]
    functions += [101, 83, 82, 81, 0, 93, 1 << 40, (1 << 64) - 1]
    for batch in range(effort.count(80, 4000)):
        with tally.case(("numbers", batch)):
            for _ in range(40):
                function = chance.choice(functions)
                arguments = [chance.choice(values) for _ in range(chance.randrange(7))]
                town.raw.call(function, *arguments)
            tally.tried += 39
            town.back_to_the_start()


def eids(tally: Tally, town: Town, effort: Effort) -> None:
    """Eids of nobody: replayed, of the dead, of the future, with bits above."""
    live = town.fresh
    forged = [0, town.dead, live + 1000, live | 1 << 31, live | 1 << 32, live | 1 << 63, (1 << 64) - 1]
    forged += [-live % (1 << 64), 1 << 31, (1 << 64) - live]
    good = town.raw.run_param()
    for function, eid in itertools.product(BY_EID, forged):
        for rest in ((0, 0, 0, 0), (good, good, 0, 0), (1, 0, 0, 0), (2, 3, good, 1)):
            with tally.case((function, eid, rest)):
                assert town.raw.call(function, eid, *rest).error < 0
    with tally.case("eids, afterwards"):
        town.back_to_the_start()
    wrong_kind = [
        *((HostCall.DESTROY, eid) for eid in (town.server, town.shadow)),
        *((HostCall.DESTROY_SERVER, eid) for eid in (town.fresh, town.shadow, town.instance)),
        *((HostCall.DESTROY_SHADOW, eid) for eid in (town.fresh, town.server, town.instance)),
        *((HostCall.RUN_SHADOW, eid) for eid in (town.fresh, town.server, town.instance)),
        *((HostCall.RUN, eid) for eid in (town.server, town.shadow, town.instance)),
    ]
    for function, eid in wrong_kind:
        argument = town.raw.shadow_run_param() if function is HostCall.RUN_SHADOW else good
        with tally.case(("of another kind", function, eid)):
            assert town.raw.call(function, eid, argument).error < 0
            town.back_to_the_start()


def creates(tally: Tally, town: Town, effort: Effort) -> None:
    """A good create_param in which one field, then several, are hostile."""
    raw = town.raw
    addresses = town.hostile_addresses()
    paddr, size = raw.stage(program(EXIT, stack_pages=2))
    shadow = raw.stage(program(EXIT, stack_pages=0))
    page = raw.page()
    choices: dict[str, list[object]] = {field: [*addresses.values(), page] for field in ADDRESS_FIELDS}
    choices |= {field: [*addresses.values(), *SIZES] for field in ("paddr", "size", "entry", "free_mem")}
    choices |= {field: list(SIZES) for field in ("kbuffer_size", "shm_size")}
    choices["type"] = [0, 1, 2, 3, 1 << 31]
    choices["name"] = [b"", b"victim", b"no nul in it....", b"\xff" * 15, b"a\0b"]
    kinds = list(CREATES)

    def create(kind: EnclaveType, fields: dict[str, object]) -> None:
        where = shadow if kind is EnclaveType.SHADOW else (paddr, size)
        values = {"paddr": where[0], "size": where[1], "type": kind, "name": b"n", **fields}
        param = raw.param(**values)
        raw.call(CREATES[kind], param)
        town.end_others()
        raw._page = itertools.count(page + PAGE_SIZE, PAGE_SIZE)

    single = [(kind, {field: value}) for kind in kinds for field in choices for value in choices[field]]
    for kind, fields in effort.some(single, 300):
        with tally.case((kind, fields)):
            create(kind, fields)
            town.back_to_the_start()
    chance = effort.random("creates")
    for _ in range(effort.count(150, 20_000)):
        some = chance.sample(sorted(choices), chance.randrange(2, 5))
        kind, fields = chance.choice(kinds), {field: chance.choice(choices[field]) for field in some}
        with tally.case((kind, fields)):
            create(kind, fields)
            town.back_to_the_start()


def instances(tally: Tally, town: Town, effort: Effort) -> None:
    """The same with the parameters of an instance."""
    raw = town.raw
    values = [*town.hostile_addresses().values(), *SIZES]
    fields = [
        *ADDRESS_FIELDS,
        "size",
        "kbuffer_size",
        "shm_size",
        "relay_pa",
        "relay_size",
        "satp",
        "free_pages",
    ]
    page = raw.page()
    single = [{field: value} for field in fields for value in values]
    both = [
        {"relay_pa": pa, "relay_size": size} for pa in values for size in (PAGE_SIZE, CHUNK_SIZE, 1 << 63)
    ]
    for chosen in effort.some([*single, *both], 200):
        with tally.case(("instance", chosen)):
            raw.call(HostCall.RUN_SHADOW, town.shadow, raw.shadow_run_param(**chosen))
            town.end_others()
            raw._page = itertools.count(page + PAGE_SIZE, PAGE_SIZE)
            town.back_to_the_start()


def relay(tally: Tally, town: Town, effort: Effort) -> None:
    """Relay pages that are not the host's to give, or that it wants to keep a hand on."""
    raw = town.raw
    page, param = raw.page(), raw.run_param()
    eid = raw.make(FOREVER)
    start = raw.snapshot()
    own = {
        "its own kernel buffer": raw.kernel_buffer,
        "its mailbox": raw.words,
        "the parameter itself": param,
    }
    sizes = (*SIZES, PAGE_SIZE, 2 * PAGE_SIZE)
    cases = [*itertools.product({**own, **town.hostile_addresses()}.items(), sizes)]
    for (name, pa), size in effort.some(cases, 200):
        with tally.case(("relay pages", name, size)):
            raw.memory.write(param, bytes(RunParam(relay_pa=pa, relay_size=size)))
            if raw.call(HostCall.RUN, eid, param).error == 0:
                raw.call(HostCall.DESTROY, eid)
                raw._page = itertools.count(page + PAGE_SIZE * 2, PAGE_SIZE)
                eid = raw.make(FOREVER)
                start = raw.snapshot()
            town.sound()
            assert raw.snapshot() == start


def chunks(tally: Tally, town: Town, effort: Effort) -> None:
    """Extend by what is not whole chunks of the host's alone."""
    memory = town.board.memory
    starts = [*town.hostile_addresses().values(), memory.base, memory.base + CHUNK_SIZE]
    starts += [value & -CHUNK_SIZE for value in starts]
    wholes = (memory.size, CHUNK_SIZE * 7, CHUNK_SIZE * 9)
    sizes = [*SIZES, *wholes, CHUNK_SIZE, CHUNK_SIZE * 2, -CHUNK_SIZE % (1 << 64)]
    for pa, size in itertools.product(starts, sizes):
        mine = size % CHUNK_SIZE == 0 and pa % CHUNK_SIZE == 0 and size > 0 and town.raw.memory.owns(pa, size)
        if mine and pa != memory.base:
            continue  # a chunk that is the host's to give
        with tally.case(("extend", pa, size)):
            assert town.raw.call(HostCall.MEMORY_EXTEND, pa, size).error < 0
    town.back_to_the_start()
