"""An enclave, as the host program that created it sees it."""

from penglai.abi.errors import BadArgumentError, StateError
from penglai.abi.state import State
from penglai.attestation.report import Report
from penglai.driver.process import Process
from penglai.driver.shared import RelayPages
from penglai.driver.task import Info, Result, Task
from penglai.driver.task import Run as TaskRun


class Enclave:
    """Handle of an enclave; made by `create`.

    Every method may be called from any thread, also while others are under way on the same enclave.
    Calls that its state forbids raise StateError and change nothing; once it has ended, NoSuchEnclaveError.
    """

    def __init__(self, process: Process, task: Task) -> None:
        self._process = process
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
    def kind(self) -> str:
        """normal, server or shadow; an instance of a shadow is normal."""
        return self._task.kind.name.lower()

    def info(self) -> Info:
        """State, measurement, pages, run time in ns, stops, preemptions, calls.

        Of an ended enclave: the last state and the final account.
        """
        return self._driver.info(self._task)

    def start(self, *, relay: RelayPages | None = None, rerun: bool = False) -> "Run":
        """Run it; return at once.  A shadow makes and runs an instance: the run's `enclave`.

        relay: pages that become the enclave's.  rerun: it has returned its relay pages (Reason.RELAY) and
        goes on, with others if there are any.

        Raises StateError if it was started before, or does not wait for relay pages; SecurityError if the
        relay pages are not the host's.
        """
        return Run(self._process, self._process.start(self._task, relay, again=rerun))

    def run(
        self, timeout: float | None = None, *, relay: RelayPages | None = None, rerun: bool = False
    ) -> Result:
        """Run it to its end, or until it returns its relay pages; arguments as for `start`.

        timeout: seconds.  Raises WaitTimeoutError when they are over; the enclave goes on, and `stop`,
        `destroy` and `wait` work on it.
        """
        return self.start(relay=relay, rerun=rerun).wait(timeout)

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
        run = self._task.run
        if run is None:
            raise StateError(f"{self._task.label} was not started; call start() or run()")
        return run.wait(timeout)

    def stop(self) -> None:
        """Stop it: on return it executes no further instruction, and its context is safe in the monitor."""
        self._driver.stop(self._task)

    def resume(self) -> None:
        """Let it go on, exactly where it was stopped."""
        self._driver.resume(self._task)

    def destroy(self) -> None:
        """End it in any state; its memory is scrubbed and free on return."""
        self._driver.destroy(self._task)

    def __repr__(self) -> str:
        info = self.info()
        return f"<Enclave {self.eid} {info.state} {self.name!r} {info.pages} pages>"


class Run:
    """A run under way: `wait` for its result from any thread.  enclave: the one that runs, for a shadow the
    new instance."""

    def __init__(self, process: Process, run: TaskRun) -> None:
        self.enclave = Enclave(process, run.task)
        self._run = run

    @property
    def eid(self) -> int:
        """Id of the enclave that runs."""
        return self.enclave.eid

    @property
    def done(self) -> bool:
        """True once there is a result."""
        return self._run.done

    def wait(self, timeout: float | None = None) -> Result:
        """Wait for the end, at most timeout seconds.  Raises WaitTimeoutError; the run then goes on."""
        return self._run.wait(timeout)

    def __repr__(self) -> str:
        return repr(self._run)
