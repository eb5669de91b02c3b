"""Attestation reports: what they say, and whether to believe it (docs/abi.md, section 5)."""

import re
from collections.abc import Collection
from dataclasses import dataclass, field
from typing import Self

from penglai.abi.errors import AttestationError, BadArgumentError
from penglai.abi.report import HASH_BYTES, PUBLIC_KEY_BYTES, REPORT_BYTES, EnclavePart, ReportLayout
from penglai.attestation import first, sm2
from penglai.attestation.scheme import Scheme

MAX_NONCE = (1 << 64) - 1

DEBUG_MARK = b"DEBUG\0\0\0"
"""How the hash of a monitor begins whose machine can be debugged, where no other one does: the rest is the
beginning of what it would be (docs/decisions/0022-a-debug-mark.md)."""


def debug_hash(monitor_hash: bytes) -> bytes:
    """The hash of the same monitor on a machine that can be debugged; 32 bytes."""
    return DEBUG_MARK + monitor_hash[: HASH_BYTES - len(DEBUG_MARK)]


def report_hash(measurement: bytes, nonce: int, scheme: str = Scheme.PENGLAI_2) -> bytes:
    """The hash in a report: of the scheme, the measurement and the nonce (u64, little endian); 32 bytes.

    Raises BadArgumentError for a nonce outside 64 bits or a measurement that has not 32 bytes.
    """
    if len(measurement) != HASH_BYTES:
        raise BadArgumentError(
            f"a measurement has {HASH_BYTES} bytes ({2 * HASH_BYTES} hex digits), not {len(measurement)}"
        )
    return Scheme.named(scheme).report_hash(measurement, nonce_bytes(nonce))


def nonce_bytes(nonce: int) -> bytes:
    """A nonce as reports hold it.  Raises BadArgumentError outside 64 bits."""
    if not 0 <= nonce <= MAX_NONCE:
        raise BadArgumentError(f"the nonce {nonce} does not fit in 64 bits")
    return nonce.to_bytes(8, "little")


@dataclass(frozen=True)
class Report:
    """An attestation report; whatever it says is a claim until `verify` returns.

    data: its 328 bytes.  `bytes(report)` gives them back.  Raises AttestationError for another length.
    """

    data: bytes
    _fields: ReportLayout = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        if len(self.data) != REPORT_BYTES:
            raise AttestationError(f"a report has {REPORT_BYTES} bytes, and this has {len(self.data)}")
        object.__setattr__(self, "data", bytes(self.data))
        object.__setattr__(self, "_fields", ReportLayout.from_buffer_copy(self.data))

    @classmethod
    def from_bytes(cls, data: bytes) -> Self:
        """The report in data.  Raises AttestationError for a wrong length."""
        return cls(data)

    def __bytes__(self) -> bytes:
        return self.data

    @property
    def monitor_hash(self) -> bytes:
        """Hash over the monitor, 32 bytes."""
        return bytes(self._fields.monitor.hash)

    @property
    def debuggable(self) -> bool:
        """Whether the owner of the machine can look into its enclaves and change them, as the report says."""
        return self.monitor_hash.startswith(DEBUG_MARK)

    @property
    def monitor_signature(self) -> bytes:
        """The device's signature over the monitor's hash and key, 64 bytes."""
        return bytes(self._fields.monitor.signature)

    @property
    def monitor_key(self) -> bytes:
        """The monitor's public key, 64 bytes."""
        return bytes(self._fields.monitor.public_key)

    @property
    def hash(self) -> bytes:
        """Hash over the enclave's measurement and the nonce, 32 bytes."""
        return bytes(self._fields.enclave.hash)

    @property
    def signature(self) -> bytes:
        """The monitor's signature over hash and nonce, 64 bytes."""
        return bytes(self._fields.enclave.signature)

    @property
    def nonce(self) -> int:
        """The nonce that the verifier chose."""
        return int(self._fields.enclave.nonce)

    @property
    def device_key(self) -> bytes:
        """The device's public key, 64 bytes, as the report gives it."""
        return bytes(self._fields.device_key)

    def verify(
        self,
        *,
        measurement: bytes | str,
        nonce: int,
        device_key: bytes | None = None,
        monitor_hash: bytes | None = None,
        scheme: str = Scheme.PENGLAI_2,
        allow_debug: bool = False,
    ) -> Self:
        """The report itself if it proves that this enclave runs there.

        Raises AttestationError if it does not.

        measurement: the one expected, 32 bytes or their hex digits.  nonce: the one that was sent.
        device_key: the key of the device that is trusted; without it any device is, also one that somebody
        made up.  monitor_hash: the monitor that is trusted; without it any that the device signed.
        scheme: how the report's firmware hashes: "penglai-2"; "sm3" for the first release, under which two
        different enclaves can have one measurement; "tvm-legacy".  allow_debug: of a machine that can be
        debugged too, on which nothing is secret; monitor_hash is the one without debugging then too.

        The message names the first thing that is wrong.  Raises BadArgumentError for an argument that can
        be no measurement, nonce, key or hash.
        """
        expected = report_hash(_measurement(measurement), nonce, scheme)
        self.authenticate(
            device_keys=None if device_key is None else (device_key,),
            monitor_hashes=None if monitor_hash is None else (monitor_hash,),
            allow_debug=allow_debug,
        )
        self.check_nonce(nonce)
        if self.hash != expected:
            raise AttestationError(_wrong_hash(self, _measurement(measurement), nonce, scheme))
        return self

    def authenticate(
        self,
        *,
        device_keys: Collection[bytes] | None = None,
        monitor_hashes: Collection[bytes] | None = None,
        allow_debug: bool = False,
    ) -> None:
        """Check that a device vouches for the monitor, and the monitor for the rest of the report.

        Which enclave it is, and whether the report is fresh, is left to `verify` and `check_nonce`.
        Arguments as for `verify`, with all the keys and hashes that are trusted.

        Raises AttestationError for the first thing that is wrong, BadArgumentError for what can be no key
        or hash.
        """
        _check_lengths("device key", device_keys, PUBLIC_KEY_BYTES)
        _check_lengths("monitor hash", monitor_hashes, HASH_BYTES)
        if device_keys is not None and self.device_key not in device_keys:
            raise AttestationError(
                f"wrong device: the report is of the one with the key {self.device_key.hex()}"
            )
        if not sm2.verify(self.device_key, self.monitor_hash + self.monitor_key, self.monitor_signature):
            raise AttestationError("the monitor's hash and key are not signed by the device")
        if self.debuggable and not allow_debug:
            raise AttestationError(
                "the machine can be debugged: its owner sees and changes what the enclave does; "
                "accept that with allow_debug (penglai verify --allow-debug) where it does not matter"
            )
        if monitor_hashes is not None and self.debuggable:
            monitor_hashes = [debug_hash(each) for each in monitor_hashes]
        if monitor_hashes is not None and self.monitor_hash not in monitor_hashes:
            raise AttestationError(f"wrong monitor: its hash is {self.monitor_hash.hex()}")
        if not sm2.verify(self.monitor_key, self.hash + nonce_bytes(self.nonce), self.signature):
            raise AttestationError("the enclave's hash and the nonce are not signed by the monitor")

    def check_nonce(self, nonce: int) -> None:
        """Check that the report answers this nonce.  Raises AttestationError if it answers another one."""
        if self.nonce != nonce:
            raise AttestationError(
                f"wrong nonce: the report has {self.nonce:#x}, not {nonce:#x}; it may be an old one"
            )

    def __repr__(self) -> str:
        return (
            f"<Report hash={self.hash.hex()} nonce={self.nonce:#x} monitor={self.monitor_hash.hex()[:16]}… "
            f"device={self.device_key.hex()[:16]}…>"
        )


