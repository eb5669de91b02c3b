"""What the driver knows of an enclave, and how a run ends."""

import threading
from collections.abc import Callable
from concurrent.futures import Future, InvalidStateError
from contextlib import suppress
from dataclasses import dataclass, field
from enum import Enum
from typing import Protocol, Self

from penglai.abi.errors import WaitTimeoutError
from penglai.abi.sbi import EnclaveInfo, EnclaveType
from penglai.abi.state import State
from penglai.abi.timeout import checked_timeout
from penglai.driver.fault import Fault
from penglai.driver.shared import SharedMemory
from penglai.scheduler import Turn


class Reason(Enum):
    """Why a run ended."""

    EXITED = "exited"
    DESTROYED = "destroyed"
    FAULTED = "faulted"
    RELAY = "relay"
    """The enclave lives: it has returned its relay pages and waits to be run again with others."""
    MOVED = "moved"
    """The enclave lives, but not here: it is in a snapshot, and goes on where that is restored."""

    def __str__(self) -> str:
        return self.name


@dataclass(frozen=True)
class Result:
    """The end of a run.  value: what the enclave returned, an unsigned 64-bit number (EXITED only)."""

    reason: Reason
    value: int | None = None
    fault: Fault | None = None


@dataclass(frozen=True)
class Info:
    """What the monitor tells of an enclave.

    measurement: 32 bytes.  pages: of secure memory, page tables not counted.  run_time: ns on harts.
    preemptions: how often the timer took it off a hart.  calls: how many it made of the monitor;
    server_calls, ocalls: those of them that went to servers, and to the host.  A server runs in the time of
    the enclave at the bottom of the chain; what it calls itself is in its own account.
    """

    state: State
    measurement: bytes
    pages: int
    run_time: int
    stops: int
    preemptions: int
    entry: int
    calls: int
    server_calls: int
    ocalls: int

    @classmethod
    def from_bytes(cls, data: bytes) -> Self:
        """From an EnclaveInfo."""
        raw = EnclaveInfo.from_buffer_copy(data)
        return cls(
            state=State(raw.state),
            measurement=bytes(raw.measurement),
            pages=raw.pages,
            run_time=raw.run_ns,
            stops=raw.stops,
            preemptions=raw.preemptions,
            entry=raw.entry,
            calls=raw.calls,
            server_calls=raw.server_calls,
            ocalls=raw.ocalls,
        )


class TaskRun(Future[Result]):
    """A run of a task under way: a future that the driver completes.

    Cancelling does nothing: an enclave is stopped or destroyed.
    """

    def __init__(self, task: "Task") -> None:
        super().__init__()
        self.task = task
        self.set_running_or_notify_cancel()

    def result(self, timeout: float | None = None) -> Result:
        """Wait for the end, at most timeout seconds.  Raises WaitTimeoutError; the run then goes on."""
        seconds = checked_timeout(timeout)
        try:
            return super().result(seconds)
        except TimeoutError:
            raise self._too_late(timeout) from None

    def exception(self, timeout: float | None = None) -> BaseException | None:
        """Why the machine cannot go on, None if it can; waits and raises as `result` does."""
        seconds = checked_timeout(timeout)
        try:
            return super().exception(seconds)
        except TimeoutError:
            raise self._too_late(timeout) from None

    def _too_late(self, timeout: float | None) -> WaitTimeoutError:
        return WaitTimeoutError(f"{self.task.label} is still alive after {timeout} seconds; it goes on")

    def finish(self, outcome: Result | Exception) -> None:
        """For the driver: the run is over, or, with an exception, the machine cannot go on.

        Only the first outcome counts.
        """
        with suppress(InvalidStateError):
            if isinstance(outcome, Exception):
                self.set_exception(outcome)
            else:
                self.set_result(outcome)

    def __repr__(self) -> str:
        outcome: object = "under way"
        if self.done():
            outcome = self.exception() or self.result().reason
        return f"<Run of {self.task.label}: {outcome}>"


class Buffer(Protocol):
    """The page that an enclave shares with the host, which both change at any time."""

    def read(self) -> bytes:
        """A copy of all of it."""

    def write(self, data: bytes) -> None:
        """Put at most a page at its start."""


class Desk(Protocol):
    """Who answers an enclave's questions (Ocall.ASK)."""

    def answer(
        self, question: int, argument: int, buffer: Buffer, later: Callable[[int], None]
    ) -> int | None:
        """The answer, quickly, for a hart waits; or None, and later(answer) from another thread."""

    def ended(self) -> None:
        """The enclave is no more: what is still to be answered later is answered now."""


@dataclass(eq=False)
class Task:
    """The driver's record of an enclave.

    page: physical address of a page of the host's, for parameters and messages.  kernel_buffer: of the page
    that the enclave shares.  shm, shm_place: the shared memory that it has, and offset and size of the
    part, bytes.  stack_size: bytes; of a shadow, what its instances get.  make_run: what makes the object
    of a run.  desk: who answers its questions, if anybody does.  `turn` and `woken` belong to the scheduler;
    the rest is guarded by `lock`.  ended: the monitor knows the enclave no more.  released: the two pages are
    given back.  last_info: an EnclaveInfo, read by whoever asks for it.
    """

    name: str
    kind: EnclaveType
    stack_size: int
    page: int
    kernel_buffer: int
    on_end: Callable[["Task"], None] = field(repr=False)
    make_run: Callable[["Task"], TaskRun] = field(default=TaskRun, repr=False)
    shm: SharedMemory | None = None
    shm_place: tuple[int, int] = (0, 0)
    eid: int = 0
    run: TaskRun | None = field(default=None, repr=False)
    desk: Desk | None = field(default=None, repr=False)
    in_callback: bool = False
    ended: bool = False
    released: bool = False
    last_info: bytes = b""
    turn: Turn = Turn.PARKED
    woken: bool = False
    lock: threading.Lock = field(default_factory=threading.Lock, repr=False)

    @property
    def label(self) -> str:
        """How messages call it."""
        number = f"enclave {self.eid}" if self.eid else "the enclave"
        return number + (f" {self.name!r}" if self.name else "")

    @property
    def create_param(self) -> int:
        """Physical address, in the page, of the CreateParam."""
        return self.page

    @property
    def run_param(self) -> int:
        """Of the RunParam."""
        return self.page + 256

    @property
    def eid_word(self) -> int:
        """Of the u32 into which the monitor writes the eid."""
        return self.page + 512

    def word(self, index: int) -> int:
        """Of a u64 of the mailbox: 0 ocall id, 1 and 2 its arguments, 3 system call, 4 return value."""
        return self.page + 768 + 8 * index

    @property
    def info(self) -> int:
        """Of the EnclaveInfo that is filled in when the driver asks."""
        return self.page + 1024

    @property
    def final_info(self) -> int:
        """Of the EnclaveInfo that the monitor fills in at the end."""
        return self.page + 1280

    @property
    def report(self) -> int:
        """Of an attestation report."""
        return self.page + 1536
