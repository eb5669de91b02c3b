"""Reports and keys for enclaves."""

from penglai.abi.ecall import KeyType
from penglai.abi.report import REPORT_BYTES
from penglai.monitor import usermem
from penglai.monitor.enclave import Enclave
from penglai.monitor.platform import Platform
from penglai.monitor.usermem import BadPointer

MAX_KEY_SIZE = 4096
"""Bytes that one GET_KEY derives."""


def write_report(platform: Platform, me: Enclave, name: int, pointer: int, nonce: int) -> None:
    """Write a report with this nonce to the enclave's memory: of itself, or of the server of a name.

    name: address of the name, 0 for itself.  Raises BadPointer.
    """
    subject: Enclave | None = me
    if name:
        subject = platform.registry.server(usermem.read_name(platform.memory, me.table, name))
    if subject is None:
        raise BadPointer("no server has the name")
    usermem.check_writable(platform.memory, me.table, pointer, REPORT_BYTES)
    usermem.write(platform.memory, me.table, pointer, platform.keys.report(subject.measurement, nonce))


def write_key(platform: Platform, me: Enclave, kind: int, pointer: int, size: int) -> None:
    """Write size bytes of the enclave's key of a kind to its memory.  Raises BadPointer."""
    if kind not in tuple(KeyType) or not 0 < size <= MAX_KEY_SIZE:
        raise BadPointer(f"no key of kind {kind} with {size} bytes")
    usermem.check_writable(platform.memory, me.table, pointer, size)
    usermem.write(platform.memory, me.table, pointer, platform.keys.derive(kind, me.measurement, size))
