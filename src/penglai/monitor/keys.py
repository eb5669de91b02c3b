"""The machine's keys: the device's, the monitor's, and those derived for enclaves.

Made at the first boot, kept in the machine's storage, read when first needed.
"""

import functools
import secrets
import threading
from collections.abc import Callable
from pathlib import Path

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from penglai.abi.errors import StorageError
from penglai.abi.report import HASH_BYTES, PRIVATE_KEY_BYTES
from penglai.attestation import sm2
from penglai.attestation.report import debug_hash, enclave_statement, monitor_statement
from penglai.machine.store import Store
from penglai.monitor.refusal import bad_argument

SECRET_BYTES = 32
MAX_DERIVED_BYTES = 255 * HASH_BYTES
"""As much as HKDF gives."""

KINDS = 2
"""Kinds of derived keys: 0 of the enclave, 1 for its storage."""

LABEL = b"penglai-2 enclave key".ljust(24, b"\0")
"""With the name of the scheme under which the measurement was made: a key belongs to both."""

DEBUG_LABEL = b"penglai-2 debug key".ljust(24, b"\0")
"""The same on a machine that can be debugged, whose owner sees the keys: they open nothing else."""


SNAPSHOT_LABEL = b"penglai-2 snapshot key".ljust(24, b"\0")
"""With the hash of the monitor, which says too whether it can be debugged: no other one has the key."""


class Keys:
    """The keys of one machine.  Safe to use from any thread.

    debuggable: the machine can be debugged.  Its reports say so, and are signed with another key, so that
    their parts fit to no others.
    """

    def __init__(self, store: Store, *, debuggable: bool = False) -> None:
        self._store = store
        self._debuggable = debuggable
        self._lock = threading.RLock()
        self._kept: dict[str, bytes] = {}

    @property
    def device_key(self) -> bytes:
        """The device's public key, 64 bytes.  Raises StorageError."""
        return self._once("device public key", lambda: sm2.public_key(self._device))

    def report(self, measurement: bytes, nonce: int) -> bytes:
        """The attestation report of an enclave, 328 bytes.  nonce: 64 bits.  Raises StorageError."""
        statement = self._once(
            "monitor statement",
            lambda: monitor_statement(self._device, sm2.public_key(self._monitor), self.monitor_hash),
        )
        return statement + enclave_statement(self._monitor, measurement, nonce) + self.device_key

    def derive(self, kind: int, measurement: bytes, size: int) -> bytes:
        """A secret of size bytes that only this program on this device has, the same one after a restart.

        kind: 0 or 1.  size: 1 to 8160.  Raises Refusal, StorageError.
        """
        if not 0 <= kind < KINDS:
            raise bad_argument(f"there is no key of kind {kind}")
        if not 0 < size <= MAX_DERIVED_BYTES:
            raise bad_argument(f"a key of {size} bytes: it has 1 to {MAX_DERIVED_BYTES}")
        info = (DEBUG_LABEL if self._debuggable else LABEL) + bytes([kind]) + measurement
        return HKDF(hashes.SM3(), size, salt=None, info=info).derive(self._secret)

    def snapshot_key(self, snapshot: bytes) -> bytes:
        """The key under which this device and this monitor seal the snapshot with this id, 32 bytes.

        Raises StorageError.
        """
        return HKDF(
            hashes.SM3(), SECRET_BYTES, salt=snapshot, info=SNAPSHOT_LABEL + self.monitor_hash
        ).derive(self._secret)

    @property
    def monitor_hash(self) -> bytes:
        """Of the monitor, as its reports have it, 32 bytes."""
        return debug_hash(monitor_hash()) if self._debuggable else monitor_hash()

    @property
    def _device(self) -> bytes:
        return self._stored("device-key", PRIVATE_KEY_BYTES, sm2.generate)

    @property
    def _monitor(self) -> bytes:
        name = "monitor-debug-key" if self._debuggable else "monitor-key"
        return self._stored(name, PRIVATE_KEY_BYTES, sm2.generate)

    @property
    def _secret(self) -> bytes:
        return self._stored("device-secret", SECRET_BYTES, lambda: secrets.token_bytes(SECRET_BYTES))

    def _stored(self, name: str, size: int, make: Callable[[], bytes]) -> bytes:
        content = self._once(name, lambda: self._store.load_or_create(name, make))
        if len(content) != size:
            raise StorageError(f"{name} in the machine's storage has {len(content)} bytes, not {size}")
        return content

    def _once(self, name: str, make: Callable[[], bytes]) -> bytes:
        with self._lock:
            if name not in self._kept:
                self._kept[name] = make()
            return self._kept[name]


@functools.cache
def monitor_hash() -> bytes:
    """SM3 over the monitor's own source, 32 bytes.

    For each file of penglai.monitor and penglai.attestation, by name: length of the name, the name, length
    of the content, the content; lengths are u64, so that no two sets of files hash alike.
    """
    digest = hashes.Hash(hashes.SM3())
    for name, content in _sources():
        for part in (name.encode(), content):
            digest.update(len(part).to_bytes(8, "little"))
            digest.update(part)
    return digest.finalize()


def _sources() -> list[tuple[str, bytes]]:
    rooms = (Path(__file__).parent, Path(sm2.__file__).parent)
    files = [path for room in rooms for path in room.glob("*.py")]
    return sorted((f"{path.parent.name}/{path.name}", path.read_bytes()) for path in files)
