"""A host program: creates enclaves and holds them."""

from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Self

from penglai.abi.layout import DEFAULT_STACK_SIZE, NAME_BYTES
from penglai.driver.driver import Driver
from penglai.driver.process import Process
from penglai.driver.task import Task
from penglai.host.enclave import Enclave
from penglai.host.image import UNNAMED, Image, load


class HostProgram:
    """One process of the host.  For the enclaves of other processes it gets NoSuchEnclaveError.

    find_image: the file that an image's name means.  A context manager: leaving it destroys the enclaves
    that are left.
    """

    def __init__(self, driver: Driver, find_image: Callable[[str], Path] = Path) -> None:
        self._process = Process(driver)
        self._find_image = find_image

    def create(self, image: Image, *, name: str = "", stack_size: int = DEFAULT_STACK_SIZE) -> Enclave:
        """Create and measure an enclave.

        image: path, bytes, or the name of a shipped demo.  name: at most 15 bytes; by default the file's,
        cut to length.  stack_size: bytes, rounded up to pages.

        Raises ImageError (no such file, no rv64 ELF, a layout outside the ABI), BadArgumentError (name,
        stack), NoMemoryError.  After an error nothing is left behind.
        """
        data, what = load(image, self._find_image)
        if not name and what != UNNAMED:
            name = Path(what).name.encode()[: NAME_BYTES - 1].decode("utf-8", "ignore")
        return self._handle(self._process.create(data, name, stack_size, what))

    def enclave(self, eid: int) -> Enclave:
        """The program's live enclave with this id.  Raises NoSuchEnclaveError."""
        return self._handle(self._process.task(eid))

    @property
    def enclaves(self) -> list[Enclave]:
        """The program's live enclaves, oldest first."""
        return [self._handle(task) for task in self._process.tasks()]

    def close(self) -> None:
        """Destroy the enclaves that are left.  More than once does nothing."""
        self._process.close()

    def _handle(self, task: Task) -> Enclave:
        return Enclave(self._process.driver, task)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
