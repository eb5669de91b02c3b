"""A host process: what may act on which enclave."""

from penglai.abi.errors import BadArgumentError, MachineError, NoSuchEnclaveError
from penglai.abi.layout import NAME_BYTES
from penglai.driver.driver import Driver
from penglai.driver.image import make_template
from penglai.driver.shield import Shield
from penglai.driver.task import Task


class Process:
    """An address space of the host: the file that a host program holds open on the driver.

    Enclaves belong to the process that created them; for every other one they do not exist.  Closing it
    destroys them all.
    """

    def __init__(self, driver: Driver) -> None:
        self.driver = driver
        self._tasks: dict[int, Task] = {}
        self._open = True

    def create(self, data: bytes, name: str, stack_size: int, what: str) -> Task:
        """Make an enclave from an ELF.  what: how messages call it.

        Raises ImageError, BadArgumentError, NoMemoryError, SecurityError.
        """
        self._check_open()
        if len(name.encode()) >= NAME_BYTES or "\0" in name:
            raise BadArgumentError(f"the name {name!r} is too long: at most {NAME_BYTES - 1} bytes")
        template = make_template(data, stack_size, what, self.driver.memory_pages)
        with Shield():  # an enclave that exists is in the table, also when Ctrl-C loses its handle
            task = self.driver.create(template, name, self._forget)
            self._tasks[task.eid] = task
        return task

    def task(self, eid: int) -> Task:
        """The process's live enclave with this id.  Raises NoSuchEnclaveError."""
        task = self._tasks.get(eid)
        if task is None:
            raise NoSuchEnclaveError(f"this host process has no enclave {eid}")
        return task

    def tasks(self) -> list[Task]:
        """The process's live enclaves."""
        return list(self._tasks.values())

    def _forget(self, task: Task) -> None:
        self._tasks.pop(task.eid, None)

    def close(self) -> None:
        """The process ends: its enclaves are destroyed."""
        self._open = False
        for task in self.tasks():
            self.driver.destroy_if_alive(task)

    def _check_open(self) -> None:
        if not self._open:
            raise MachineError("the host process is closed; open another one, or start another machine")
