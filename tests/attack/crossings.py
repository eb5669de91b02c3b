"""Calls on several enclaves that share something, in every order of their steps.

What two calls do together must be what they do one after the other, in one order or the other; where an
enclave executes meanwhile (`loose`), it must at least be sound: no exception, no deadlock, every page with
its owner, and all of them back when everything is destroyed.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import combinations, permutations

import numpy as np

from penglai.abi.riscv import CHUNK_SIZE, PAGE_SIZE, RAM_BASE
from penglai.abi.sbi import EnclaveType, HostCall, RunParam, RunValue
from tests.attack.tally import Effort, Tally
from tests.attack.town import MARK
from tests.attack.turns import Choice, Deadlock, Turns, turning_host
from tests.support.rawhost import EXIT, FOREVER, answering, call, calling, name_at, program

TITLE = "every order of calls on enclaves that share servers, shadows, memory"

MOST = 20_000
"""Schedules of one choice of calls in the long form."""

Act = Callable[[], object]


@dataclass(frozen=True)
class Scenario:
    """prepare: makes what is there beforehand; returns calls by name, of which `width` are tried at once."""

    name: str
    prepare: Callable[["Stage"], dict[str, Act]]
    width: int = 2
    loose: bool = False


class Stage:
    """A host whose threads take turns."""

    def __init__(self, preemptions: int | None, *, lines: bool) -> None:
        self.turns = Turns(preemptions, lines=lines)
        self.raw = turning_host(self.turns)
        self.ports = [self.raw.board.host_port(hart) for hart in self.raw.board.harts]
        self.base = self.raw.snapshot()
        self.keeper = 0
        """The eid of the enclave that alone may have the mark."""

    def ready(self, scenario: Scenario) -> dict[str, Act]:
        self.raw.rewind()
        return scenario.prepare(self)

    def create_act(self, spec: str, function: int = HostCall.CREATE, **fields: object) -> Act:
        """A create, staged beforehand."""
        raw = self.raw
        image = program(spec)
        paddr, size = raw.stage(image)
        param = raw.param(paddr, size, **fields)
        return lambda: raw.call(function, param).error

    def next_eid(self) -> int:
        """What the next enclave's eid will be: this one's, which goes at once, plus one."""
        eid = self.raw.make(EXIT)
        assert self.raw.call(HostCall.DESTROY, eid).error == 0
        return eid + 1

    def relay_param(self, pa: int) -> int:
        page = self.raw.page()
        self.raw.memory.write(page, bytes(RunParam(relay_pa=pa, relay_size=PAGE_SIZE)))
        return page

    def clean(self) -> None:
        """End everything; every page is where it was in the beginning."""
        raw = self.raw
        for kind in (EnclaveType.NORMAL, EnclaveType.SERVER, EnclaveType.SHADOW):
            function = {
                EnclaveType.NORMAL: HostCall.DESTROY,
                EnclaveType.SERVER: HostCall.DESTROY_SERVER,
                EnclaveType.SHADOW: HostCall.DESTROY_SHADOW,
            }[kind]
            for enclave in raw.monitor.enclaves():
                if enclave.kind is kind:
                    assert raw.call(function, enclave.eid).error == 0, enclave
        while raw.monitor.platform.registry.parcels:  # an enclave of the name has what is on its way
            eid = raw.make(EXIT)
            raw.start(eid)
            assert raw.call(HostCall.DESTROY, eid).error == 0
        if raw.monitor.platform.ownership.free_pages != self.base[1]:
            while raw.call(HostCall.MEMORY_RECLAIM).value:
                pass
            top = RAM_BASE + raw.board.memory.size - CHUNK_SIZE
            assert raw.call(HostCall.MEMORY_EXTEND, top, CHUNK_SIZE).error == 0
        assert raw.snapshot() == self.base

    def nobody_else_has_the_mark(self) -> None:
        """What the keeper of the mark has written is in its own pages alone."""
        words = self.raw.board.memory.words.reshape(-1)
        pages = np.unique(np.flatnonzero(words == MARK) // 512)
        owners = set(self.raw.monitor.platform.ownership.snapshot()[pages].tolist())
        assert owners <= {self.keeper}, "another one, or the host, has what it wrote"

    def states(self) -> tuple[object, ...]:
        """What can be seen of all live enclaves: their order, not their eids, is the same in every run."""
        return tuple((enclave.kind, enclave.state) for enclave in self.raw.monitor.enclaves())


# ---- the scenarios -------------------------------------------------------------------------------


def shadow_and_instance(stage: Stage) -> dict[str, Act]:
    """An instance is attacked while it is being made, through the eid that it will have."""
    raw = stage.raw
    shadow = raw.make_shadow(FOREVER)
    eid = stage.next_eid()
    relay, run = raw.page(), raw.run_param()
    param = raw.shadow_run_param(relay_pa=relay, relay_size=PAGE_SIZE)
    return {
        "run instance": lambda: raw.call(HostCall.RUN_SHADOW, shadow, param).error,
        "destroy it": lambda: raw.call(HostCall.DESTROY, eid).error,
        "run it": lambda: raw.call(HostCall.RUN, eid, run).error,
        "stop it": lambda: raw.call(HostCall.STOP, eid).error,
        "destroy the shadow": lambda: raw.call(HostCall.DESTROY_SHADOW, shadow).error,
    }


def last_instance(stage: Stage) -> dict[str, Act]:
    raw = stage.raw
    shadow = raw.make_shadow(FOREVER)
    first, second = raw.instance(shadow), raw.instance(shadow)
    param = raw.shadow_run_param()
    return {
        "destroy the shadow": lambda: raw.call(HostCall.DESTROY_SHADOW, shadow).error,
        "destroy an instance": lambda: raw.call(HostCall.DESTROY, first).error,
        "destroy the other": lambda: raw.call(HostCall.DESTROY, second).error,
        "run another": lambda: raw.call(HostCall.RUN_SHADOW, shadow, param).error,
    }


def one_name(stage: Stage) -> dict[str, Act]:
    raw = stage.raw
    old = raw.make_server("name", EXIT)
    kind = {"name": b"name", "type": EnclaveType.SERVER}
    return {
        "create": stage.create_act(EXIT, HostCall.CREATE_SERVER, **kind),
        "create again": stage.create_act(EXIT, HostCall.CREATE_SERVER, **kind),
        "destroy the old": lambda: raw.call(HostCall.DESTROY_SERVER, old).error,
    }


def memory(stage: Stage) -> dict[str, Act]:
    """Chunks come and go while enclaves are made of them."""
    raw = stage.raw
    spare = RAM_BASE + CHUNK_SIZE * 2
    eid = raw.make(EXIT)
    return {
        "create": stage.create_act(EXIT),
        "create with that chunk's page": stage.create_act(EXIT, shm_paddr=spare, shm_size=PAGE_SIZE),
        "extend": lambda: raw.call(HostCall.MEMORY_EXTEND, spare, CHUNK_SIZE).error,
        "reclaim": lambda: raw.call(HostCall.MEMORY_RECLAIM).error,
        "destroy": lambda: raw.call(HostCall.DESTROY, eid).error,
    }


def relay_pages(stage: Stage) -> dict[str, Act]:
    """One page of the host's is given to two enclaves, shared, and given to the pool."""
    raw = stage.raw
    page = RAM_BASE + CHUNK_SIZE * 2
    first, second = raw.make(FOREVER), raw.make(FOREVER)
    one, two = stage.relay_param(page), stage.relay_param(page)
    return {
        "give it to one": lambda: raw.call(HostCall.RUN, first, one).error,
        "give it to the other": lambda: raw.call(HostCall.RUN, second, two).error,
        "share it": stage.create_act(EXIT, shm_paddr=page, shm_size=PAGE_SIZE),
        "make it a kernel buffer": stage.create_act(EXIT, kbuffer=page),
        "extend": lambda: raw.call(HostCall.MEMORY_EXTEND, page, CHUNK_SIZE).error,
        "destroy one": lambda: raw.call(HostCall.DESTROY, first).error,
    }


