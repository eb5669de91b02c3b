"""Calls on one enclave in every order of their steps: linearizable, without deadlock, without a leak."""

from collections.abc import Callable
from dataclasses import dataclass
from itertools import combinations_with_replacement, product

from penglai.abi.sbi import HostCall, ResumeReason, RunValue, SbiResult
from penglai.abi.state import State
from penglai.machine import HostPort
from penglai.monitor.invariants import check
from tests.attack.reference import CALLS, OCALL, YIELD, Life, outcomes
from tests.attack.tally import Effort, Tally
from tests.attack.turns import Choice, Deadlock, Turns, turning_host
from tests.support.rawhost import EXIT, FOREVER

TITLE = "every order of two and three calls on one enclave"

EVENTS = {YIELD: "li a7, 89\necall\n", OCALL: "li a7, 98\nli a0, 3\necall\n"}
STATES = ("FRESH", "RUNNABLE", "OCALL", "STOPPED", "STOPPED in an ocall")
Scenario = tuple[tuple[str, ...], str, bool]
"""Calls, the state of the enclave that they meet, whether it spins."""

TRIPLE = ("run_on_hart", "enter", "stop", "resume", "destroy")


def program(script: list[int]) -> str:
    """Counts its events in s0, and ends with the count."""
    body = "".join(f"{EVENTS[event]}addi s0, s0, 1\n" for event in script)
    return f"li a6, 0x100101\n{body}mv a0, s0\n{EXIT}"


class Bench:
    """A host whose threads take turns, and one enclave at a time."""

    def __init__(
        self, preemptions: int | None, *, releases: bool = False, lines: bool = False, few: bool = False
    ) -> None:
        self.few = few
        self.turns = Turns(preemptions, releases=releases, lines=lines)
        self.raw = turning_host(self.turns, few=few)
        self.ports = [self.raw.board.host_port(hart) for hart in self.raw.board.harts]
        self.before = self.raw.snapshot()

    def bring(self, state: str, *, spins: bool) -> tuple[int, Callable[[], Life]]:
        """An enclave in this state, and its model."""
        raw = self.raw
        raw.rewind()
        script = [OCALL, YIELD] if "OCALL" in state or "ocall" in state else [YIELD, OCALL]
        eid = raw.make(FOREVER if spins else program(script))
        life = Life(script=[] if spins else script, spins=spins)
        if state != "FRESH":
            raw.start(eid)
            life.state = "RUNNABLE"
        if life.script[:1] == [OCALL]:
            assert raw.enter(eid, self.ports[0]) == (0, RunValue.OCALL)
            life.script.pop(0)
            life.state, life.waiting = "OCALL", True
        if "STOPPED" in state:
            assert raw.call(HostCall.STOP, eid).error == 0
            life.state, life.stops = "STOPPED", 1
        pages = {name: raw.page() for name in ("run", "report", "info")}
        self.pages = pages
        found = (life.state, life.waiting, life.stops)

        def model() -> Life:
            return Life(found[0], list(life.script), spins, found[1], found[2])

        return eid, model

    def act(self, call: str, eid: int, port: HostPort) -> Callable[[], object]:
        raw, pages = self.raw, self.pages
        makes: dict[str, Callable[[], object]] = {
            "run": lambda: raw.call(HostCall.RUN, eid, pages["run"]),
            "run_on_hart": lambda: raw.call(HostCall.RUN, eid, pages["run"], port=port),
            "enter": lambda: raw.enter(eid, port),
            "answer": lambda: raw.answer(eid, port=port),
            "stop": lambda: self.stop(eid),
            "resume": lambda: raw.call(HostCall.RESUME, eid, ResumeReason.STOP),
            "destroy": lambda: raw.call(HostCall.DESTROY, eid),
            "attest": lambda: raw.call(HostCall.ATTEST, eid, pages["report"], 1),
            "info": lambda: raw.call(HostCall.INFO, eid, pages["info"], 0),
        }
        return makes[call]

    def stop(self, eid: int) -> SbiResult:
        """Stop, and note where the enclave is from now on."""
        result = self.raw.call(HostCall.STOP, eid)
        record = self.raw.monitor.platform.registry.find(eid)
        if result.error == 0 and record is not None and record.state is State.STOPPED:
            self.stopped_at = bytes(record.context)
        return result

    def moved(self, eid: int, calls: tuple[str, ...]) -> bool:
        """True if the enclave has executed something after a stop, and nobody has resumed it."""
        record = self.raw.monitor.platform.registry.find(eid)
        if record is None or record.state is not State.STOPPED or {"resume", "answer"} & {*calls}:
            return False
        return self.stopped_at is not None and bytes(record.context) != self.stopped_at

    def final(self, eid: int, events: int) -> tuple[object, ...]:
        """What can be seen of the enclave afterwards: it is run to its end, which takes it away."""
        raw, port = self.raw, self.ports[0]
        if raw.call(HostCall.INFO, eid, self.pages["info"], 0).error:
            return ("GONE",)
        info = raw.info(eid)
        state, stops = raw.state(eid).name, info.stops
        waiting = raw.monitor.platform.registry.find(eid).ocall is not None
        if state == "STOPPED":
            raw.call(HostCall.RESUME, eid, ResumeReason.STOP)
        if state == "FRESH":
            raw.call(HostCall.RUN, eid, self.pages["run"])
        left = 0
        result = raw.answer(eid, port=port) if waiting else raw.enter(eid, port)
        while result.value in (RunValue.YIELD, RunValue.OCALL):
            left += 1
            result = raw.answer(eid, port=port) if result.value == RunValue.OCALL else raw.enter(eid, port)
        if result.value == RunValue.TIMER:  # it spins
            raw.call(HostCall.DESTROY, eid)
        else:
            assert result == (0, RunValue.ENDED), result
            assert raw.word(4) == events, "every event happened once"
        return state, waiting, stops, left

    def schedule(self, calls: tuple[str, ...], state: str, prefix: list[int], *, spins: bool) -> list[Choice]:
        """Run one schedule, and compare."""
        eid, model = self.bring(state, spins=spins)
        acts = [self.act(call, eid, self.ports[number % 2]) for number, call in enumerate(calls)]
        self.stopped_at: bytes | None = None
        results, choices = self.turns.run(acts, prefix)
        failed = [result for result in results if isinstance(result, BaseException)]
        if failed:
            raise failed[0]
        assert not self.moved(eid, calls), "it executes after a stop has returned"
        found = (*(tuple(result) for result in results), self.final(eid, 2))
        allowed = self.allowed(calls, state, model)
        assert found in allowed, f"{found} is not among {sorted(map(str, allowed))}"
        check(self.raw.monitor)
        assert self.raw.snapshot() == self.before, "everything is back"
        return choices

    def allowed(
        self, calls: tuple[str, ...], state: str, model: Callable[[], Life]
    ) -> set[tuple[object, ...]]:
        if getattr(self, "_allowed_for", None) != (calls, state, model().spins):
            self._allowed_for = (calls, state, model().spins)
            self._allowed = outcomes(model, calls)
        return self._allowed


