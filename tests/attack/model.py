"""Random sequences of all calls against an independent model of life cycle and memory.

The model of one enclave is reference.Life; this adds servers, shadows with their instances, pages of the pool
by their number, and chunks.  After each step the system must say the same as the model, the invariants must
hold, and no page that the host sees may hold a mark.
"""

import random
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from copy import deepcopy
from dataclasses import dataclass, field
from typing import Any

import hypothesis
import numpy as np
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.errors import FlakyStrategyDefinition
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from penglai.abi.ecall import Ocall
from penglai.abi.riscv import CHUNK_SIZE, PAGE_SIZE, RAM_BASE
from penglai.abi.sbi import HostCall, ResumeReason
from penglai.machine import Board, HostPort
from tests.attack.reference import CALLS, OCALL, YIELD, Life, Result, Steps, outcomes
from tests.attack.tally import Effort, Tally
from tests.attack.town import MARK, marked
from tests.support.rawhost import EXIT, RawHost, answering, call, calling

TITLE = "random calls on enclaves, servers, shadows and the pool, step by step"

EVENTS = {YIELD: call(89), OCALL: call(98, Ocall.WRITE)}
STEPS = 100
SCRIPT = st.lists(st.sampled_from(sorted(EVENTS)), min_size=1, max_size=4)

Random = st.sampled_from(range(1, 78))
"""Who is meant: an enclave that lives, seldom one that has ended (multiples of 7) or none (of 11)."""


@dataclass
class Being:
    """An enclave of the model.  pages: of the pool.  server: the name of whom it calls first, until it has.
    template: the shadow that it is an instance of."""

    life: Life
    pages: int
    server: str | None = None
    template: int | None = None


@dataclass
class Tool:
    """A server or a shadow.  name: of a server.  users: instances alive.  gone: destroyed."""

    pages: int
    name: str = ""
    busy: int | None = None
    users: int = 0
    gone: bool = False


@dataclass
class Count:
    """How many steps were taken in all, and in how many worlds one failed."""

    steps: int = 0
    failed: int = 0
    names: dict[str, int] = field(default_factory=dict)


COUNT = Count()


def result_of(steps: Steps) -> Result:
    """A call that nothing comes between."""
    try:
        while True:
            next(steps)
    except StopIteration as end:
        found: Result = end.value
        return found


