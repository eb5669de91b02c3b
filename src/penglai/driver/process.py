"""A host process: what may act on which enclave."""

from dataclasses import replace

from penglai.abi.errors import BadArgumentError, MachineError, NoSuchEnclaveError
from penglai.abi.layout import NAME_BYTES
from penglai.abi.sbi import EnclaveType
from penglai.driver.driver import Order
from penglai.driver.image import paged_image
from penglai.driver.shared import ProcessMemories, RelayPages
from penglai.driver.shield import Shield
from penglai.driver.snapshots import Read, SnapshotDriver
from penglai.driver.task import Desk, Task, TaskRun


class Process:
    """An address space of the host: the file that a host program holds open on the driver.

    Enclaves and memories belong to the process that created them; for every other one they do not exist.
    Closing it destroys them all.
    """

    def __init__(self, driver: SnapshotDriver) -> None:
        self.driver = driver
        self.memories = ProcessMemories(driver.memories, self._check_open)
        self._tasks: dict[int, Task] = {}
        self._open = True

    def create(self, data: bytes, what: str, order: Order) -> Task:
        """Make an enclave from an ELF.  what: how messages call it; order.on_end is the process's own.

        Raises ImageError, BadArgumentError, ExistsError, NoMemoryError, SecurityError.
        """
        self._check_open()
        self.memories.check(order.shm)
        name = order.name
        _check_name(name)
        if order.kind is EnclaveType.SERVER and not name:
            raise BadArgumentError("a server needs a name, by which enclaves acquire it")
        stack = None if order.kind is EnclaveType.SHADOW else order.stack_size
        paged = paged_image(data, stack, what, self.driver.memory_pages)
        with Shield():  # an enclave that exists is in the table, also when Ctrl-C loses its handle
            return self._keep(self.driver.create(paged, replace(order, on_end=self._forget)))

    def restore(self, order: Order, read: Read, kernel_buffer: bytes, desk: Desk | None) -> Task:
        """Restore an enclave from a snapshot; order.on_end is the process's own.

        Raises SnapshotError, BadArgumentError, NoMemoryError.
        """
        self._check_open()
        self.memories.check(order.shm)
        order = replace(order, on_end=self._forget)
        with Shield():
            return self._keep(self.driver.restore(order, read, kernel_buffer, desk))

    def start(
        self, task: Task, relay: RelayPages | None = None, desk: Desk | None = None, *, again: bool = False
    ) -> TaskRun:
        """Run an enclave, or an instance of a shadow; again: go on after it returned its relay pages.

        desk: who answers its questions, from its start to its end.

        Raises StateError, NoSuchEnclaveError, NoMemoryError, SecurityError; BadArgumentError for relay pages
        that are not the process's.
        """
        self.memories.check(relay)
        if again:
            return self.driver.go_on(task, relay)
        if task.kind is not EnclaveType.SHADOW:
            return self.driver.run(task, relay, desk)
        with Shield():
            instance = self._keep(self.driver.instantiate(task, relay, desk))
            assert instance.run is not None
            self.driver.launch(instance)
            return instance.run

    def task(self, eid: int) -> Task:
        """The process's live enclave with this id.  Raises NoSuchEnclaveError."""
        task = self._tasks.get(eid)
        if task is None:
            raise NoSuchEnclaveError(f"this host process has no enclave {eid}")
        return task

    def tasks(self) -> list[Task]:
        """The process's live enclaves."""
        return list(self._tasks.values())

    def _keep(self, task: Task) -> Task:
        self._tasks[task.eid] = task
        return task

    def _forget(self, task: Task) -> None:
        self._tasks.pop(task.eid, None)

    def close(self) -> None:
        """The process ends: its enclaves are destroyed, those first that call others, and its memories go."""
        self._open = False
        for task in sorted(self.tasks(), key=lambda task: task.kind is EnclaveType.SERVER):
            self.driver.destroy_if_alive(task)
        self.memories.close()

    def _check_open(self) -> None:
        if not self._open:
            raise MachineError("the host process is closed; open another one, or start another machine")


def _check_name(name: str) -> None:
    try:
        raw = name.encode(errors="surrogateescape")  # it may come from a file's name, which is any bytes
    except UnicodeEncodeError as error:
        raise BadArgumentError(f"the name {name!r} is no text: {error.reason}") from error
    if len(raw) >= NAME_BYTES or b"\0" in raw:
        raise BadArgumentError(f"the name {name!r} is too long: at most {NAME_BYTES - 1} bytes")
