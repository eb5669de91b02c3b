"""An enclave, a server, a caller that make every call wrong, too often, or without end."""

from penglai.abi import layout
from penglai.abi.ecall import Ocall
from penglai.abi.firmware import Extension
from penglai.abi.riscv import CHUNK_SIZE, PAGE_SIZE, RAM_BASE
from penglai.abi.sbi import HostCall, ResumeReason, RunValue, SbiResult
from penglai.abi.state import State
from penglai.monitor.invariants import check
from tests.attack.tally import Effort, Tally
from tests.attack.town import MARK, Town
from tests.support.ecalls import attacker, rows_of, run_to_its_end
from tests.support.rawhost import (
    EXIT,
    FOREVER,
    answering,
    call,
    calling,
    lending,
    name_at,
    program,
    store,
)
from tests.support.waiting import until

TITLE = "hostile enclave: its calls with random registers, without end, as server and as caller"

STACK = layout.STACK_TOP
ROWS = 2000

ASYNC = (
    name_at(STACK - 256, "nobody")
    + "1: "
    + call(98, Ocall.MMAP, 0, PAGE_SIZE)
    + "mv s2, a0\n"
    + store(STACK - 192, 0, 0, "s2", PAGE_SIZE, 0, 0)
    + call(93, STACK - 256, STACK - 192)
    + "j 1b\n"
)


def forever(body: str) -> str:
    """A call again and again, whatever it returns."""
    return f"1:\n{body}j 1b\n"


GREEDY = {
    "heap": forever(call(98, Ocall.SBRK, PAGE_SIZE)),
    "mmap": forever(call(98, Ocall.MMAP, 0, PAGE_SIZE)),
    "mmap, large": forever(call(98, Ocall.MMAP, 0, CHUNK_SIZE)),
    "secure shared memory": forever(call(98, Ocall.SHM_GET, 0, PAGE_SIZE)),
    "attached": forever(call(98, Ocall.SHM_GET, 0, PAGE_SIZE) + call(84)),
    "one that grows": call(98, Ocall.SHM_GET, 5, PAGE_SIZE)
    + forever(call(98, Ocall.SHM_EXTEND, 5, PAGE_SIZE)),
    "parcels": ASYNC,
    "handles": name_at(STACK - 256, "victim") + forever(call(97, STACK - 256)),
    "own id": forever(call(90)),
    "random bytes": forever(call(98, Ocall.GETRANDOM, STACK - PAGE_SIZE, 64)),
    "pieces": call(98, Ocall.MMAP, 0, 64 * PAGE_SIZE)
    + "mv s2, a0\nli s3, 1\n"
    + "1: slli s4, s3, 12\nadd s4, s4, s2\nsub s5, s4, s2\n"
    + f"li a1, {64 * PAGE_SIZE}\n"
    + call(92, "mv a0, s2", "nop", "mv a2, s4")
    + "addi s3, s3, 1\nj 1b\n",
    "yield": forever(call(89)),
    "system calls into a handler that is nowhere": call(1, 8) + forever("li a6, 0\nli a7, 1\necall\n"),
}


def attack(effort: Effort) -> Tally:
    """The town is as it was; the host has what it gave; the hart is free again."""
    tally = Tally()
    for part in (random_registers, greed, servers, callers):
        before = tally.tried
        part(tally, effort)
        tally.notes.append(f"{part.__name__} {tally.tried - before:,}")
    return tally


def random_registers(tally: Tally, effort: Effort) -> None:
    """Every call of an enclave with bad numbers; the host refuses whatever it is asked for."""
    for number in range(effort.count(8, 500)):
        town = Town()
        with tally.case(("random registers", number)):
            raw = town.raw
            raw.rewind_to(town.free_from)
            rows = rows_of(effort.seed * 10_000 + number, ROWS)
            run_to_its_end(raw, town.ports[0], raw.make(attacker(rows)))
            tally.tried += ROWS - 1
            town.sound()
            parcels = [each for queue in raw.monitor.platform.registry.parcels.values() for each in queue]
            lost = sum(len(each.region.pages) for each in parcels if each.region)
            assert raw.monitor.platform.ownership.free_pages + lost == town.start[1]
        town.close()


def greed(tally: Tally, effort: Effort) -> None:
    """It takes what there is, from a host that gives nothing and from one that gives a little."""
    for name, text in effort.some(list(GREEDY.items()), 13):
        for gifts in (0, 1):
            with tally.case(("greed", name, gifts)):
                town = Town(chunks=1)
                be_greedy(town, text, gifts)
                town.close()


