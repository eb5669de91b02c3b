"""A host program: creates enclaves and holds them."""

import os
from collections.abc import Callable
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Self

from penglai.abi.errors import BadArgumentError
from penglai.abi.layout import DEFAULT_STACK_SIZE, NAME_BYTES
from penglai.abi.riscv import PAGE_SIZE
from penglai.abi.sbi import EnclaveType
from penglai.driver.driver import Order
from penglai.driver.process import Process
from penglai.driver.shared import RelayPages, SharedMemory
from penglai.driver.snapshots import SnapshotDriver
from penglai.driver.task import Task
from penglai.host.console import Console
from penglai.host.enclave import Enclave, Run, Witness, desk_of
from penglai.host.image import UNNAMED, Image, Kind, load
from penglai.host.mounts import Mounts
from penglai.host.snapshots import opened
from penglai.host.stdin import Stdin


class HostProgram:
    """One process of the host.  For the enclaves of other processes it gets NoSuchEnclaveError.

    console: what the machine's enclaves write.  find_image: the file that an image's name means.  witness:
    who explains faults, if somebody does.  A context manager: leaving it destroys the enclaves that are left.
    """

    def __init__(
        self,
        driver: SnapshotDriver,
        console: Console,
        find_image: Callable[[str], Path] = Path,
        witness: Witness | None = None,
    ) -> None:
        self.console = console
        self._process = Process(driver)
        self._find_image = find_image
        self._witness = witness
        self._make_run = partial(
            Run, self._process, console, witness=witness
        )  # the driver holds it, and so no program

    def create(
        self,
        image: Image,
        *,
        name: str = "",
        kind: str = Kind.NORMAL,
        stack_size: int = DEFAULT_STACK_SIZE,
        shm: SharedMemory | None = None,
        shm_offset: int = 0,
        shm_size: int | None = None,
    ) -> Enclave:
        """Create and measure an enclave.

        image: path, bytes, or the name of a shipped demo.  name: at most 15 bytes; by default the file's,
        cut to length; of a server: unique.  kind: normal, server or shadow.  stack_size: bytes, rounded up
        to pages; of a shadow: what its instances get.  shm: shared memory that it gets to see, from
        shm_offset on, shm_size bytes (to the end by default), both whole pages.

        Raises ImageError (no such file, no rv64 ELF, a layout outside the ABI), BadArgumentError (name,
        kind, stack, shared memory), ExistsError (a server of that name), NoMemoryError.  After an error
        nothing is left behind.
        """
        kind_number = EnclaveType[Kind.named(kind).name]
        data, what, origin = load(image, self._find_image)
        if not name and what != UNNAMED:
            name = _cut(Path(what).name)
        place = (0, 0) if shm is None else _place(shm, shm_offset, shm_size)
        order = Order(name, kind_number, stack_size, _nothing, self._make_run, shm, place)
        made = self._process.create(data, what, order)
        if self._witness is not None:
            self._witness.made(made.eid, origin)
        return self._handle(made)

    def restore(
        self,
        path: str | os.PathLike[str],
        *,
        shm: SharedMemory | None = None,
        shm_offset: int = 0,
        shm_size: int | None = None,
        stdin: Stdin | None = None,
        mounts: Mounts | None = None,
    ) -> Enclave:
        """The enclave that is in a snapshot, stopped: `resume` lets it go on.  Fresh, if it had not begun.

        The file is spent then, unless it was made for clones.  shm and the other two: as for `create`, where
        it had shared memory, of the same size; what was in it, the host keeps.  stdin, mounts: as for
        `Enclave.start`.

        Raises SnapshotError with the reason if it cannot be restored here, BadArgumentError (no such file,
        shared memory), NoMemoryError.  After an error nothing is left behind; the file is as good as before.
        """
        place = (0, 0) if shm is None else _place(shm, shm_offset, shm_size)
        with opened(path) as (file, part):
            what = os.fsdecode(part.name), EnclaveType.NORMAL, part.stack_bytes
            order = Order(*what, _nothing, self._make_run, shm, place)
            desk = desk_of(stdin, mounts)
            restored = self._process.restore(order, file.read, bytes(part.kernel_buffer), desk)
        return self._handle(restored)

    def shared_memory(self, size: int) -> SharedMemory:
        """Memory that this program and enclaves use at once; a buffer for memoryview and numpy.

        size: bytes, rounded up to pages.  Raises BadArgumentError, NoMemoryError.
        """
        return self._process.memories.make_shared(size)

    def relay_pages(self, size: int) -> RelayPages:
        """Pages that change hands between this program and enclaves, with what is on them.

        size: bytes, rounded up to pages.  Raises BadArgumentError, NoMemoryError.
        """
        return self._process.memories.make_relay(size)

    def find_shared_memory(self, number: int) -> SharedMemory:
        """The program's shared memory with this id.  Raises BadArgumentError if there is none."""
        return self._process.memories.shared(number)

    def find_relay_pages(self, number: int) -> RelayPages:
        """The program's relay pages with this id.  Raises BadArgumentError if there are none."""
        return self._process.memories.relay(number)

    def free(self, memory: SharedMemory | RelayPages) -> None:
        """Give shared memory or relay pages up: they are free when no enclave has them any more.

        Raises BufferError while arrays or views of a shared memory are in use.
        """
        self._process.memories.remove(memory)

    def enclave(self, eid: int) -> Enclave:
        """The program's live enclave with this id.  Raises NoSuchEnclaveError."""
        return self._handle(self._process.task(eid))

    @property
    def enclaves(self) -> list[Enclave]:
        """The program's live enclaves, oldest first."""
        return [self._handle(task) for task in self._process.tasks()]

    def close(self) -> None:
        """Destroy the enclaves that are left, and free the memories.  More than once does nothing."""
        self._process.close()

    def __repr__(self) -> str:
        return f"<HostProgram {len(self._process.tasks())} enclaves>"

    def _handle(self, task: Task) -> Enclave:
        return Enclave(self._process, self.console, task)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def _nothing(_task: Task) -> None:
    """The process has its own way to learn of the end."""


def _place(shm: SharedMemory, offset: int, size: int | None) -> tuple[int, int]:
    """Offset and size of a part of shared memory, checked."""
    if shm.closed:
        raise BadArgumentError("the shared memory is closed")
    size = len(shm) - offset if size is None else size
    if offset < 0 or offset % PAGE_SIZE or size <= 0 or size % PAGE_SIZE or offset + size > len(shm):
        raise BadArgumentError(
            f"shared memory from {offset} on, {size} bytes: not whole pages of its {len(shm)} bytes"
        )
    return offset, size


def _cut(name: str) -> str:
    """As much of a file's name, whole characters, as an enclave's name can have."""
    while len(os.fsencode(name)) >= NAME_BYTES:
        name = name[:-1]
    return name
