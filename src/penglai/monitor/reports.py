"""Reports and keys for enclaves."""

import logging

from penglai.abi.ecall import KeyType
from penglai.abi.errors import ErrorCode, StorageError
from penglai.abi.report import REPORT_BYTES
from penglai.monitor import usermem
from penglai.monitor.enclave import Enclave
from penglai.monitor.platform import Platform
from penglai.monitor.refusal import Refusal
from penglai.monitor.usermem import BadPointer

log = logging.getLogger(__name__)

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

    name: address of the name, 0 for itself.  Raises BadPointer.
    """
    subject: Enclave | None = me
    if name:
        subject = platform.registry.server(usermem.read_name(platform.memory, me.table, name))
    if subject is None:
        raise BadPointer("no server has the name")
    usermem.check_writable(me.table, pointer, REPORT_BYTES)
    usermem.write(platform.memory, me.table, pointer, sign(platform, subject, nonce))


def write_key(platform: Platform, me: Enclave, kind: int, pointer: int, size: int) -> None:
    """Write size bytes of the enclave's key of a kind to its memory.  Raises BadPointer."""
    if kind not in tuple(KeyType) or not 0 < size <= MAX_KEY_SIZE:
        raise BadPointer(f"no key of kind {kind} with {size} bytes")
    usermem.check_writable(me.table, pointer, size)
    try:
        key = platform.keys.derive(kind, me.measurement, size)
    except StorageError as error:
        raise _no_keys(error) from error
    usermem.write(platform.memory, me.table, pointer, key)


def _no_keys(error: StorageError) -> Refusal:
    log.error("the device's keys are not to be had: %s", error)
    return Refusal(ErrorCode.ATTESTATION_FAILED, str(error))
