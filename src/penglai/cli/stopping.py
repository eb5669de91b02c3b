"""penglai test-stop: the tutorial.  Each step says what it shows, and checks that it is so."""

import time
from dataclasses import asdict, dataclass
from typing import Annotated

import typer

from penglai.abi.errors import NoSuchEnclaveError
from penglai.abi.state import State
from penglai.cli.measuring import TraceTo, tracing
from penglai.cli.numbers import watched_seconds
from penglai.cli.options import Eapp, Harts, Json, Memory, command, fail, mark, out, write_json
from penglai.driver.task import Reason
from penglai.embedded import Machine
from penglai.host.enclave import Enclave

RUN_TIMEOUT = 10.0


@dataclass(frozen=True)
class Step:
    """One line of the tutorial.  took_us: how long the call took.  run_time_ns: of the enclave, after it."""

    call: str
    state: str
    took_us: float
    run_time_ns: int
    evidence: str
    ok: bool


class Tutorial:
    """Runs the steps on one enclave."""

    def __init__(self, machine: Machine, enclave: Enclave, seconds: float, quiet: bool) -> None:
        self.machine = machine
        self.enclave = enclave
        self.seconds = seconds
        self.quiet = quiet
        self.steps: list[Step] = []

    def play(self) -> bool:
        """All steps; True if every one showed what it should."""
        enclave = self.enclave
        info = enclave.info()
        self.note("create", 0, f"{info.pages} pages, measurement {info.measurement.hex()[:16]}…", State.FRESH)
        started = time.perf_counter_ns()
        run = enclave.start()
        took = time.perf_counter_ns() - started
        ran = self.watch()
        if run.done():
            result = run.result()
            fail(f"the enclave ended by itself ({result.reason}) before it could be stopped; try: loop")
        self.note("run", took, f"ran {_ms(ran)} ms of {self._wait_ms()} ms; {self.lines()}", None, ok=ran > 0)

        took = self.timed(enclave.stop)
        lines = self.machine.console.text.count("\n")
        ran = self.watch()
        still = ran == 0 and self.machine.console.text.count("\n") == lines
        self.note(
            "stop",
            took,
            f"ran {_ms(ran)} ms of {self._wait_ms()} ms; {self.lines()}",
            State.STOPPED,
            ok=still,
        )

        before = enclave.info().run_time
        took = self.timed(enclave.resume)
        self.watch()
        ran = enclave.info().run_time - before
        self.note(
            "resume", took, f"ran {_ms(ran)} ms of {self._wait_ms()} ms; {self.lines()}", None, ok=ran > 0
        )

        took = self.timed(enclave.destroy)
        reason = run.result(RUN_TIMEOUT).reason
        evidence = f"run() returned {reason}; {self._refusal()}"
        self.note("destroy", took, evidence, State.DESTROYED, ok=reason is Reason.DESTROYED)
        return all(step.ok for step in self.steps)

    def watch(self) -> int:
        """Wait, and return how long the enclave was on a hart meanwhile, ns."""
        before = self.enclave.info().run_time
        time.sleep(self.seconds)
        return self.enclave.info().run_time - before

    def timed(self, call: object) -> int:
        """How long a call takes, ns."""
        assert callable(call)
        started = time.perf_counter_ns()
        call()
        return time.perf_counter_ns() - started

    def lines(self) -> str:
        """What the enclave wrote last."""
        written = self.machine.console.text.splitlines()
        return f"last output {written[-1]!r}" if written else "no output"

    def note(self, call: str, took: int, evidence: str, expected: State | None, ok: bool = True) -> None:
        """Record a step and show it."""
        info = self.enclave.info()
        step = Step(
            call, info.state.name, took / 1000, info.run_time, evidence, ok and expected in (None, info.state)
        )
        self.steps.append(step)
        if self.quiet:
            return
        timing = f"{step.took_us:6.0f} µs" if took else " " * 9
        mark(step.ok)
        out.print(f"{call:8}", style="bold", end="")
        out.print(f"{timing}  ", end="")
        out.print(f"{step.state:10}", style="cyan", end="")
        out.print(f"run time {_ms(info.run_time):>6} ms   {evidence}")

    def _wait_ms(self) -> str:
        return f"{self.seconds * 1000:.0f}"

    def _refusal(self) -> str:
        try:
            self.enclave.stop()
        except NoSuchEnclaveError:
            return "its id no longer exists"
        return "its id still exists"


@command
def stop_tutorial(
    eapp: Eapp,
    memory: Memory = "256M",
    harts: Harts = 2,
    seconds: Annotated[
        float,
        typer.Option(help="How long to watch after each step.", parser=watched_seconds, metavar="SECONDS"),
    ] = 0.5,
    as_json: Json = False,
    trace: TraceTo = None,
) -> None:
    """Stop, resume and destroy a running enclave from another host thread, and show that each happened.

    Its run time is the time it spent on a hart: it must stand still while it is stopped.
    """
    with Machine(memory, harts, sampling=trace is not None) as machine, tracing(machine, trace):
        if not as_json:
            out.print(f"A RISC-V machine ({memory} of memory, {harts} harts), its monitor, and {eapp}:")
        enclave = machine.create(eapp)
        tutorial = Tutorial(machine, enclave, seconds, quiet=as_json)
        ok = tutorial.play()
    if as_json:
        write_json({"ok": ok, "eid": enclave.eid, "steps": [asdict(step) for step in tutorial.steps]})
    if not ok:
        fail("a step did not show what it should")


def _ms(ns: int) -> str:
    return f"{ns / 1e6:.0f}"


def register(app: typer.Typer) -> None:
    """Add the command of this module."""
    app.command("test-stop")(stop_tutorial)