def be_greedy(town: Town, text: str, gifts: int) -> None:
    raw, port = town.raw, town.ports[0]
    raw.rewind_to(town.free_from)
    eid = raw.make(program(text))
    raw.start(eid)
    result = _slice(town, eid)
    for _ in range(200):
        if result.value == RunValue.FAULTED:
            break
        if result.value == RunValue.OCALL:
            assert raw.word(0) == Ocall.SBRK, "it wants memory"
            given = min(gifts, 1)
            gifts -= given
            if given:
                raw.give_chunk()
            port.ecall(Extension.TIME, 0, port.time() + 5_000)
            result = raw.answer(eid, Ocall.SBRK, given, port)
        else:
            result = _slice(town, eid)
        assert result.error == 0
    check(raw.monitor)
    raw.call(HostCall.DESTROY, eid)
    town.sound()
    parcels = [each for queue in raw.monitor.platform.registry.parcels.values() for each in queue]
    assert len(parcels) <= 64
    kept = sum(len(each.pages) for each in parcels)
    owner = raw.monitor.platform.ownership.snapshot()
    assert not (owner == eid).any()
    more = (CHUNK_SIZE // PAGE_SIZE) * (raw.monitor.platform.ownership.free_pages + kept > town.start[1])
    assert raw.monitor.platform.ownership.free_pages + kept == town.start[1] + more, "all of it is back"


def _slice(town: Town, eid: int) -> SbiResult:
    """Half a millisecond on a hart."""
    port = town.ports[0]
    port.ecall(Extension.TIME, 0, port.time() + 5_000)
    return town.raw.enter(eid, port)


# ---- servers ---------------------------------------------------------------------------------------

PAGES = call(98, Ocall.MMAP, 0, 2 * PAGE_SIZE) + f"mv s2, a0\nli s3, {2 * PAGE_SIZE}\n"

BAD_SERVERS = {
    "faults at once": "unimp",
    "faults in memory": "li t0, 64\nld t0, 0(t0)",
    "exits": EXIT,
    "makes a foreign ecall": "li a6, 0\necall",
    "jumps into the caller's pages": "jr a1",
    "writes over its own code": "li t0, 0x1000\nsd t0, 0(t0)",
}
STUBBORN = {
    "never returns": FOREVER,
    "never returns and calls": forever(call(90)),
    "yields for ever": forever(call(89)),
    "returns nothing that is": forever(call(95, 64)),
    "calls itself": forever(calling("server")),
    "gives relay pages back to the host": forever(call(98, Ocall.RETURN_RELAY)),
}

GARBAGE = {
    "returns pages of nobody": forever(
        store(STACK - 512, 0, 0, 0, 0, 0x20_0000_0000, PAGE_SIZE) + call(95, STACK - 512)
    ),
    "returns its stack": forever(
        store(STACK - 512, 0, 0, 0, 0, STACK - PAGE_SIZE, PAGE_SIZE) + call(95, STACK - 512)
    ),
    "returns its code": forever(store(STACK - 512, 0, 0, 0, 0, 0x1000, PAGE_SIZE) + call(95, STACK - 512)),
    "returns the kernel buffer": forever(
        store(STACK - 512, 0, 0, 0, 0, layout.KERNEL_BUFFER, PAGE_SIZE) + call(95, STACK - 512)
    ),
    "returns half of a region": PAGES
    + forever(store(STACK - 512, 0, 0, 0, 0, "s2", PAGE_SIZE) + call(95, STACK - 512)),
    "returns physical addresses": forever(
        store(STACK - 512, 0, 0, 0, 0, RAM_BASE, PAGE_SIZE) + call(95, STACK - 512)
    ),
}
"""Answers with pages that are no region of the server's own: they are answers without pages."""


def servers(tally: Tally, effort: Effort) -> None:
    """A server that fails ends its caller's call; one that does not return is stopped with its caller.

    One that answers with what it has not gets its caller nothing.
    """
    every = list({**BAD_SERVERS, **STUBBORN, **GARBAGE}.items())
    for name, text in effort.some(every, 18):
        for lends in (False, True):
            with tally.case(("server", name, lends)):
                town = Town()
                serve(town, name, text, lends=lends)
                town.close()


def serve(town: Town, name: str, text: str, *, lends: bool) -> None:
    raw = town.raw
    raw.rewind_to(town.free_from)
    server = raw.make_server("server", text)
    mark = f"li t0, {MARK}\nsd t0, 0(s2)\n"
    body = PAGES + mark + lending("server", "s2", "s3") if lends else calling("server")
    caller = raw.make(f"{body}\nmv s7, a0\n" + ("ld s8, 0(s2)\n" if lends else "") + f"mv a0, s7\n{EXIT}")
    raw.start(caller)
    result = _slice(town, caller)
    if name in GARBAGE:
        while result.value == RunValue.TIMER:
            result = _slice(town, caller)
        assert result == (0, RunValue.ENDED), "the caller goes on"
        assert raw.word(4) == 0, "its call was answered"
        assert raw.state(server) is State.IDLE, "it can be called again"
        assert raw.call(HostCall.DESTROY_SERVER, server).error == 0
    elif name in BAD_SERVERS:
        while result.value == RunValue.TIMER:
            result = _slice(town, caller)
        assert result == (0, RunValue.ENDED), "the caller goes on"
        assert raw.word(4) == (1 << 64) - 1, "its call has failed"
        assert raw.call(HostCall.STOP, server).error == -3, "the server is gone"
    else:
        for _ in range(5):
            assert result.value in (RunValue.TIMER, RunValue.YIELD), result
            result = _slice(town, caller)
        until(lambda: (_slice(town, caller), raw.state(server) is State.BUSY)[1])
        assert raw.call(HostCall.DESTROY_SERVER, server).error == -1, "it is busy"
        assert raw.call(HostCall.STOP, caller).error == 0
        assert raw.call(HostCall.RESUME, caller, ResumeReason.STOP).error == 0
        town.sound()
        assert raw.call(HostCall.DESTROY, caller).error == 0
        assert raw.state(server) is State.IDLE, "it can be called again"
        assert raw.call(HostCall.DESTROY_SERVER, server).error == 0
    town.back_to_the_start()


# ---- callers ---------------------------------------------------------------------------------------


def _lend(address: int | str, size: int | str, argument: int = STACK - 192) -> str:
    """Call the server, acquired in s1, with these pages."""
    return store(STACK - 192, 0, 0, address, size, 0, 0) + call(96, "mv a0, s1", argument)


ACQUIRE = name_at(STACK - 256, "server") + call(97, STACK - 256) + "mv s1, a0\n"

BAD_CALLS = {
    "its stack": _lend(STACK - PAGE_SIZE, PAGE_SIZE),
    "its code": _lend(0x1000, PAGE_SIZE),
    "the kernel buffer": _lend(layout.KERNEL_BUFFER, PAGE_SIZE),
    "nobody's pages": _lend(0x20_0000_0000, PAGE_SIZE),
    "half of a region": PAGES + _lend("s2", PAGE_SIZE),
    "more than a region": PAGES + _lend("s2", 3 * PAGE_SIZE),
    "an endless region": PAGES + _lend("s2", (1 << 64) - PAGE_SIZE),
    "its heap": call(98, Ocall.SBRK, PAGE_SIZE) + _lend(layout.HEAP_BASE, PAGE_SIZE),
    "secure shared memory": call(98, Ocall.SHM_GET, 5, PAGE_SIZE)
    + call(84, 5)
    + "mv s2, a0\n"
    + _lend("s2", PAGE_SIZE),
    "an argument in the pages": PAGES + "sd s2, 16(s2)\nsd s3, 24(s2)\n" + call(96, "mv a0, s1", "mv a1, s2"),
    "an argument in its code": call(96, "mv a0, s1", 0x1000),
    "an argument nowhere": call(96, "mv a0, s1", 64),
    "an argument across the end": call(96, "mv a0, s1", STACK - 8),
    "a handle that is an enclave's": call(96, 2, STACK - 192),
    "a handle with bits above": "slli t0, s1, 32\nor s1, s1, t0\n" + _lend(0, 0),
    "a handle of nobody": call(96, (1 << 64) - 1, STACK - 192),
    "an answer without a call": call(95, STACK - 192),
}


def callers(tally: Tally, effort: Effort) -> None:
    """A caller that passes what is not its own, or calls in a circle: -1, or busy, and nothing moves."""
    for name, text in effort.some(list(BAD_CALLS.items()), 17):
        with tally.case(("caller", name)):
            town = Town()
            raw = town.raw
            raw.rewind_to(town.free_from)
            server = raw.make_server("server", answering("x0"))
            before = ACQUIRE + store(STACK - 192, 0, 0, 0, 0, 0, 0)
            eid = raw.make(before + text + EXIT)
            raw.start(eid)
            assert raw.enter(eid, town.ports[0]) == (0, RunValue.ENDED)
            assert raw.word(4) == (1 << 64) - 1, hex(raw.word(4))
            assert raw.state(server) is State.IDLE
            assert raw.call(HostCall.DESTROY_SERVER, server).error == 0
            town.back_to_the_start()
            town.close()
    for length in range(1, 6):
        with tally.case(("a circle of", length)):
            circle(length)


def circle(length: int) -> None:
    """Servers each of which calls the next, the last the first: it is busy, and everybody returns."""
    town = Town()
    raw = town.raw
    raw.rewind_to(town.free_from)
    made: list[int] = []
    for number in range(length):
        following = f"ring{(number + 1) % length}"
        made.append(raw.make_server(f"ring{number}", calling(following) + "mv s5, a0\n" + answering("s5")))
    eid = raw.make(calling("ring0") + load_answer() + EXIT)
    raw.start(eid)
    assert raw.enter(eid, town.ports[0]) == (0, RunValue.ENDED)
    assert raw.word(4) in (0, (1 << 64) - 2)
    for server in made:
        assert raw.state(server) is State.IDLE
        assert raw.call(HostCall.DESTROY_SERVER, server).error == 0
    town.back_to_the_start()
    town.close()


def load_answer() -> str:
    """The answer's value, from the call_arg."""
    return f"li t1, {STACK - 256 + 64}\nld a0, 8(t1)\n"
