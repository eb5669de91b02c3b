"""Random calls on several enclaves, against a model of a few lines that says the same."""

from dataclasses import dataclass, field

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule
from tests.support.examples import examples
from tests.support.fake import FakeEngine
from tests.support.rawhost import RawHost

from penglai.abi.ecall import Ocall
from penglai.abi.errors import ErrorCode
from penglai.abi.sbi import HostCall, ResumeReason, RunValue
from penglai.machine import Board
from penglai.machine.engine import Engine, Unicorn

EVENTS = {
    RunValue.YIELD: "li a7, 89\necall\n",
    RunValue.OCALL: "li a7, 98\nli a0, 3\necall\n",
}
LIVE = ("FRESH", "RUNNABLE", "OCALL", "STOPPED")


@dataclass
class Model:
    """An enclave: what it will still do, where it is, whether an ocall waits for its answer."""

    script: list[RunValue]
    state: str = "FRESH"
    waiting: bool = False
    stops: int = 0
    done: list[RunValue] = field(default_factory=list)

    def runs(self) -> tuple[int, int]:
        """It is on a hart: the next event of its script, or its end."""
        event = self.script.pop(0) if self.script else RunValue.ENDED
        self.done.append(event)
        self.waiting = event is RunValue.OCALL
        self.state = {RunValue.YIELD: "RUNNABLE", RunValue.OCALL: "OCALL"}.get(event, "EXITED")
        return 0, event


class LifeCycle(RuleBasedStateMachine):
    engine: type[Engine] = Unicorn

    @initialize()
    def start(self) -> None:
        self.raw = RawHost(Board(16 << 20, 1, engine=self.engine()), chunks=1)
        self.port = self.raw.board.host_port(self.raw.board.harts[0])
        self.enclaves: dict[int, Model] = {}
        self.free = self.raw.monitor.platform.ownership.free_pages

    def teardown(self) -> None:
        if not hasattr(self, "raw"):
            return
        for eid, model in self.enclaves.items():
            assert (self.raw.call(HostCall.DESTROY, eid).error == 0) is (model.state in LIVE)
        self.raw.snapshot()
        assert self.raw.monitor.platform.ownership.free_pages == self.free
        self.raw.board.power_off()

    @precondition(lambda self: len(self.enclaves) < 12)
    @rule(script=st.lists(st.sampled_from(sorted(EVENTS)), max_size=4))
    def create(self, script: list[RunValue]) -> None:
        body = "".join(EVENTS[event] for event in script)
        eid = self.raw.make(f"li a6, 0x100101\n{body}li a7, 99\nli a0, 7\necall\n")
        assert eid not in self.enclaves
        self.enclaves[eid] = Model(script)

    def refusal(self, model: Model | None) -> tuple[int, int]:
        gone = model is None or model.state not in LIVE
        return (ErrorCode.NO_SUCH_ENCLAVE if gone else ErrorCode.GENERIC), 0

    def pick(self, which: int) -> tuple[int, Model | None]:
        """One of the enclaves, ended ones too, or an id that never was."""
        eids = [*self.enclaves, 9999]
        eid = eids[which % len(eids)]
        return eid, self.enclaves.get(eid)

    @rule(which=st.integers(0, 99), on_hart=st.booleans())
    def run(self, which: int, on_hart: bool) -> None:
        eid, model = self.pick(which)
        port = self.port if on_hart else self.raw.port
        answer = self.raw.call(HostCall.RUN, eid, self.raw.run_param(), port=port)
        if model is None or model.state != "FRESH":
            assert answer == self.refusal(model)
            return
        model.state = "RUNNABLE"
        assert answer == (model.runs() if on_hart else (0, RunValue.TIMER))

    @rule(which=st.integers(0, 99), on_hart=st.booleans())
    def enter(self, which: int, on_hart: bool) -> None:
        eid, model = self.pick(which)
        answer = self.raw.enter(eid, self.port if on_hart else self.raw.port)
        if model is None or model.state != "RUNNABLE":
            assert answer == self.refusal(model)
        else:
            assert answer == (model.runs() if on_hart else (0, RunValue.TIMER))

    @rule(which=st.integers(0, 99))
    def stop(self, which: int) -> None:
        eid, model = self.pick(which)
        answer = self.raw.call(HostCall.STOP, eid)
        if model is None or model.state not in ("RUNNABLE", "OCALL", "STOPPED"):
            assert answer == self.refusal(model)
            return
        assert answer == (0, 0)
        model.stops += model.state != "STOPPED"
        model.state = "STOPPED"

    @rule(which=st.integers(0, 99))
    def resume(self, which: int) -> None:
        eid, model = self.pick(which)
        answer = self.raw.call(HostCall.RESUME, eid, ResumeReason.STOP)
        if model is None or model.state != "STOPPED":
            assert answer == self.refusal(model)
            return
        assert answer == (0, 0)
        model.state = "OCALL" if model.waiting else "RUNNABLE"

    @rule(which=st.integers(0, 99), on_hart=st.booleans(), ocall=st.sampled_from([Ocall.WRITE, Ocall.SBRK]))
    def answer(self, which: int, on_hart: bool, ocall: Ocall) -> None:
        eid, model = self.pick(which)
        answer = self.raw.answer(eid, ocall, port=self.port if on_hart else None)
        if model is None or not model.waiting or ocall is not Ocall.WRITE or model.state not in LIVE:
            assert answer == self.refusal(model)
            return
        model.waiting = False
        if model.state == "STOPPED":
            assert answer == (0, RunValue.TIMER)
            return
        model.state = "RUNNABLE"
        assert answer == (model.runs() if on_hart else (0, RunValue.TIMER))

    @rule(which=st.integers(0, 99))
    def destroy(self, which: int) -> None:
        eid, model = self.pick(which)
        answer = self.raw.call(HostCall.DESTROY, eid)
        if model is None or model.state not in LIVE:
            assert answer == self.refusal(model)
            return
        assert answer == (0, 0)
        model.state, model.waiting = "DESTROYED", False

    @invariant()
    def the_monitor_says_the_same(self) -> None:
        if not hasattr(self, "raw"):
            return
        for eid, model in self.enclaves.items():
            if model.state in LIVE:
                info = self.raw.info(eid)
                assert (self.raw.state(eid).name, info.stops) == (model.state, model.stops)
        self.raw.snapshot()


LifeCycle.TestCase.settings = settings(max_examples=examples(40), stateful_step_count=examples(40))
TestLifeCycle = pytest.mark.slow(LifeCycle.TestCase)


class OnTheFakeEngine(LifeCycle):
    """The same where an enclave costs next to nothing."""

    engine = FakeEngine


OnTheFakeEngine.TestCase.settings = LifeCycle.TestCase.settings
TestOnTheFakeEngine = OnTheFakeEngine.TestCase
