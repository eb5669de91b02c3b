"""Where Linux's enclaves run: on the other harts while Linux goes on, or in turns with it on its own.

What is here is the host's: it makes the same calls of the monitor that any host could make.
"""

import logging
import threading
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from penglai.abi import sbi
from penglai.abi.errors import ErrorCode
from penglai.abi.sbi import EVENT_SHIFT, HostCall, ResumeReason, RunValue, SbiResult
from penglai.machine.board import Board, HostPort
from penglai.machine.hart import Hart
from penglai.machine.supervisor import Supervisor
from penglai.scheduler import TICK_NS, TURN_IS_OVER, Scheduler, Turn, enter

log = logging.getLogger(__name__)

ELSEWHERE = SbiResult(ErrorCode.OK, RunValue.ELSEWHERE)
ENDS = (HostCall.DESTROY, HostCall.DESTROY_SHADOW, HostCall.DESTROY_SERVER)


class Calls(Protocol):
    """Serves Linux's calls of the monitor."""

    @property
    def waiting(self) -> bool:
        """True while there are events that Linux has not fetched."""

    def answer(self, extension: int, function: int, arguments: tuple[int, ...]) -> SbiResult:
        """Serve a call."""

    def close(self) -> None:
        """Run nothing any more."""


class InTurns:
    """For a machine of one hart: an enclave runs inside Linux's call, until Linux's timer wants the hart.

    supervisor: the hart in the host's world.
    """

    waiting = False

    def __init__(self, board: Board, supervisor: Supervisor) -> None:
        self._hart: Hart = board.harts[0]
        self._port = board.host_port(self._hart)
        self._clock = board.clock
        self._supervisor = supervisor

    def answer(self, extension: int, function: int, arguments: tuple[int, ...]) -> SbiResult:
        self._hart.deadline = min(self._supervisor.timer_ns, self._clock.now() + TICK_NS)
        return self._port.ecall(extension, function, *arguments)

    def close(self) -> None:
        """It has no hart of its own to stop."""


@dataclass(eq=False)
class EnclaveJob:
    """An enclave that Linux has asked to run."""

    eid: int
    turn: Turn = Turn.PARKED
    woken: bool = False


class Elsewhere:
    """For a machine of more harts: Linux's call returns at once, and an interrupt tells it of events.

    notify: called on any thread when there is a first event.  failed: called when a hart has failed.
    """

    def __init__(self, board: Board, notify: Callable[[], None], failed: Callable[[Exception], None]) -> None:
        self._port = board.host_port()
        self._notify = notify
        self._harts = len(board.harts)
        self._lock = threading.Lock()
        self._jobs: dict[int, EnclaveJob] = {}
        self._events: deque[int] = deque()
        self._scheduler: Scheduler[EnclaveJob] = Scheduler(self._step, lambda _job: None, failed)
        board.power_on(self._scheduler.hart_main)

    @property
    def waiting(self) -> bool:
        return bool(self._events)

    def answer(self, extension: int, function: int, arguments: tuple[int, ...]) -> SbiResult:
        if extension == sbi.EXTENSION and function == HostCall.EVENT:
            return SbiResult(ErrorCode.OK, self._events.popleft() if self._events else 0)
        result = self._port.ecall(extension, function, *arguments)
        if result.error or extension != sbi.EXTENSION:
            return result
        if _enters(function, arguments) and result.value == RunValue.TIMER:
            self._run(arguments[0])
            return ELSEWHERE
        if function in ENDS:
            self._forget(arguments[0])
        return result

    def close(self) -> None:
        self._scheduler.stop(self._harts)

    def _run(self, eid: int) -> None:
        with self._lock:
            job = self._jobs.setdefault(eid, EnclaveJob(eid))
        self._scheduler.wake(job)

    def _forget(self, eid: int) -> None:
        with self._lock:
            self._jobs.pop(eid, None)

    def _step(self, port: HostPort, job: EnclaveJob) -> bool:
        """Enter an enclave until its time is up or Linux has to do something; True if it could go on."""
        result = enter(port, job.eid)
        if result.error:
            return False  # stopped or destroyed: Linux knows, it was Linux
        if result.value in TURN_IS_OVER:
            return True
        if result.value != RunValue.OCALL:
            self._forget(job.eid)
        self._events.append(job.eid << EVENT_SHIFT | result.value)
        self._notify()
        return False


def _enters(function: int, arguments: tuple[int, ...]) -> bool:
    """True for the calls after which an enclave runs.

    A new instance does not yet: Linux has to know it before it hears of it, and enters it with RESUME.
    """
    if function == HostCall.RESUME:
        return arguments[1] in (ResumeReason.TIMER, ResumeReason.OCALL)
    return function == HostCall.RUN