def monitor_statement(device_key: bytes, monitor_key: bytes, monitor_hash: bytes) -> bytes:
    """The monitor's part of a report, 160 bytes.  device_key: private.  monitor_key: public."""
    return monitor_hash + sm2.sign(device_key, monitor_hash + monitor_key) + monitor_key


def enclave_statement(monitor_key: bytes, measurement: bytes, nonce: int) -> bytes:
    """The enclave's part of a report, 104 bytes.  monitor_key: private."""
    digest = report_hash(measurement, nonce)
    signature = sm2.sign(monitor_key, digest + nonce_bytes(nonce))
    part = EnclavePart(nonce=nonce)
    part.hash[:], part.signature[:] = digest, signature
    return bytes(part)


def _wrong_hash(report: Report, measurement: bytes, nonce: int, scheme: str) -> str:
    """Why a report's hash is not what it should be."""
    if scheme == Scheme.PENGLAI_2 and report.hash == report_hash(measurement, nonce, Scheme.SM3):
        return (
            "old scheme: the report is the first release's (sm3), whose measurement two different enclaves "
            "can have; let a newer monitor make it, or accept that with the scheme sm3"
        )
    if scheme == Scheme.PENGLAI_2 and report.monitor_hash == first.MONITOR:
        return "old scheme: the first release's monitor made the report; let a newer one make it"
    return (
        f"wrong measurement: the report is not of {measurement.hex()} (scheme {scheme}); "
        "it is another enclave, or another scheme"
    )


def _measurement(value: bytes | str) -> bytes:
    if isinstance(value, bytes):
        return value
    if not re.fullmatch("(?:[0-9a-fA-F]{2})*", value):  # bytes.fromhex takes blanks too
        raise BadArgumentError(f"{value!r} is no measurement: it has 64 hex digits")
    return bytes.fromhex(value)


def _check_lengths(what: str, values: Collection[bytes] | None, length: int) -> None:
    for value in values or ():
        if len(value) != length:
            raise BadArgumentError(f"a {what} has {length} bytes ({2 * length} hex digits), not {len(value)}")
