"""A probe on each hart: where a debugger stops enclaves, without anybody above the hart taking notice.

A stopped enclave is, for the monitor and the host, one whose code takes long.  Its hart waits inside a run,
and leaves it at once when the monitor wants it out, as any run does: so stop and destroy work on what is
stopped in a debugger.  Time that it waits for the debugger does not count against its turn.
"""

import threading

from penglai.abi.riscv import Cause
from penglai.debug.target import Target
from penglai.machine.clock import Clock
from penglai.machine.context import NEVER, Context, RunRecord
from penglai.machine.engine import Core, CoreAround

LEAST_TURN = 1_000_000
"""ns that are left of a turn when the debugger lets an enclave go on, at least: each step gets done."""


class Debugger:
    """Who is being debugged on a machine.  `lock` guards it, the targets and what the probes know.

    clock: the machine's, from when there is one.
    """

    def __init__(self) -> None:
        self.lock = threading.Condition()
        self.clock: Clock | None = None
        self._targets: dict[int, Target] = {}
        self._cores: list[ProbedCore] = []

    def probe(self, core: Core, record: RunRecord) -> Core:
        """See machine.engine.Probe."""
        probed = ProbedCore(self, core, record)
        self._cores.append(probed)
        return probed

    def add(self, target: Target) -> bool:
        """Debug an enclave from now on; False if somebody does so already."""
        with self.lock:
            known = self._targets.get(target.satp)
            if known is not None and known.alive:
                return False
            self._targets[target.satp] = target
            for core in self._cores:
                core.shake(target.context)
            return True

    def remove(self, target: Target) -> None:
        """Debug it no more."""
        with self.lock:
            if self._targets.get(target.satp) is target:
                del self._targets[target.satp]
            target.let_go()
            self.lock.notify_all()

    def find(self, context: Context) -> Target | None:
        """Who is debugged and runs with this context."""
        target = self._targets.get(context.satp)
        return target if target is not None and target.context is context else None


class ProbedCore(CoreAround):
    """A core of the machine's engine, and the debugger before it."""

    def __init__(self, debugger: Debugger, core: Core, record: RunRecord) -> None:
        super().__init__(core)
        self._debugger = debugger
        self._record = record
        self._wanted = False
        self._running: Context | None = None
        self._shaken = False
        self._armed: tuple[int, ...] = ()

    # ---- what the hart calls -------------------------------------------------------------------

    def run(self, context: Context, /) -> int:
        """See Core.  Of what is debugged it is over when the trap is one for the monitor."""
        while True:
            with self._debugger.lock:
                target = self._debugger.find(context)
                self._running = context if target is None else None
            done = self._undisturbed(context) if target is None else self._go_on(target, context)
            if done is not None:
                return done

    def interrupt(self) -> None:
        """See Core.  The monitor wants the hart; a debugger has to stand back."""
        with self._debugger.lock:
            self._wanted = True
            self._core.interrupt()
            self._debugger.lock.notify_all()

    def acknowledge(self) -> None:
        with self._debugger.lock:
            self._wanted = False
            self._core.acknowledge()

    # ---- what the debugger calls, under its lock -----------------------------------------------

    def pause(self) -> None:
        """Out of the guest; `_go_on` sees why."""
        self._core.interrupt()

    def shake(self, context: Context) -> None:
        """If this context runs here, out of the guest with it: it is debugged from now on."""
        if self._running is context:
            self._shaken = True
            self._core.interrupt()

    # ---- runs: what the engine returns, or None if it goes on at once --------------------------

    def _undisturbed(self, context: Context) -> int | None:
        self._arm(())
        error = self._core.run(context)
        with self._debugger.lock:
            self._running = None
            shaken, self._shaken = self._shaken, False
            if shaken and not self._wanted:
                self._core.acknowledge()
                if self._record.cause == Cause.M_SOFTWARE_INTERRUPT and not error:
                    return None
        return error

    def _go_on(self, target: Target, context: Context) -> int | None:
        """Wait until it may run, and run it.  None too if the debugger has stopped it."""
        record, lock = self._record, self._debugger.lock
        with lock:
            if not self._await_leave(target):
                record.cause = Cause.M_SOFTWARE_INTERRUPT
                return 0
            if target.deliver(record, context):
                return 0
            exits = target.begin(self, context)
        self._arm(exits)
        if target.loops:
            record.blocks = 1
        error = self._core.run(context)
        with lock:
            wanted = self._wanted
            if target.end() and not wanted:
                self._core.acknowledge()
            if error:
                return error
            stopped = target.consider(record, context, wanted=wanted)
            if wanted and record.cause == Cause.DEBUG:
                record.cause = Cause.M_SOFTWARE_INTERRUPT
            return None if stopped and not wanted else 0

    def _await_leave(self, target: Target) -> bool:
        """Wait until the debugger lets it run; False if the monitor wants the hart first."""
        clock, record = self._debugger.clock, self._record
        assert clock is not None
        left = record.deadline - clock.now()
        waited = False
        while target.halted and not self._wanted:
            waited = True
            self._debugger.lock.wait()
        if waited and record.deadline != NEVER:
            record.deadline = clock.now() + max(left, LEAST_TURN)
        return not self._wanted

    def _arm(self, exits: tuple[int, ...]) -> None:
        if exits != self._armed:
            self._core.break_at(exits)
            self._armed = exits
