"""A hart whose thread is held up between the monitor's lock and the engine, while others take its enclave.

Its enclave is stopped, resumed and run on another hart meanwhile.  When it comes at last it must neither load
nor save the registers: they are not its own any more.
"""

from penglai.abi.sbi import HostCall, ResumeReason, RunValue
from penglai.monitor import execution
from penglai.monitor.invariants import check
from tests.attack.tally import Effort, Tally
from tests.attack.turns import HART, Choice, Deadlock, Turns, turning_host
from tests.support.bare import assemble
from tests.support.rawhost import EXIT, RW, RX, ImageSpec

TITLE = "a hart that is held up at each line on its way into the engine"

COUNTER = 0x2000
ROUNDS = 40
TORN = 666
PROGRAM = ImageSpec(
    {
        0x1000: (
            RX,
            assemble(
                f"""
                li s1, {COUNTER}
                li s2, {ROUNDS}
                1: ld t0, 0(s1)
                bne t0, s0, 2f
                addi s0, s0, 1
                sd s0, 0(s1)
                bne s0, s2, 1b
                mv a0, s0
                {EXIT}
                2: li a0, {TORN}
                {EXIT}
                """
            ),
        ),
        COUNTER: (RW, bytes(7) + b"\0"),
    }
)
"""Counts in a register and in memory, and ends with the count; with TORN if the two ever differ."""


class Bench:
    """Two harts, of which the first may be held up at any line, and an enclave."""

    def __init__(self, preemptions: int) -> None:
        self.turns = Turns(preemptions, releases=True, lines=True, places=(execution.__file__, HART))
        self.raw = turning_host(self.turns, few=True)
        self.ports = [self.raw.board.host_port(hart) for hart in self.raw.board.harts]

    def schedule(self, prefix: list[int]) -> list[Choice]:
        raw, (first, second) = self.raw, self.ports
        raw.rewind()
        eid = raw.make(PROGRAM)
        raw.start(eid)

        def take_and_run() -> None:
            assert raw.call(HostCall.STOP, eid).error == 0
            assert raw.call(HostCall.RESUME, eid, ResumeReason.STOP).error == 0
            raw.enter(eid, second)

        results, choices = self.turns.run([lambda: raw.enter(eid, first), take_and_run], prefix)
        failed = [result for result in results if isinstance(result, BaseException)]
        if failed:
            raise failed[0]
        check(raw.monitor)
        while (result := raw.enter(eid, first)).value == RunValue.TIMER:
            pass
        assert result == (0, RunValue.ENDED), result
        assert raw.word(4) == ROUNDS, f"its registers went back in time: it returned {raw.word(4)}"
        return choices


def attack(effort: Effort) -> Tally:
    """Every schedule with one preemption, and some with more."""
    tally = Tally()
    for preemptions, most in ((1, None), (3, effort.count(150, 20_000))):
        bench = Bench(preemptions)
        prefix: list[int] = []

        def experiment(found: list[int], bench: Bench = bench, prefix: list[int] = prefix) -> list[Choice]:
            prefix[:] = found
            return bench.schedule(found)

        schedules = (
            bench.turns.explore(experiment)
            if most is None
            else bench.turns.sample(experiment, most, effort.random("late"))
        )
        try:
            for _ in schedules:
                tally.tried += 1
        except (Exception, Deadlock) as error:
            tally.break_(f"up to {preemptions} preemptions, schedule {prefix}", repr(error))
    return tally
