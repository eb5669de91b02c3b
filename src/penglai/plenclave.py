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
from typing import TypeVar

from penglai.abi import ioctl
from penglai.abi.errors import BadArgumentError, ImageError, NoMemoryError, NoSuchEnclaveError, PenglaiError
from penglai.abi.layout import DEFAULT_STACK_SIZE
from penglai.abi.report import ReportLayout
from penglai.abi.sbi import EnclaveType
from penglai.driver.shared import RelayPages, SharedMemory
from penglai.driver.task import Reason, Result
from penglai.embedded import Machine
from penglai.host.enclave import Enclave
from penglai.sdk.images import find_image

__all__ = [
    "NORMAL_ENCLAVE",
    "RETURN_USER_RELAY_PAGE",
    "SERVER_ENCLAVE",
    "SHADOW_ENCLAVE",
    "ElfArgs",
    "EnclaveArgs",
    "PLenclave",
    "PLenclave_attest",
    "PLenclave_create",
    "PLenclave_destroy",
    "PLenclave_destruct",
    "PLenclave_fs_persistency_init",
    "PLenclave_init",
    "PLenclave_resume",
    "PLenclave_run",
    "PLenclave_schrodinger_at",
    "PLenclave_schrodinger_ctl",
    "PLenclave_schrodinger_dt",
    "PLenclave_schrodinger_get",
    "PLenclave_set_mem_arg",
    "PLenclave_set_rerun_arg",
    "PLenclave_set_shm",
    "PLenclave_shmat",
    "PLenclave_shmctl",
    "PLenclave_shmdt",
    "PLenclave_shmget",
    "PLenclave_stop",
    "elf_args",
    "elf_args_destroy",
    "elf_args_init",
    "elf_valid",
    "enclave_args",
    "enclave_args_init",
]


T = TypeVar("T")


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
    shmid: int = 0
    shm_offset: int = 0
    shm_size: int = 0


elf_args = ElfArgs
enclave_args = EnclaveArgs

NORMAL_ENCLAVE, SERVER_ENCLAVE, SHADOW_ENCLAVE = EnclaveType
RETURN_USER_RELAY_PAGE = ioctl.RETURN_USER_RELAY_PAGE
NO_EID = (1 << 64) - 1


@dataclass
class PLenclave:
    """struct PLenclave.  After a run, user_param.retval holds what the enclave returned; after an attest,
    attest_param.report its report.

    errno, error: number and text of the last failure, 0 and "" before one.
    """

    elffile: ElfArgs | None = None
    user_param: ioctl.UserParam = field(default_factory=lambda: ioctl.UserParam(eid=NO_EID))
    attest_param: ioctl.AttestParam = field(default_factory=ioctl.AttestParam)
    errno: int = 0
    error: str = ""
    machine: Machine | None = field(default=None, repr=False)
    handle: Enclave | None = field(default=None, repr=False)

    @property
    def eid(self) -> int:
        """The enclave's id, -1 before there is one; of a shadow that has run, its instance's."""
        return -1 if self.user_param.eid == NO_EID else int(self.user_param.eid)

    @eid.setter
    def eid(self, eid: int) -> None:
        self.user_param.eid = eid


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


def elf_valid(elf: ElfArgs) -> bool:
    """True if an ELF was read."""
    return elf.ptr[:4] == b"\x7fELF"


def elf_args_destroy(elf: ElfArgs) -> None:
    """Let the ELF go."""
    elf.name, elf.ptr = "", b""


def enclave_args_init(params: EnclaveArgs) -> None:
    """Defaults: a normal enclave with 64 KiB of stack."""
    params.__init__()  # type: ignore[misc]


def PLenclave_create(enclave: PLenclave, elf: ElfArgs, params: EnclaveArgs) -> int:
    """Create and measure the enclave: a normal one, a server or a shadow, as params.type says."""
    user = enclave.user_param

    def create() -> None:
        machine = _machine(enclave)
        shmid, offset, size = params.shmid, params.shm_offset, params.shm_size
        if not shmid:
            shmid, offset, size = user.shmid, user.shm_offset, user.shm_size
        handle = machine.create(
            elf.ptr,
            name=params.name,
            kind=EnclaveType(params.type).name.lower(),
            stack_size=params.stack_size,
            shm=machine.find_shared_memory(shmid) if shmid else None,
            shm_offset=offset,
            shm_size=size or None,
        )
        enclave.elffile, enclave.handle = elf, handle
        user.eid, user.type, user.stack_size = handle.eid, params.type, params.stack_size
        user.rerun_reason = 0

    return _attempt(enclave, create)


def PLenclave_run(enclave: PLenclave) -> int:
    """Run the enclave, or a new instance of a shadow, whose eid then is the struct's.

    0 when it exited or was destroyed; RETURN_USER_RELAY_PAGE when it wants relay pages and to be run again;
    -1 when it faulted or could not run.
    """
    results: list[Result] = []
    user = enclave.user_param

    def run() -> None:
        handle = _handle(enclave)
        again = user.rerun_reason == RETURN_USER_RELAY_PAGE
        relay = _relay_argument(enclave)
        under_way = handle.continue_with(relay) if again else handle.start(relay=relay)
        if handle.kind == "shadow":
            enclave.handle = under_way.enclave
            user.eid, user.isShadow = under_way.eid, 1
        results.append(under_way.result())
        user.retval = results[0].value or 0
        if results[0].reason is Reason.FAULTED:
            raise PenglaiError(f"the enclave faulted: {results[0].fault}")

    failed = _attempt(enclave, run)
    return failed or (RETURN_USER_RELAY_PAGE if results[0].reason is Reason.RELAY else 0)