def image_in_motion(stage: Stage) -> dict[str, Act]:
    """The image of a create is given away, and made another's kernel buffer, while it is copied."""
    raw = stage.raw
    paddr, size = RAM_BASE + CHUNK_SIZE * 2, 16 * PAGE_SIZE
    made, made_size = raw.stage(program(EXIT))
    raw.memory.write(paddr, raw.memory.read(made, made_size))
    param = raw.param(made, made_size)
    return {
        "create": lambda: raw.call(HostCall.CREATE, param).error,
        "use its page as a buffer": stage.create_act(EXIT, kbuffer=made + 4 * PAGE_SIZE),
        "share its pages": stage.create_act(EXIT, shm_paddr=made, shm_size=size),
        "write it": lambda: raw.memory.write(made, bytes(made_size)) or raw.memory.write(made, b""),
    }


def image_given_away(stage: Stage) -> dict[str, Act]:
    """A page of an image becomes another enclave's relay page, which writes a mark to it, then the host's."""
    raw = stage.raw
    keeper = raw.make(f"li t0, {MARK}\nsd t0, 0(a3)\n{call(89)}{FOREVER}")
    stage.keeper = keeper
    paddr, size = raw.stage(program(EXIT))
    run, param = stage.relay_param(paddr), raw.param(paddr, size)
    return {
        "create": lambda: raw.call(HostCall.CREATE, param),
        "another gets its page": lambda: raw.call(HostCall.RUN, keeper, run, port=stage.ports[0]),
        "another create": stage.create_act(EXIT),
    }


