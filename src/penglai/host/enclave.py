"""An enclave, as the host program that created it sees it."""

from penglai.abi.errors import StateError
from penglai.abi.state import State
from penglai.driver.driver import Driver
from penglai.driver.task import Info, Result, Run, Task


class Enclave:
    """Handle of an enclave; made by `create`.

    Every method may be called from any thread, also while others are under way on the same enclave.
    Calls that its state forbids raise StateError and change nothing; once it has ended, NoSuchEnclaveError.
    """

    def __init__(self, driver: Driver, task: Task) -> None:
        self._driver = driver
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

    def info(self) -> Info:
        """State, measurement, pages, run time in ns, stops, preemptions.

        Of an ended enclave: the last state and the final account.
        """
        return self._driver.info(self._task)

    def start(self) -> Run:
        """Run it; return at once.  Raises StateError if it was started before."""
        return self._driver.run(self._task)

    def run(self, timeout: float | None = None) -> Result:
        """Run it to its end.

        timeout: seconds.  Raises WaitTimeoutError when they are over; the enclave goes on, and `stop`,
        `destroy` and `wait` work on it.
        """
        return self.start().wait(timeout)

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
