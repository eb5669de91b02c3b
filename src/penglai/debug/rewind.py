"""A replay in a debugger: what gdb asks of an enclave that runs, answered by a timeline, also backwards."""

import logging
import threading
from collections.abc import Callable
from pathlib import Path

from penglai.abi.errors import RecordingError
from penglai.debug.replay import Interrupted
from penglai.debug.session import DebugSession, Subject
from penglai.debug.target import SIGNALS, Signal
from penglai.debug.timeline import Stop, Timeline
from penglai.machine.context import Context

log = logging.getLogger(__name__)

WHERE = {Stop.BEGIN: b"replaylog:begin;", Stop.END: b"replaylog:end;"}
"""What the protocol calls the two ends of the history."""


class Rewinding:
    """What a debugger's probe is for an enclave that runs: a lock, and who waits for it."""

    def __init__(self) -> None:
        self.lock = threading.Condition()

    def add(self, target: "ReplayTarget") -> bool:
        """Begin to move it, when it is asked to."""
        target.thread.start()
        return True

    def remove(self, target: "ReplayTarget") -> None:
        """Move it no more."""
        target.end()
        if threading.current_thread() is not target.thread:
            target.thread.join()


class ReplayTarget:
    """An enclave of a recording in a debugger.  It is halted at its first instruction.

    when_left: called when nobody debugs it any more.  on_stop: called with the signal, under the lock.
    """

    alive = True
    """What is recorded stays."""

    def __init__(
        self,
        timeline: Timeline,
        rewinding: Rewinding,
        on_stop: Callable[[Signal], None],
        when_left: Callable[[], None],
    ) -> None:
        self.halted = True
        self.attended = False
        self.breakpoints: set[int] = set()
        self.where = b""
        """At which end of the history it is, as the protocol has it."""
        self.thread = threading.Thread(target=self._work, name="penglai-replay", daemon=True)
        self._timeline = timeline
        self._lock = rewinding.lock
        self._on_stop = on_stop
        self._when_left = when_left
        self._movement: Callable[[], Stop] | None = None
        self._over = False

    @property
    def number(self) -> int:
        """Of its one thread."""
        return self._timeline.space.eid

    @property
    def title(self) -> str:
        """What it is, for people."""
        return self._timeline.space.title

    @property
    def history(self) -> "ReplayTarget":
        """It has one."""
        return self

    @property
    def context(self) -> Context:
        """Its registers while it is halted."""
        return self._timeline.enclave.context

    def read(self, address: int, size: int) -> bytes:
        """What is at an address, as far as there is something."""
        return self._timeline.read(address, size)

    def write(self, _address: int, _data: bytes) -> bool:
        """False: what has happened is not changed."""
        return False

    # ---- movements, under the lock -------------------------------------------------------------

    def halt(self) -> None:
        """Stop it wherever it is."""
        if not self.halted:
            self._timeline.interrupt()

    def resume(self, *, step: bool, deliver: bool) -> None:  # noqa: ARG002 - what it did has its consequences
        """Forwards."""
        if not self.attended:
            self._when_left()
            return
        stops = frozenset(self.breakpoints)
        self._move(self._timeline.step if step else lambda: self._timeline.forward(stops))

    def go_back(self, *, step: bool) -> None:
        """Backwards."""
        stops = frozenset(self.breakpoints)
        self._move(self._timeline.back if step else lambda: self._timeline.back_to(stops))

    def _move(self, movement: Callable[[], Stop]) -> None:
        self.halted = False
        self._movement = movement
        self._lock.notify_all()

    def end(self) -> None:
        """Move it no more; for Rewinding."""
        with self._lock:
            self._over = True
            self.halt()
            self._lock.notify_all()

    # ---- the thread that moves it --------------------------------------------------------------

    def _work(self) -> None:
        while True:
            with self._lock:
                while self._movement is None and not self._over:
                    self._lock.wait()
                movement, self._movement = self._movement, None
                if self._over or movement is None:
                    return
            signal, where = self._signal(movement)
            with self._lock:
                self.halted, self.where = True, where
                self._on_stop(signal)

    def _signal(self, movement: Callable[[], Stop]) -> tuple[Signal, bytes]:
        try:
            stop = movement()
        except Interrupted:
            return Signal.INT, b""
        except RecordingError as error:
            log.error("%s", error)
            return Signal.TRAP, WHERE[Stop.END]
        if stop is Stop.FAULT:
            return SIGNALS.get(self._timeline.event.cause, Signal.SEGV), b""
        return Signal.TRAP, WHERE.get(stop, b"")


def debug(timeline: Timeline, place: int | Path) -> DebugSession:
    """Wait for a gdb that looks at a recording; the session is over when gdb has gone.

    place: a port of the loopback, 0 for any that is free, or the path of a socket that is made.  Raises
    BadArgumentError for a place where nobody can wait.
    """
    rewinding = Rewinding()
    sessions: list[DebugSession] = []

    def over() -> None:
        sessions[0].on_end(None)

    def subject(told: Callable[[Signal], None]) -> Subject:
        target = ReplayTarget(timeline, rewinding, told, over)
        return Subject(rewinding, target, lambda: rewinding.add(target), lambda: rewinding.remove(target))

    sessions.append(DebugSession(subject, over, place, attached=False))
    return sessions[0]