def on_distinct_harts(calls: tuple[str, ...]) -> bool:
    """Two harts: of three calls the first and the third would share one."""
    entering = [number % 2 for number, call in enumerate(calls) if call in ("run_on_hart", "enter", "answer")]
    return len(entering) == len(set(entering))


@dataclass(frozen=True)
class Plan:
    """Which scenarios, how many of them in the short form, and which schedules of each."""

    name: str
    scenarios: list[Scenario]
    short: int
    preemptions: int | None
    releases: bool = False
    lines: bool = False
    few: bool = False

    def bench(self) -> Bench:
        return Bench(self.preemptions, releases=self.releases, lines=self.lines, few=self.few)


def attack(effort: Effort) -> Tally:
    """Pairs of all calls, and the tutorial's calls in threes, from every state; then line by line."""
    tally = Tally()
    pairs = [*product(combinations_with_replacement(CALLS, 2), STATES, (False, True))]
    threes = [*product(combinations_with_replacement(TRIPLE, 3), STATES[:4], (False, True))]
    plans = [
        Plan("pairs by all locks", pairs, 60, None),
        Plan("threes by enclaves' locks", threes, 2, None, few=True),
        Plan("threes by all locks", threes, 3, 2),
        Plan("pairs by locks taken and let go", pairs, len(pairs), 1, releases=True),
        Plan("pairs line by line", pairs, 8, 1, lines=True),
    ]
    for plan in plans:
        bench = plan.bench()
        before = tally.tried
        possible = [each for each in plan.scenarios if can_be(*each)]
        some = effort.some(possible, plan.short)
        for calls, state, spins in some:
            bench = explore(tally, plan, bench, (calls, state, spins))
        bound = "all orders" if plan.preemptions is None else f"up to {plan.preemptions} preemptions"
        share, schedules = f"{len(some)} of {len(possible)} scenarios", tally.tried - before
        tally.notes.append(f"{plan.name}: {share}, {schedules:,} schedules ({bound})")
    return tally


def can_be(calls: tuple[str, ...], state: str, spins: bool) -> bool:
    return on_distinct_harts(calls) and not (spins and "ocall" in state.lower())


def explore(tally: Tally, plan: Plan, bench: Bench, scenario: Scenario) -> Bench:
    """All schedules of one scenario; a fresh bench if this one broke."""
    calls, state, spins = scenario
    prefix: list[int] = []

    def experiment(found: list[int]) -> list[Choice]:
        prefix[:] = found
        return bench.schedule(calls, state, found, spins=spins)

    try:
        for _ in bench.turns.explore(experiment):
            tally.tried += 1
    except (Exception, Deadlock) as error:
        tally.tried += 1
        tally.break_(f"{calls} on an enclave in {state}, spins {spins}, schedule {prefix}", repr(error))
        return plan.bench()
    return bench
