"""The host's scheduler: harts take turns with enclaves.  Both hosts use it; nobody trusts it.

First in, first out: every job that can go on gets a hart in its turn, so a never-ending one keeps no other
from running.  A job is in exactly one place (Turn): parked, in the queue once, or on one hart.
"""

import logging
import queue
import threading
from collections.abc import Callable
from enum import Enum
from typing import Generic, Protocol, TypeVar

from penglai.abi import sbi
from penglai.abi.errors import MachineError, PenglaiError
from penglai.abi.firmware import Extension
from penglai.abi.riscv import NS_PER_TICK
from penglai.abi.sbi import HostCall, ResumeReason, RunValue, SbiResult
from penglai.machine.board import HostPort

log = logging.getLogger(__name__)

TICK_NS = 10_000_000
"""An enclave that can go on has a hart for at most this long, ns, before the next one gets it."""

TURN_IS_OVER = frozenset((RunValue.TIMER, RunValue.YIELD))
"""Values of an entry after which the enclave wants another turn."""


def enter(port: HostPort, eid: int) -> SbiResult:
    """Give an enclave the hart of a port, for TICK_NS at most."""
    port.ecall(Extension.TIME, 0, port.time() + TICK_NS // NS_PER_TICK)
    return port.ecall(sbi.EXTENSION, HostCall.RESUME, eid, ResumeReason.TIMER)


class Turn(Enum):
    """Where a job is on its way to a hart."""

    PARKED = "parked"
    QUEUED = "queued"
    ON_HART = "on hart"


class Job(Protocol):
    """Something to run.  Both attributes are the scheduler's."""

    turn: Turn
    woken: bool


J = TypeVar("J", bound=Job)


class Scheduler(Generic[J]):
    """step: runs a job for a while on the hart of a port; True if it wants another turn.

    parked: called, on the hart's thread, after a job was parked.  failed: called when a step raised; the
    hart does nothing more.
    """

    def __init__(
        self,
        step: Callable[[HostPort, J], bool],
        parked: Callable[[J], None],
        failed: Callable[[Exception], None],
    ) -> None:
        self._step = step
        self._parked = parked
        self._failed = failed
        self._lock = threading.Lock()
        self._queue: queue.SimpleQueue[J | None] = queue.SimpleQueue()

    def wake(self, job: J) -> None:
        """There may be something to do for the job: it gets a turn."""
        with self._lock:
            if job.turn is Turn.PARKED:
                job.turn = Turn.QUEUED
                self._queue.put(job)
            elif job.turn is Turn.ON_HART:
                job.woken = True  # its hart may have decided to park it already

    def is_parked(self, job: J) -> bool:
        """True if the job is on no hart and not on its way to one."""
        return job.turn is Turn.PARKED

    def hart_main(self, port: HostPort) -> None:
        """What a hart does in the host, until `stop`."""
        try:
            while (job := self._queue.get()) is not None:
                self._turn(port, job)
        except BaseException as error:  # also SystemExit: a hart never ends without a word
            log.critical("a hart of the host fails: %r", error, exc_info=True)
            self._failed(
                error if isinstance(error, PenglaiError) else MachineError(f"a hart fails: {error!r}")
            )

    def stop(self, harts: int) -> None:
        """Tell the harts to return from hart_main, after the jobs before this in the queue."""
        for _ in range(harts):
            self._queue.put(None)

    def _turn(self, port: HostPort, job: J) -> None:
        with self._lock:
            job.turn = Turn.ON_HART
            job.woken = False
        again = self._step(port, job)
        with self._lock:
            again = again or job.woken
            job.turn = Turn.QUEUED if again else Turn.PARKED
            if again:
                self._queue.put(job)
        if not again:
            self._parked(job)
