"""Reports and keys for enclaves."""

from penglai.abi.ecall import KeyType
from penglai.abi.errors import ErrorCode, StorageError
from penglai.abi.report import REPORT_BYTES
from penglai.machine.ratelimit import limited_logger
from penglai.monitor import servers, usermem
from penglai.monitor.enclave import Enclave
from penglai.monitor.platform import Platform
from penglai.monitor.refusal import Refusal, bad_argument

log = limited_logger(__name__)

MAX_KEY_SIZE = 4096
"""Bytes that one GET_KEY derives."""


def sign(platform: Platform, subject: Enclave, nonce: int) -> bytes:
    """The report of an enclave, 328 bytes.  Raises Refusal for want of the device's keys."""
    try:
        return platform.keys.report(subject.measurement, nonce)
    except StorageError as error:
        raise _no_keys(error) from error


def write_report(platform: Platform, me: Enclave, name: int, pointer: int, nonce: int) -> None:
    """Write a report with this nonce to the enclave's memory: of itself, or of the server of a name.

    name: address of the name, 0 for itself; from then on the name means that server to the enclave.
    Raises Refusal.
    """
    usermem.check_writable(me.table, pointer, REPORT_BYTES)
    subject: Enclave | None = me
    if name:
        text = usermem.read_name(platform.memory, me.table, name)
        subject = platform.registry.server(text)
    if subject is None:
        raise bad_argument("no server has the name")
    report = sign(platform, subject, nonce)
    if name:
        servers.vouch(me, text, subject)
    usermem.write(platform.memory, me.table, pointer, report)


def write_key(platform: Platform, me: Enclave, kind: int, pointer: int, size: int) -> None:
    """Write size bytes of the enclave's key of a kind to its memory.  Raises Refusal."""
    if kind not in tuple(KeyType) or not 0 < size <= MAX_KEY_SIZE:
        raise bad_argument(f"no key of kind {kind} with {size} bytes")
    usermem.check_writable(me.table, pointer, size)
    try:
        key = platform.keys.derive(kind, me.measurement, size)
    except StorageError as error:
        raise _no_keys(error) from error
    usermem.write(platform.memory, me.table, pointer, key)


def _no_keys(error: StorageError) -> Refusal:
    log.error("the device's keys are not available: %s", error)
    return Refusal(ErrorCode.ATTESTATION_FAILED, str(error))
