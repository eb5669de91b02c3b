"""The C host library's names, one to one, so that Penglai's tutorials read the same in Python.

from penglai.plenclave import *

enclave, params, elf = PLenclave(), EnclaveArgs(), ElfArgs()
PLenclave_init(enclave)
enclave_args_init(params)
elf_args_init(elf, "loop")
PLenclave_create(enclave, elf, params)
PLenclave_run(enclave)                       # returns when the enclave ends
PLenclave_destruct(enclave)

As in C, calls return 0, or -1 with the reason in `enclave.errno` and `enclave.error`.  The device that
PLenclave_init opens is a machine; without one given, all enclaves of the process share one with the
default sizes, made on first use and switched off at exit.
"""

import atexit
import threading
from collections.abc import Callable
from dataclasses import dataclass, field

from penglai.abi import ioctl
from penglai.abi.errors import BadArgumentError, ImageError, NoMemoryError, NoSuchEnclaveError, PenglaiError
from penglai.abi.layout import DEFAULT_STACK_SIZE
from penglai.abi.sbi import EnclaveType
from penglai.driver.task import Reason
from penglai.embedded import Machine
from penglai.host.enclave import Enclave
from penglai.sdk.build import find_image

__all__ = [
    "ElfArgs",
    "EnclaveArgs",
    "PLenclave",
    "PLenclave_create",
    "PLenclave_destroy",
    "PLenclave_destruct",
    "PLenclave_init",
    "PLenclave_resume",
    "PLenclave_run",
    "PLenclave_stop",
    "elf_args",
    "elf_args_destroy",
    "elf_args_init",
    "enclave_args",
    "enclave_args_init",
]


@dataclass
class ElfArgs:
    """struct elf_args: an ELF in memory."""

    name: str = ""
    ptr: bytes = b""

    @property
    def size(self) -> int:
        """Bytes of the ELF."""
        return len(self.ptr)


@dataclass
class EnclaveArgs:
    """struct enclave_args: how to create an enclave."""

    name: str = ""
    type: EnclaveType = EnclaveType.NORMAL
    stack_size: int = DEFAULT_STACK_SIZE


elf_args = ElfArgs
enclave_args = EnclaveArgs


@dataclass
class PLenclave:
    """struct PLenclave.  After a run, user_param.retval holds what the enclave returned.

    errno, error: number and text of the last failure, 0 and "" before one.
    """

    elffile: ElfArgs | None = None
    eid: int = -1
    user_param: ioctl.UserParam = field(default_factory=ioctl.UserParam)
    errno: int = 0
    error: str = ""
    machine: Machine | None = field(default=None, repr=False)
    handle: Enclave | None = field(default=None, repr=False)


_lock = threading.Lock()
_shared: list[Machine] = []


def PLenclave_init(enclave: PLenclave, machine: Machine | None = None) -> int:
    """Open the device.  machine: instead of the process's own."""
    enclave.__init__()  # type: ignore[misc]  # as in C: whatever was there is gone
    return _attempt(enclave, lambda: _open(enclave, machine))


def elf_args_init(elf: ElfArgs, filename: str) -> int:
    """Read an ELF: a path or the name of a shipped demo.  Raises nothing; -1 if there is none."""
    try:
        elf.ptr = find_image(filename).read_bytes()
    except (OSError, PenglaiError):
        return -1
    elf.name = filename
    return 0


def elf_args_destroy(elf: ElfArgs) -> None:
    """Let the ELF go."""
    elf.name, elf.ptr = "", b""


def enclave_args_init(params: EnclaveArgs) -> None:
    """Defaults: a normal enclave with 64 KiB of stack."""
    params.__init__()  # type: ignore[misc]


def PLenclave_create(enclave: PLenclave, elf: ElfArgs, params: EnclaveArgs) -> int:
    """Create and measure the enclave."""

    def create() -> None:
        if enclave.machine is None:
            raise BadArgumentError("PLenclave_init comes first")
        if params.type != EnclaveType.NORMAL:
            raise BadArgumentError(f"enclaves of type {params.type.name} are not supported yet")
        handle = enclave.machine.create(elf.ptr, name=params.name, stack_size=params.stack_size)
        enclave.handle, enclave.elffile, enclave.eid = handle, elf, handle.eid
        enclave.user_param.eid = handle.eid
        enclave.user_param.stack_size = params.stack_size

    return _attempt(enclave, create)


def PLenclave_run(enclave: PLenclave) -> int:
    """Run the enclave to its end: 0 when it exited or was destroyed, -1 when it faulted."""

    def run() -> None:
        result = _handle(enclave).run()
        enclave.user_param.retval = result.value or 0
        if result.reason is Reason.FAULTED:
            raise PenglaiError(f"the enclave faulted: {result.fault}")

    return _attempt(enclave, run)


def PLenclave_stop(enclave: PLenclave) -> int:
    """Stop the running enclave: from any thread."""
    return _attempt(enclave, lambda: _handle(enclave).stop())


def PLenclave_resume(enclave: PLenclave) -> int:
    """Let the stopped enclave go on: from any thread."""
    return _attempt(enclave, lambda: _handle(enclave).resume())


def PLenclave_destroy(enclave: PLenclave) -> int:
    """Destroy the enclave and take its memory back: from any thread."""
    return _attempt(enclave, lambda: _handle(enclave).destroy())


def PLenclave_destruct(enclave: PLenclave) -> None:
    """Close the device: an enclave that still lives is destroyed, as when its process ends."""
    if enclave.handle is not None:
        PLenclave_destroy(enclave)
    enclave.__init__()  # type: ignore[misc]


def _open(enclave: PLenclave, machine: Machine | None) -> None:
    with _lock:
        if machine is None and not _shared:
            _shared.append(Machine())
            atexit.register(_shared[0].close)
        enclave.machine = machine or _shared[0]


def _handle(enclave: PLenclave) -> Enclave:
    if enclave.handle is None:
        raise NoSuchEnclaveError("PLenclave_create comes first")
    return enclave.handle


def _attempt(enclave: PLenclave, action: Callable[[], None]) -> int:
    try:
        action()
    except PenglaiError as error:
        invalid = isinstance(error, NoSuchEnclaveError | BadArgumentError | ImageError)
        enclave.errno = ioctl.ENOMEM if isinstance(error, NoMemoryError) else ioctl.EFAULT
        if invalid:
            enclave.errno = ioctl.EINVAL
        enclave.error = str(error)
        return -1
    return 0
