"""An independent model of one enclave's life: what the specification says, in a few lines.

It knows nothing of the monitor's table.  A call is a generator: what it does between two yields is one
step that nothing comes between; where it yields, anything may.  `outcomes` has all ways in which calls can
mix, which is what linearizable means: what the system does must be among them.
"""

from collections.abc import Callable, Generator, Iterator
from dataclasses import dataclass, field

GENERIC, NO_SUCH = -1, -3
TIMER, YIELD, OCALL, ENDED = 1, 3, 2, 0

Result = tuple[int, int]
"""a0 and a1 of an SBI call."""
Steps = Generator[None, None, Result]


@dataclass
class Life:
    """An enclave.

    script: the events of its program that are still to come, YIELD and OCALL; then it ends; a program
    that `spins` never has an event.  on: who runs it, while it is RUNNING.  waiting: an ocall has no answer.
    """

    state: str = "FRESH"
    script: list[int] = field(default_factory=list)
    spins: bool = False
    waiting: bool = False
    stops: int = 0
    on: object = None

    @property
    def gone(self) -> bool:
        return self.state in ("EXITED", "DESTROYED")

    def final(self) -> tuple[object, ...]:
        """What can be seen of it afterwards."""
        return ("GONE",) if self.gone else (self.state, self.waiting, self.stops, len(self.script))

    # ---- the calls -------------------------------------------------------------------------------

    def refusal(self) -> Result:
        return (NO_SUCH if self.gone else GENERIC), 0

    def run(self) -> Steps:
        """Without a hart."""
        yield
        if self.state != "FRESH":
            return self.refusal()
        self.state = "RUNNABLE"
        return 0, TIMER

    def run_on_hart(self) -> Steps:
        yield
        if self.state != "FRESH":
            return self.refusal()
        return (yield from self._execute())

    def enter(self) -> Steps:
        yield
        if self.state != "RUNNABLE":
            return self.refusal()
        return (yield from self._execute())

    def answer(self) -> Steps:
        yield
        if self.gone or not self.waiting:
            return self.refusal()
        self.waiting = False
        if self.state == "STOPPED":
            return 0, TIMER
        return (yield from self._execute())

    def stop(self) -> Steps:
        yield
        if self.state not in ("RUNNING", "RUNNABLE", "OCALL", "STOPPED"):
            return self.refusal()
        self.stops += self.state != "STOPPED"
        self.state, self.on = "STOPPED", None
        return 0, 0

    def resume(self) -> Steps:
        yield
        if self.state != "STOPPED":
            return self.refusal()
        self.state = "OCALL" if self.waiting else "RUNNABLE"
        return 0, 0

    def destroy(self) -> Steps:
        yield
        if self.gone:
            return self.refusal()
        self.state, self.on, self.waiting = "DESTROYED", None, False
        return 0, 0

    def attest(self) -> Steps:
        yield
        return (0, 0) if self.state in ("FRESH", "STOPPED") else self.refusal()

    def info(self) -> Steps:
        yield
        return self.refusal() if self.gone else (0, 0)

    def _execute(self) -> Steps:
        """On a hart until something is for the host, or until it is taken away."""
        me = object()
        self.state, self.on = "RUNNING", me
        yield
        if self.on is not me:
            return (NO_SUCH, 0) if self.state == "DESTROYED" else (0, TIMER)
        self.on = None
        event = TIMER if self.spins else self.script.pop(0) if self.script else ENDED
        self.state = {TIMER: "RUNNABLE", YIELD: "RUNNABLE", OCALL: "OCALL", ENDED: "EXITED"}[event]
        self.waiting = event == OCALL
        return 0, event


CALLS = ("run", "run_on_hart", "enter", "answer", "stop", "resume", "destroy", "attest", "info")


def outcomes(start: Callable[[], Life], calls: tuple[str, ...]) -> set[tuple[object, ...]]:
    """Every (results, final state) that calls, mixed in any way, may have."""
    return set(_outcomes(start, calls, ()))


def _outcomes(
    start: Callable[[], Life], calls: tuple[str, ...], order: tuple[int, ...]
) -> Iterator[tuple[object, ...]]:
    life = start()
    steps: list[Steps] = [getattr(life, call)() for call in calls]
    results: dict[int, Result] = {}
    for number in order:
        try:
            next(steps[number])
        except StopIteration as end:
            results[number] = end.value
    if len(results) == len(calls):
        yield (*(results[number] for number in range(len(calls))), life.final())
        return
    for number in range(len(calls)):
        if number not in results:
            yield from _outcomes(start, calls, (*order, number))