def server_call(stage: Stage) -> dict[str, Act]:
    """A server is called from two harts, stopped under, destroyed."""
    raw = stage.raw
    server = raw.make_server("server", "mv s5, a0\n" + answering("s5"))
    callers = [raw.make(calling("server") + EXIT) for _ in range(2)]
    for caller in callers:
        raw.start(caller)
    first, second = callers
    return {
        "a caller runs": lambda: raw.enter(first, stage.ports[0]),
        "the other runs": lambda: raw.enter(second, stage.ports[1]),
        "destroy the server": lambda: raw.call(HostCall.DESTROY_SERVER, server),
        "stop the caller": lambda: raw.call(HostCall.STOP, first),
        "destroy the caller": lambda: raw.call(HostCall.DESTROY, first),
        "look at the server": lambda: raw.call(HostCall.ATTEST, server, RAM_BASE, 1),
    }


def server_fault(stage: Stage) -> dict[str, Act]:
    """A server faults in a call while others want it."""
    raw = stage.raw
    server = raw.make_server("server", "unimp")
    callers = [raw.make(calling("server") + EXIT) for _ in range(2)]
    for caller in callers:
        raw.start(caller)
    again = stage.create_act(EXIT, HostCall.CREATE_SERVER, name=b"server", type=EnclaveType.SERVER)
    return {
        "a caller runs": lambda: raw.enter(callers[0], stage.ports[0]),
        "the other runs": lambda: raw.enter(callers[1], stage.ports[1]),
        "destroy the server": lambda: raw.call(HostCall.DESTROY_SERVER, server),
        "destroy the caller": lambda: raw.call(HostCall.DESTROY, callers[0]),
        "create it again": again,
    }


def secure_memory(stage: Stage) -> dict[str, Act]:
    """Two enclaves make, attach and leave one secure shared memory."""
    raw = stage.raw
    text = "li s7, 5\n" + call(98, 9, 5, PAGE_SIZE) + call(84, 5) + call(98, 11, 5) + EXIT
    first, second = raw.make(text), raw.make(text)
    for eid in (first, second):
        raw.start(eid)
    return {
        "one": lambda: raw.enter(first, stage.ports[0]),
        "the other": lambda: raw.enter(second, stage.ports[1]),
        "destroy one": lambda: raw.call(HostCall.DESTROY, first),
        "stop the other": lambda: raw.call(HostCall.STOP, second),
    }


def parcels(stage: Stage) -> dict[str, Act]:
    """One asynchronous call waits, and two enclaves of the name start."""
    raw = stage.raw
    where = 0x38_0000_0000 - 256
    text = name_at(where, "raw") + call(98, 1, 0, PAGE_SIZE) + "mv s2, a0\n"
    text += f"li t1, {where + 64}\nsd zero, 0(t1)\nsd s2, 16(t1)\nli t0, {PAGE_SIZE}\nsd t0, 24(t1)\n"
    sender = raw.make(text + call(93, where, where + 64) + EXIT)
    raw.start(sender)
    assert raw.enter(sender, stage.ports[0]) == (0, RunValue.ENDED)
    first, second, run = raw.make(FOREVER), raw.make(FOREVER), raw.run_param()
    return {
        "one starts": lambda: raw.call(HostCall.RUN, first, run).error,
        "the other starts": lambda: raw.call(HostCall.RUN, second, run).error,
        "destroy one": lambda: raw.call(HostCall.DESTROY, first).error,
    }


