"""Error codes of the ABI, and the one hierarchy of exceptions.

Every error that a user of the package meets is a PenglaiError.  Where the error is also one of
Python's own kinds, it derives from that too, so that `except ValueError` does what one expects.
"""

from enum import IntEnum


class ErrorCode(IntEnum):
    """Negative results of the monitor's SBI calls."""

    OK = 0
    GENERIC = -1
    NO_MEMORY = -2
    NO_SUCH_ENCLAVE = -3
    EXISTS = -4
    ALLOCATION_FAILED = -5
    BAD_ARGUMENT = -6
    ATTESTATION_FAILED = -7
    SECURITY = -8
    IPI_FAILED = -9


class PenglaiError(Exception):
    """Base of every error of the package."""

    __module__ = "penglai"  # where its users find it
    code: ErrorCode = ErrorCode.GENERIC

    def __init_subclass__(cls) -> None:
        cls.__module__ = PenglaiError.__module__


class StateError(PenglaiError, RuntimeError):
    """The enclave's state does not allow the call (spec: "error: state")."""


class NoMemoryError(PenglaiError, MemoryError):
    """The machine has not enough memory left."""

    code = ErrorCode.NO_MEMORY


class NoSuchEnclaveError(PenglaiError, LookupError):
    """No enclave has this id: it ended, never was, or belongs to another host process."""

    code = ErrorCode.NO_SUCH_ENCLAVE


class ExistsError(PenglaiError):
    """The name is taken."""

    code = ErrorCode.EXISTS


class AllocationError(PenglaiError):
    """The monitor could not set up what the call needs."""

    code = ErrorCode.ALLOCATION_FAILED


class BadArgumentError(PenglaiError, ValueError):
    """An argument is out of range, misaligned or of the wrong kind."""

    code = ErrorCode.BAD_ARGUMENT


class PolicyError(BadArgumentError):
    """A policy of what to believe cannot be read, or says what makes no sense."""


class ImageError(BadArgumentError):
    """The image cannot become an enclave: no such file, no rv64 ELF, or a layout outside the ABI."""


class SnapshotError(PenglaiError):
    """A snapshot could not be made, or is not one that can be restored here; the message says why."""


class AttestationError(PenglaiError):
    """A report could not be made, or does not prove what it should."""

    code = ErrorCode.ATTESTATION_FAILED


class SecurityError(PenglaiError):
    """The monitor refused a request that would break isolation."""

    code = ErrorCode.SECURITY


class IpiError(PenglaiError):
    """A hart did not answer."""

    code = ErrorCode.IPI_FAILED


class WaitTimeoutError(PenglaiError, TimeoutError):
    """The enclave was still alive when the time was over.  It goes on."""


class AccessFault(PenglaiError):  # noqa: N818 - RISC-V's own word for it
    """The host touched physical memory that its bus does not show: secure memory, or no memory.

    address: the first physical address that it may not touch.
    """

    code = ErrorCode.SECURITY

    def __init__(self, address: int) -> None:
        super().__init__(f"access fault: the host may not touch physical address {address:#x}")
        self.address = address


class ToolchainError(PenglaiError):
    """The compiler failed or is not there."""


class MachineError(PenglaiError):
    """The machine cannot go on: the engine gave up, or the machine was closed."""


class StorageError(PenglaiError):
    """The machine's own storage is damaged, open to others, or cannot be written."""


class RecordingError(PenglaiError):
    """A recording cannot be made or read, or a replay does what the recording does not say."""


class FleetError(PenglaiError):
    """The fleet cannot do it: none is up, a part of it has died, or Ray is not installed."""


class MonitorBug(PenglaiError, AssertionError):  # noqa: N818 - not the user's error
    """An invariant of the monitor does not hold.  The machine is stopped; please report it."""


_BY_CODE: dict[int, type[PenglaiError]] = {
    cls.code: cls
    for cls in (
        StateError,
        NoMemoryError,
        NoSuchEnclaveError,
        ExistsError,
        AllocationError,
        BadArgumentError,
        AttestationError,
        SecurityError,
        IpiError,
    )
}


def error_class(code: int) -> type[PenglaiError]:
    """The exception class for a negative result; PenglaiError for a code that the ABI does not know."""
    return _BY_CODE.get(code, PenglaiError)
