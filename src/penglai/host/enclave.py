"""An enclave, as the host program that created it sees it."""

import asyncio
import os
from collections.abc import Generator
from concurrent.futures import Future
from dataclasses import replace
from pathlib import Path
from types import TracebackType
from typing import Any, Protocol, Self

from penglai.abi.errors import BadArgumentError, PenglaiError, StateError
from penglai.abi.state import State
from penglai.abi.timeout import checked_timeout
from penglai.attestation.report import Report
from penglai.driver.fault import Fault
from penglai.driver.process import Process
from penglai.driver.shared import RelayPages
from penglai.driver.task import Info, Result, Task, TaskRun
from penglai.host.console import Console, Output
from penglai.host.image import Kind
from penglai.host.mounts import Mounts
from penglai.host.network import Network
from penglai.host.served import desk_of
from penglai.host.snapshots import save
from penglai.host.stdin import Stdin


class Witness(Protocol):
    """Who looks on while enclaves run, and can explain their faults afterwards (penglai.debug)."""

    def made(self, eid: int, origin: Path | bytes) -> None:
        """An enclave was made from this."""

    def explain(self, eid: int, fault: Fault) -> Fault:
        """The fault that ended an enclave, with what is known of it beside."""


class Enclave:
    """Handle of an enclave; made by `create`.

    Every method may be called from any thread, also while others are under way on the same enclave.
    Calls that its state forbids raise StateError and change nothing; once it has ended, NoSuchEnclaveError.
    A context manager: leaving it destroys the enclave.  Handles of one enclave are equal.
    """

    def __init__(self, process: Process, console: Console, task: Task) -> None:
        self._process = process
        self._console = console
        self._driver = process.driver
        self._task = task

    @property
    def eid(self) -> int:
        """Its id.  Ids are never used again while the machine is on."""
        return self._task.eid

    @property
    def name(self) -> str:
        """The name it was created under, at most 15 bytes."""
        return self._task.name

    @property
    def state(self) -> State:
        """Its state in the monitor, at this moment."""
        return self.info().state

    @property
    def measurement(self) -> bytes:
        """SM3 over what it was made of, 32 bytes."""
        return self.info().measurement

    @property
    def kind(self) -> Kind:
        """An instance of a shadow is normal."""
        return Kind(self._task.kind.name.lower())

    def info(self) -> Info:
        """State, measurement, pages, run time in ns, stops, preemptions, calls.

        Of an ended enclave: the last state and the final account.
        """
        return self._driver.info(self._task)

    @property
    def output(self) -> Output:
        """What it has written: iterate over the lines, or take the text."""
        return Output(self._console, self._task)

    def start(
        self,
        *,
        relay: RelayPages | None = None,
        stdin: Stdin | None = None,
        mounts: Mounts | None = None,
        network: Network | None = None,
    ) -> "Run":
        """Run it; return at once.  A shadow makes and runs an instance: the run's `enclave`.

        relay: pages that become the enclave's.  stdin: what a Linux program reads as its standard input, and
        how it is sent signals; without it the input is at its end.  mounts: directories that it sees.
        network: its connections with the world; without it there are none.

        Raises StateError if it was started before; SecurityError if the relay pages are not the host's;
        BadArgumentError if they are not the program's, or if the network serves another run.
        """
        desk = desk_of(stdin, mounts, network)
        try:
            return Run.of(self._process.start(self._task, relay, desk))
        except PenglaiError:
            if network is not None:
                network.ended()
            raise

    def continue_with(self, relay: RelayPages | None = None) -> "Run":
        """Let it go on after it has returned its relay pages (Reason.RELAY), with others if there are any.

        Raises StateError if it does not wait for relay pages; for the pages, as `start` does.
        """
        return Run.of(self._process.start(self._task, relay, again=True))

    def run(
        self,
        timeout: float | None = None,
        *,
        relay: RelayPages | None = None,
        stdin: Stdin | None = None,
        mounts: Mounts | None = None,
        network: Network | None = None,
    ) -> Result:
        """Run it to its end, or until it returns its relay pages; arguments as for `start`.

        timeout: seconds.  Raises WaitTimeoutError when they are over; the enclave goes on, and `stop`,
        `destroy` and `wait` work on it.
        """
        seconds = checked_timeout(timeout)  # before anything has begun
        return self.start(relay=relay, stdin=stdin, mounts=mounts, network=network).result(seconds)

    def attest(self, nonce: int = 0) -> Report:
        """A signed report of what it is made of, with this nonce (64 bits).

        Raises StateError unless it is fresh, stopped, a server or a shadow.
        """
        if not 0 <= nonce < 1 << 64:
            raise BadArgumentError(f"the nonce {nonce} does not fit into 64 bits")
        return Report.from_bytes(self._driver.attest(self._task, nonce))

    def wait(self, timeout: float | None = None) -> Result:
        """Wait for the end of a run that was started.

        Raises WaitTimeoutError after timeout seconds, StateError if it was never started.
        """
        seconds = checked_timeout(timeout)
        return self.last_run.result(seconds)

    @property
    def last_run(self) -> "Run":
        """The run that was started last.  Raises StateError if it was never started."""
        run = self._task.run
        if run is None:
            raise StateError(f"{self._task.label} was not started; call start() or run()")
        return Run.of(run)

    def when_ended(self) -> Future[None]:
        """A future that is done when it has ended; the result of its run may be a moment away."""
        return self._console.when(lambda: self._task.ended)

    def stop(self) -> None:
        """Stop it: on return it executes no further instruction, and its context is safe in the monitor."""
        self._driver.stop(self._task)

    def resume(self) -> None:
        """Let it go on, exactly where it was stopped."""
        self._driver.resume(self._task)

    def snapshot(self, path: str | os.PathLike[str], *, clone: bool = False) -> None:
        """Seal it into a new file, and let it go on from there: it ends here, and `restore` has it again.

        Its run, if it has begun, ends with Reason.MOVED.  clone: it stays, and each that is restored is
        another enclave, which goes on from the same point; its policy has to allow that.

        Raises StateError unless it is fresh or stopped; SnapshotError with the reason if it has something
        that cannot be moved, or its policy forbids it; BadArgumentError for a file that is there already or
        cannot be written.  Then it is as it was, and there is no file.
        """
        save(self._driver, self._task, path, clone=clone)

    def destroy(self) -> None:
        """End it in any state; its memory is scrubbed and free on return."""
        self._driver.destroy(self._task)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Destroy it, unless it has ended."""
        self._driver.destroy_if_alive(self._task)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Enclave) and other._task is self._task

    def __hash__(self) -> int:
        return hash((id(self._driver), self.eid))

    def __repr__(self) -> str:
        info = self.info()
        return f"<Enclave {self.eid} {info.state} {self.name!r} {info.pages} pages>"


class Run(TaskRun):
    """A run under way: a `concurrent.futures.Future` of its Result, which can be awaited too.

    Cancelling it does nothing: stop or destroy the enclave.  Functions given to `add_done_callback` are
    called on a hart's thread, and should be quick.
    """

    def __init__(
        self, process: Process, console: Console, task: Task, *, witness: Witness | None = None
    ) -> None:
        super().__init__(task)
        self._process = process
        self._console = console
        self._witness = witness

    def finish(self, outcome: Result | Exception) -> None:
        """For the driver, see TaskRun.  What somebody has seen of a fault is put to it."""
        if self._witness is not None and isinstance(outcome, Result) and outcome.fault is not None:
            outcome = replace(outcome, fault=self._witness.explain(self.eid, outcome.fault))
        super().finish(outcome)

    @staticmethod
    def of(run: TaskRun) -> "Run":
        """The driver's run as what it was made as."""
        assert isinstance(run, Run)
        return run

    @property
    def enclave(self) -> Enclave:
        """The enclave that runs: of a shadow, the new instance."""
        return Enclave(self._process, self._console, self.task)

    @property
    def eid(self) -> int:
        """Id of the enclave that runs."""
        return self.task.eid

    def __await__(self) -> Generator[Any, None, Result]:
        return asyncio.wrap_future(self).__await__()
