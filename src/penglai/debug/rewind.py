"""A replay in a debugger: what gdb asks of an enclave that runs, answered by a timeline, also backwards."""

import logging
import threading
from collections.abc import Callable
from pathlib import Path
from threading import Condition

from penglai.abi.errors import RecordingError
from penglai.debug.replay import Interrupted
from penglai.debug.session import Session
from penglai.debug.target import SIGNALS, Signal
from penglai.debug.timeline import Stop, Timeline
from penglai.machine.context import Context

log = logging.getLogger(__name__)

WHERE = {Stop.BEGIN: b"replaylog:begin;", Stop.END: b"replaylog:end;"}
"""What the protocol calls the two ends of the history."""


class ReplayTarget:
    """An enclave of a recording in a debugger.  It is halted at its first instruction.

    lock: guards it.  on_stop: called with the signal, under the lock.  when_left: called when nobody debugs
    it any more.
    """

    alive = True
    """What is recorded stays."""

    def __init__(
        self,
        timeline: Timeline,
        lock: Condition,
        on_stop: Callable[[Signal], None],
        when_left: Callable[[], None],
    ) -> None:
        self.halted = True
        self.attended = False
        self.breakpoints: set[int] = set()
        self.where = b""
        """At which end of the history it is, as the protocol has it."""
        self._thread = threading.Thread(target=self._work, name="penglai-replay", daemon=True)
        self._timeline = timeline
        self._lock = lock
        self._on_stop = on_stop
        self._when_left = when_left
        self._movement: Callable[[], Stop] | None = None
        self._over = False

    @property
    def thread(self) -> int:
        """What gdb calls it."""
        return self._timeline.space.eid

    @property
    def title(self) -> str:
        """What it is, for people."""
        space = self._timeline.space
        return f"recorded {space.kind.name.lower()} enclave {space.name}"

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

    def start(self) -> None:
        """Move it when it is asked to."""
        self._thread.start()

    def end(self) -> None:
        """Move it no more.  More than once does nothing."""
        with self._lock:
            self._over = True
            self.halt()
            self._lock.notify_all()
        if threading.current_thread() is not self._thread:
            self._thread.join()

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


class ReplaySession(Session):
    """Debugs an enclave of a recording; over when gdb has gone.

    A context manager; leaving it, or `close`, ends it.
    """

    def __init__(self, timeline: Timeline, place: int | Path) -> None:
        """place: a port of the loopback, 0 for any that is free, or the path of a socket that is made.

        Raises BadArgumentError for a place where nobody can wait.
        """
        lock = Condition()
        self._replayed = ReplayTarget(timeline, lock, self.on_stop, self._left)
        super().__init__(self._replayed, lock, self._left, place, attached=False)
        self._replayed.start()
        self.start()

    def let_go(self) -> None:
        self._replayed.end()

    def _left(self) -> None:
        self.end(f"X{Signal.KILL:02x}")