SCENARIOS = [
    Scenario("an instance that is being made", shadow_and_instance, 3),
    Scenario("the last instance and its shadow", last_instance, 3),
    Scenario("servers of one name", one_name, 3),
    Scenario("the pool", memory),
    Scenario("one page for many", relay_pages),
    Scenario("an image in motion", image_in_motion),
    Scenario("an image given away", image_given_away, loose=True),
    Scenario("a server and its callers", server_call, loose=True),
    Scenario("a server that faults", server_fault, loose=True),
    Scenario("secure shared memory", secure_memory, loose=True),
    Scenario("an asynchronous call for two", parcels),
]


def attack(effort: Effort) -> Tally:
    """Every choice of calls of every scenario, by locks and line by line."""
    tally = Tally()
    bound = 3 if effort.long else 2
    for lines, preemptions in ((False, bound), (True, 1)):
        before = tally.tried
        cut = total = 0
        for scenario in SCENARIOS:
            stage = Stage(preemptions, lines=lines)
            calls = list(stage.ready(scenario))
            stage.clean()
            for names in effort.some(list(combinations(calls, scenario.width)), 40):
                total += 1
                stage, whole = explore(tally, stage, scenario, names, effort)
                cut += not whole
        what = "line by line" if lines else "by locks"
        tally.notes.append(
            f"{what}: {tally.tried - before} schedules of up to {preemptions} preemptions, "
            f"{total - cut} of {total} choices of calls in full"
        )
    return tally


def explore(
    tally: Tally, stage: Stage, scenario: Scenario, names: tuple[str, ...], effort: Effort
) -> tuple[Stage, bool]:
    """Schedules of one choice of calls; a fresh stage if it broke; whether they were all.

    The short form takes some at random; the long form all, up to MOST.
    """
    if effort.long:
        found = explore_all(stage, scenario, names)
    else:
        trial = Trial(stage, scenario, names)
        chance = effort.random(scenario.name, names)
        found = trial.tally(stage.turns.sample(trial.schedule, max(3, effort.count(8)), chance))
    tally.tried += found.tried
    tally.broken += found.broken
    if found.broken:
        stage = Stage(stage.turns.preemptions, lines=stage.turns.lines)
    return stage, effort.long and found.tried < MOST


def explore_all(stage: Stage, scenario: Scenario, names: tuple[str, ...]) -> Tally:
    """All schedules of one choice of calls, up to MOST."""
    trial = Trial(stage, scenario, names)
    return trial.tally(stage.turns.explore(trial.schedule, MOST))


class Trial:
    """One choice of calls of a scenario."""

    def __init__(self, stage: Stage, scenario: Scenario, names: tuple[str, ...]) -> None:
        self.stage, self.scenario, self.names = stage, scenario, names
        self.prefix: list[int] = []
        self.allowed: set[object] | None = None

    def schedule(self, prefix: list[int]) -> list[Choice]:
        """Run one schedule, and look at what came of it."""
        stage = self.stage
        if not self.scenario.loose and self.allowed is None:
            orders = permutations(range(len(self.names)))
            self.allowed = {self.sequence(order) for order in orders}
        self.prefix = prefix
        acts = stage.ready(self.scenario)
        results, choices = stage.turns.run([acts[name] for name in self.names], prefix)
        for result in results:
            if isinstance(result, BaseException):
                raise result
        if self.allowed is not None:
            assert (*results, stage.states()) in self.allowed, (results, stage.states(), self.allowed)
        stage.nobody_else_has_the_mark()
        stage.clean()
        return choices

    def sequence(self, order: tuple[int, ...]) -> tuple[object, ...]:
        """The results, and what is there afterwards, when the calls come one after the other."""
        acts = self.stage.ready(self.scenario)
        results: dict[int, object] = {number: acts[self.names[number]]() for number in order}
        found = (*(results[number] for number in range(len(self.names))), self.stage.states())
        self.stage.clean()
        return found

    def tally(self, schedules: Iterator[list[int]]) -> Tally:
        """Run them; the first that breaks is the last."""
        tally = Tally()
        try:
            for _ in schedules:
                tally.tried += 1
        except (Exception, Deadlock) as error:
            tally.tried += 1
            tally.break_(f"{self.scenario.name}: {self.names}, schedule {self.prefix}", repr(error))
        return tally