class World(RuleBasedStateMachine):
    """The system and the model, side by side."""

    @initialize()
    def begin(self) -> None:
        if hasattr(self, "raw"):
            return
        self.raw = RawHost(Board(12 << 20, 2), chunks=1)
        self.ports = [self.raw.board.host_port(hart) for hart in self.raw.board.harts]
        self.beings: dict[int, Being] = {}
        self.servers: dict[int, Tool] = {}
        self.shadows: dict[int, Tool] = {}
        self.free = self.raw.monitor.platform.ownership.free_pages
        self.chunks = 1
        self.param = self.raw.run_param()
        self.report = self.raw.page()

    @initialize(scripts=st.lists(SCRIPT, min_size=2, max_size=2), calls=st.booleans())
    def populate(self, scripts: list[list[int]], calls: bool) -> None:
        """So that there is somebody from the first step on."""
        if not hasattr(self, "raw"):
            self.begin()
        self.create_server()
        self.create_shadow()
        for script in scripts:
            self.create(script, calls, 1)

    def teardown(self) -> None:
        COUNT.failed += isinstance(sys.exc_info()[1], Exception)
        if not hasattr(self, "raw"):
            return
        for eid, being in self.beings.items():
            gone = being.life.gone
            assert (self.raw.call(HostCall.DESTROY, eid).error == 0) is not gone
        for function, tools in (
            (HostCall.DESTROY_SERVER, self.servers),
            (HostCall.DESTROY_SHADOW, self.shadows),
        ):
            for eid, tool in tools.items():
                assert (self.raw.call(function, eid).error == 0) is not tool.gone
        self.raw.snapshot()
        free = self.raw.monitor.platform.ownership.free_pages
        assert free == self.chunks * CHUNK_SIZE // PAGE_SIZE, "the pool is whole again"
        self.raw.board.power_off()

    # ---- making ------------------------------------------------------------------------------------

    def made(self, make: Callable[[], int]) -> tuple[int, int]:
        """A new eid, and how many pages of the pool it took."""
        before = self.raw.monitor.platform.ownership.free_pages
        eid = make()
        for known in (self.beings, self.servers, self.shadows):
            assert eid not in known, "an eid is used again"
        self.hide_images()
        return eid, before - self.raw.monitor.platform.ownership.free_pages

    def hide_images(self) -> None:
        """The host forgets what it has staged."""
        memory = self.raw.board.memory
        pages = np.unique(np.flatnonzero(memory.words.reshape(-1) == MARK) // 512)
        memory.pages[pages[memory.host_visible[pages]]] = 0

    @precondition(lambda self: self.alive < 4)
    @rule(script=SCRIPT, calls=st.booleans(), which=Random)
    def create(self, script: list[int], calls: bool, which: int) -> None:
        picked = self.pick(self.servers, which) if calls else None
        server = self.servers[picked].name if picked is not None else None
        body = "".join(EVENTS[event] for event in script)
        if server is not None:
            body = calling(server) + "bltz a0, 9f\n" + body + "9:\n"
        eid, pages = self.made(lambda: self.raw.make(marked(body + EXIT)))
        assert pages > 5
        self.beings[eid] = Being(Life(script=list(script)), pages, server)
        self.free -= pages

    @precondition(lambda self: len(self.servers) < 6)
    @rule()
    def create_server(self) -> None:
        """Writes once, so that its caller can be met in the call, and returns.  Names are used again."""
        taken = {tool.name for tool in self.servers.values() if not tool.gone}
        free = [name for name in ("s0", "s1", "s2") if name not in taken]
        if not free:
            return
        body = "mv s5, a0\n" + EVENTS[OCALL] + answering("s5")
        eid, pages = self.made(lambda: self.raw.make_server(free[0], marked(body)))
        self.servers[eid] = Tool(pages, free[0])
        self.free -= pages

    @precondition(lambda self: len(self.shadows) < 3)
    @rule()
    def create_shadow(self) -> None:
        eid, pages = self.made(lambda: self.raw.make_shadow(marked(EVENTS[YIELD] + EXIT)))
        self.shadows[eid] = Tool(pages)
        self.free -= pages

    @precondition(lambda self: self.shadows and self.alive < 5)
    @rule(which=Random)
    def run_instance(self, which: int) -> None:
        eid = self.pick(self.shadows, which)
        shadow = self.shadows[eid]
        if shadow.gone:
            param = self.raw.shadow_run_param()
            assert self.raw.call(HostCall.RUN_SHADOW, eid, param).error == -3
            return
        made, pages = self.made(lambda: self.raw.instance(eid))
        shadow.users += 1
        self.beings[made] = Being(Life("RUNNABLE", [YIELD]), pages, template=eid)
        self.free -= pages

    @property
    def alive(self) -> int:
        """How many enclaves have not ended."""
        return sum(not being.life.gone for being in self.beings.values())

    # ---- the calls ---------------------------------------------------------------------------------

    def pick(self, among: dict[int, Any], which: int) -> int | None:
        return sorted(among)[which % len(among)] if among else None

    def act(self, which: int, call: str, make: Callable[[int], Any], *, on_hart: bool = False) -> None:
        """Make a call on one of the enclaves, ended ones too, or on none; system and model say the same."""
        among = self.beings if which % 7 == 0 else {e: b for e, b in self.beings.items() if not b.life.gone}
        eid = self.pick(among, which) if which % 11 else 9999
        if eid is None or eid == 9999:
            assert make(9999).error == -3
            return
        being = self.beings[eid]
        was_gone = being.life.gone
        result = make(eid)
        expected = self.on_hart(eid, being, call) if on_hart else result_of(getattr(being.life, call)())
        assert tuple(result) == expected, (eid, call, result, expected, being)
        if being.life.gone and not was_gone:
            self.ended(being)

    def on_hart(self, eid: int, being: Being, call: str) -> Result:
        """What a hart comes back with: a being that calls a server meets the server's ocall first."""
        life = being.life
        enters = {"run_on_hart": life.state == "FRESH", "enter": life.state == "RUNNABLE"}.get(
            call, life.waiting and life.state == "OCALL"
        )
        if enters and being.server is not None:
            self.calls_first(eid, being)
        return result_of(getattr(life, call)())

    def calls_first(self, eid: int, being: Being) -> None:
        """It goes on: into the server, out of it, or past a call that failed."""
        live = [tool for tool in self.servers.values() if tool.name == being.server and not tool.gone]
        server = live[0] if live else None
        if server is not None and server.busy == eid:  # the server's ocall has been answered: it returns
            server.busy, being.server = None, None
        elif server is None or server.busy is not None:
            being.server, being.life.script = None, []  # its call fails, and it ends
        else:
            server.busy = eid
            being.life.script.insert(0, OCALL)

    def ended(self, being: Being) -> None:
        """Its pages are back, and the server that it called is idle."""
        self.free += being.pages
        for tool in self.servers.values():
            if tool.busy is not None and self.beings[tool.busy] is being:
                tool.busy = None
        if being.template is not None:
            shadow = self.shadows[being.template]
            shadow.users -= 1
            if shadow.gone and not shadow.users:
                self.free += shadow.pages

    @rule(which=Random)
    def run(self, which: int) -> None:
        self.act(which, "run", lambda eid: self.raw.call(HostCall.RUN, eid, self.param))

    @rule(which=Random, hart=st.integers(0, 1))
    def run_on_hart(self, which: int, hart: int) -> None:
        port = self.ports[hart]
        self.act(
            which,
            "run_on_hart",
            lambda eid: self.raw.call(HostCall.RUN, eid, self.param, port=port),
            on_hart=True,
        )

    @rule(which=Random, hart=st.integers(0, 1))
    def enter(self, which: int, hart: int) -> None:
        self.act(which, "enter", lambda eid: self.raw.enter(eid, self.ports[hart]), on_hart=True)

    @rule(which=Random, hart=st.integers(0, 1))
    def answer(self, which: int, hart: int) -> None:
        self.act(which, "answer", lambda eid: self.raw.answer(eid, port=self.ports[hart]), on_hart=True)

    @rule(which=Random)
    def stop(self, which: int) -> None:
        self.act(which, "stop", lambda eid: self.raw.call(HostCall.STOP, eid))

    @rule(which=Random)
    def resume(self, which: int) -> None:
        self.act(which, "resume", lambda eid: self.raw.call(HostCall.RESUME, eid, ResumeReason.STOP))

    @rule(which=Random)
    def stop_and_resume(self, which: int) -> None:
        self.stop(which)
        self.system_and_model_say_the_same()
        self.resume(which)

    @rule(which=Random)
    def attest(self, which: int) -> None:
        self.act(which, "attest", lambda eid: self.raw.call(HostCall.ATTEST, eid, self.report, 1))

    @rule(which=Random)
    def destroy(self, which: int) -> None:
        self.act(which, "destroy", lambda eid: self.raw.call(HostCall.DESTROY, eid))

    @precondition(lambda self: self.servers)
    @rule(which=Random)
    def destroy_server(self, which: int) -> None:
        eid = self.pick(self.servers, which)
        tool = self.servers[eid]
        result = self.raw.call(HostCall.DESTROY_SERVER, eid).error
        assert result == (-3 if tool.gone else -1 if tool.busy is not None else 0)
        if result == 0:
            tool.gone = True
            self.free += tool.pages

    @precondition(lambda self: self.shadows)
    @rule(which=Random)
    def destroy_shadow(self, which: int) -> None:
        eid = self.pick(self.shadows, which)
        tool = self.shadows[eid]
        assert self.raw.call(HostCall.DESTROY_SHADOW, eid).error == (-3 if tool.gone else 0)
        if not tool.gone:
            tool.gone = True
            self.free += 0 if tool.users else tool.pages

    @precondition(lambda self: any(self.alone(being) for being in self.beings.values()))
    @rule(which=Random, first=st.sampled_from(CALLS), second=st.sampled_from(CALLS))
    def together(self, which: int, first: str, second: str) -> None:
        """Two host threads call at once: what comes of it is what one order of their steps gives."""
        alone = {eid: being for eid, being in self.beings.items() if self.alone(being)}
        eid = self.pick(alone, which)
        being, raw = alone[eid], self.raw
        start = deepcopy(being.life)
        acts = [self.request(call, eid, port) for call, port in zip((first, second), self.ports, strict=True)]
        with ThreadPoolExecutor(2) as pool:
            results = [tuple(each.result()) for each in [pool.submit(act) for act in acts]]
        record = raw.monitor.platform.registry.find(eid)
        ways = [way for way in outcomes(lambda: deepcopy(start), (first, second)) if list(way[:2]) == results]
        seen = ("GONE",)
        if record is not None:
            seen = (record.state.name, record.ocall is not None, record.account.stops)
        ways = [way for way in ways if way[2][:3] == seen]
        assert ways, (first, second, results, seen, start)
        if record is None:
            being.life.state, being.life.waiting = "DESTROYED", False
            self.ended(being)
            return
        left = {way[2][3] for way in ways}
        assert len(left) == 1, "the model cannot tell what has happened"
        life = being.life
        life.state, life.waiting, life.stops = seen[0], seen[1], seen[2]
        life.script = start.script[len(start.script) - left.pop() :]

    def alone(self, being: Being) -> bool:
        """Lives, and calls no server."""
        return not being.life.gone and being.server is None

    def request(self, call: str, eid: int, port: HostPort) -> Callable[[], Any]:
        raw = self.raw
        requests: dict[str, Callable[[], Any]] = {
            "run": lambda: raw.call(HostCall.RUN, eid, self.param),
            "run_on_hart": lambda: raw.call(HostCall.RUN, eid, self.param, port=port),
            "enter": lambda: raw.enter(eid, port),
            "answer": lambda: raw.answer(eid, port=port),
            "stop": lambda: raw.call(HostCall.STOP, eid),
            "resume": lambda: raw.call(HostCall.RESUME, eid, ResumeReason.STOP),
            "destroy": lambda: raw.call(HostCall.DESTROY, eid),
            "attest": lambda: raw.call(HostCall.ATTEST, eid, self.report, 1),
            "info": lambda: raw.call(HostCall.INFO, eid, self.report, 0),
        }
        return requests[call]

    # ---- the pool ----------------------------------------------------------------------------------

    @rule(number=st.integers(0, 7))
    def extend(self, number: int) -> None:
        """Chunks 0 and 1 hold what the host needs; the others may be the monitor's already."""
        pa = RAM_BASE + number * CHUNK_SIZE
        mine = number >= 3 and self.raw.memory.owns(pa, CHUNK_SIZE)
        if number < 3 and not self.raw.memory.owns(pa, CHUNK_SIZE):
            mine = False
        elif number < 3:
            return
        result = self.raw.call(HostCall.MEMORY_EXTEND, pa, CHUNK_SIZE).error
        assert (result == 0) is mine
        if mine:
            self.chunks += 1
            self.free += CHUNK_SIZE // PAGE_SIZE

    @rule()
    def reclaim(self) -> None:
        if self.chunks == 1:
            return  # the last one stays, so that there is something to make enclaves of
        result = self.raw.call(HostCall.MEMORY_RECLAIM)
        assert result.error == 0
        if result.value:
            assert self.raw.memory.read(result.value, CHUNK_SIZE) == bytes(CHUNK_SIZE), "it comes back empty"
            self.chunks -= 1
            self.free -= CHUNK_SIZE // PAGE_SIZE

    # ---- after each step -----------------------------------------------------------------------------

    @invariant()
    def system_and_model_say_the_same(self) -> None:
        if not hasattr(self, "raw"):
            return
        COUNT.steps += 1
        raw, memory = self.raw, self.raw.board.memory
        raw.snapshot()
        assert raw.monitor.platform.ownership.free_pages == self.free, "the pool has another number of pages"
        seen = np.unique(np.flatnonzero(memory.words.reshape(-1) == MARK) // 512)
        assert not memory.host_visible[seen].any(), "the host sees memory of an enclave"
        live = {each.eid: each for each in raw.monitor.enclaves()}
        expected = {eid for eid, being in self.beings.items() if not being.life.gone}
        for tools in (self.servers, self.shadows):
            expected |= {eid for eid, tool in tools.items() if not tool.gone}
        assert set(live) == expected
        for eid, being in self.beings.items():
            if not being.life.gone:
                record = live[eid]
                found = (record.state.name, record.ocall is not None, record.account.stops)
                assert found == (being.life.state, being.life.waiting, being.life.stops), (eid, found, being)
        for eid, tool in self.servers.items():
            if not tool.gone:
                assert live[eid].state.name == ("IDLE" if tool.busy is None else "BUSY")


WEIGHTS = {
    "enter": 5,
    "answer": 5,
    "run_on_hart": 4,
    "resume": 4,
    "stop": 3,
    "create": 3,
    "together": 3,
    "stop_and_resume": 2,
    "run_instance": 2,
    "create_server": 2,
    "run": 1,
    "attest": 1,
    "destroy": 1,
    "create_shadow": 1,
    "destroy_server": 1,
    "destroy_shadow": 1,
    "extend": 1,
    "reclaim": 1,
}
"""How often a walk takes each kind of step."""


def walk(chance: random.Random, steps: int) -> None:
    """A random walk whose steps mostly do something.  Raises with the steps that led there."""
    world, taken = World(), []
    world.begin()
    world.create_server()
    world.create_shadow()
    try:
        for _ in range(steps):
            name = chance.choices(list(WEIGHTS), WEIGHTS.values())[0]
            taken.append(name)
            take_step(world, name, chance)
            world.system_and_model_say_the_same()
        world.teardown()
    except Exception as error:
        raise AssertionError(f"{error!r} after {taken}") from error


def take_step(world: World, name: str, chance: random.Random) -> None:
    """One step, if the world is ready for it."""
    ready = {
        "create": world.alive < 4,
        "together": any(world.alone(being) for being in world.beings.values()),
        "run_instance": bool(world.shadows) and world.alive < 5,
        "create_server": len(world.servers) < 6,
        "create_shadow": len(world.shadows) < 3,
        "destroy_server": bool(world.servers),
        "destroy_shadow": bool(world.shadows),
    }
    if not ready.get(name, True):
        return
    which = chance.randrange(1, 78)
    arguments: dict[str, tuple[Any, ...]] = {
        "create": (chance.choices(sorted(EVENTS), k=chance.randrange(1, 5)), chance.random() < 0.4, which),
        **{call: (which, chance.randrange(2)) for call in ("run_on_hart", "enter", "answer")},
        "together": (which, *chance.choices(CALLS, k=2)),
        **dict.fromkeys(("create_server", "create_shadow", "reclaim"), ()),
        "extend": (chance.randrange(8),),
    }
    getattr(world, name)(*arguments.get(name, (which,)))


def run_sequences(seed: int, chosen: settings) -> None:
    """Run the state machine.

    hypothesis compares its runs, and where threads have met (`together`) in another order than before it
    calls the data inconsistent.  That is by design and breaks no promise: on with another seed.
    """
    try:
        run_state_machine_as_test(hypothesis.seed(seed)(World), settings=chosen)
    except FlakyStrategyDefinition:
        if COUNT.failed:
            raise
        run_sequences(seed + 1_000_003, chosen)


def attack(effort: Effort) -> Tally:
    """So many random sequences; hypothesis makes the one that breaks short."""
    tally = Tally()
    COUNT.steps = COUNT.failed = 0
    examples = effort.count(8, 300)
    chosen = settings(
        max_examples=examples,
        stateful_step_count=STEPS,
        deadline=None,
        database=None,
        derandomize=False,
        print_blob=False,
        phases=(Phase.generate, Phase.shrink) if effort.long else (Phase.generate,),
        suppress_health_check=list(HealthCheck),
    )
    with tally.case(f"{examples} sequences"):
        run_sequences(effort.seed, chosen)
    walks = effort.count(12, 800)
    for number in range(walks):
        with tally.case(("walk", number)):
            walk(effort.random("walk", number), STEPS)
    tally.tried = COUNT.steps
    tally.notes.append(f"{examples} sequences of hypothesis, {walks} walks, of up to {STEPS} steps")
    return tally