def PLenclave_attest(enclave: PLenclave, nonce: int) -> int:
    """Have the monitor sign what the enclave is made of: the report is in attest_param.report."""

    def attest() -> None:
        report = bytes(_handle(enclave).attest(nonce))
        enclave.attest_param.report = ReportLayout.from_buffer_copy(report)
        enclave.attest_param.eid, enclave.attest_param.nonce = enclave.eid, nonce

    return _attempt(enclave, attest)


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
    if enclave.eid >= 0:
        PLenclave_destroy(enclave)
    enclave.__init__()  # type: ignore[misc]


# ---- memory that host and enclaves share or hand over ------------------------------------------


def PLenclave_shmget(size: int, machine: Machine | None = None) -> int:
    """Id of new shared memory of size bytes; -1 if there is none.  machine: instead of the process's own."""
    return _number(lambda: (machine or _default_machine()).shared_memory(size).id)


def PLenclave_shmat(shmid: int, _address: int = 0, machine: Machine | None = None) -> SharedMemory | None:
    """The shared memory, a buffer; None if there is none of that id."""
    return _found(lambda: (machine or _default_machine()).find_shared_memory(shmid))


def PLenclave_shmdt(_shmid: int, shared: SharedMemory) -> int:
    """The program uses it no more; the id stays.  -1 if it is no shared memory."""
    return 0 if isinstance(shared, SharedMemory) else -1


def PLenclave_shmctl(shmid: int, machine: Machine | None = None) -> int:
    """Give the id up: the memory is free when no enclave has it any more."""
    device = machine or _default_machine()
    return _done(lambda: device.free(device.find_shared_memory(shmid)))


def PLenclave_schrodinger_get(size: int, machine: Machine | None = None) -> int:
    """Id of new relay pages of size bytes; -1 if there is no memory."""
    return _number(lambda: (machine or _default_machine()).relay_pages(size).id)


def PLenclave_schrodinger_at(
    number: int, _address: int = 0, machine: Machine | None = None
) -> RelayPages | None:
    """The relay pages, to read and write while the host has them; None if there are none of that id."""
    return _found(lambda: (machine or _default_machine()).find_relay_pages(number))


def PLenclave_schrodinger_dt(_relay_id: int, relay: RelayPages) -> int:
    """The program uses them no more; the id stays."""
    return 0 if isinstance(relay, RelayPages) else -1


def PLenclave_schrodinger_ctl(number: int, machine: Machine | None = None) -> int:
    """Give the id up: the pages are free when no enclave has them any more."""
    device = machine or _default_machine()
    return _done(lambda: device.free(device.find_relay_pages(number)))


def PLenclave_set_shm(enclave: PLenclave, shmid: int, offset: int, size: int) -> int:
    """The part of shared memory that the enclave gets to see; before it is created."""
    user = enclave.user_param
    user.shmid, user.shm_offset, user.shm_size = shmid, offset, size
    return 0


def PLenclave_set_mem_arg(enclave: PLenclave, number: int, offset: int, size: int) -> int:
    """The relay pages that the enclave gets when it is run, or run again."""
    user = enclave.user_param
    user.schrodinger_id, user.schrodinger_offset, user.schrodinger_size = number, offset, size
    return 0


def PLenclave_set_rerun_arg(enclave: PLenclave, rerun_reason: int) -> int:
    """Say why the enclave is run again: RETURN_USER_RELAY_PAGE.  Holds for all further runs of it."""
    enclave.user_param.rerun_reason = rerun_reason
    return 0


def PLenclave_fs_persistency_init(shmid: int, machine: Machine | None = None) -> int:
    """Let the sectors of enclaves pass at the start of this shared memory; they are kept on the machine's
    disk."""
    device = machine or _default_machine()
    return _done(lambda: device.use_disk(device.find_shared_memory(shmid)))


# ---- helpers -----------------------------------------------------------------------------------


def _default_machine() -> Machine:
    with _lock:
        if not _shared:
            _shared.append(Machine())
            atexit.register(_shared[0].close)
        return _shared[0]


def _open(enclave: PLenclave, machine: Machine | None) -> None:
    enclave.machine = machine or _default_machine()


def _machine(enclave: PLenclave) -> Machine:
    if enclave.machine is None:
        raise BadArgumentError("PLenclave_init comes first")
    return enclave.machine


def _handle(enclave: PLenclave) -> Enclave:
    if enclave.eid < 0:
        raise NoSuchEnclaveError("PLenclave_create comes first")
    if enclave.handle is None or enclave.handle.eid != enclave.eid:
        enclave.handle = _machine(enclave).enclave(enclave.eid)
    return enclave.handle


def _relay_argument(enclave: PLenclave) -> RelayPages | None:
    user = enclave.user_param
    if not user.schrodinger_id or not user.schrodinger_size:
        return None
    relay = _machine(enclave).find_relay_pages(user.schrodinger_id)
    return relay.part(user.schrodinger_offset, user.schrodinger_size)


def _number(action: Callable[[], int]) -> int:
    try:
        return action()
    except PenglaiError:
        return -1


def _done(action: Callable[[], None]) -> int:
    try:
        action()
    except (PenglaiError, BufferError):
        return -1
    return 0


def _found(action: Callable[[], T]) -> T | None:
    try:
        return action()
    except PenglaiError:
        return None


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
