"""The ways to hash: this monitor's, the first release's, and the original firmware's."""

from enum import StrEnum

import numpy as np
from cryptography.hazmat.primitives import hashes
from numpy.typing import NDArray

from penglai.abi.errors import BadArgumentError
from penglai.abi.measured import REPORT_DOMAIN
from penglai.abi.sbi import EnclaveType
from penglai.attestation import first, legacy, measure
from penglai.attestation.measure import Addresses, ReadPages


class Scheme(StrEnum):
    """How measurements and report hashes are made."""

    PENGLAI_2 = "penglai-2"
    """That of this package's monitor."""
    SM3 = "sm3"
    """That of its first release; two different enclaves can have one measurement under it."""
    TVM_LEGACY = "tvm-legacy"
    """That of existing Penglai-TVM firmware."""

    @classmethod
    def named(cls, name: str) -> "Scheme":
        """The scheme of this name.  Raises BadArgumentError if there is none."""
        try:
            return cls(name)
        except ValueError:
            raise BadArgumentError(f"no scheme {name!r}; there are {', '.join(cls)}") from None

    def report_hash(self, measurement: bytes, nonce: bytes) -> bytes:
        """The hash in a report, 32 bytes."""
        if self is Scheme.TVM_LEGACY:
            return legacy.digest(measurement + nonce)
        digest = hashes.Hash(hashes.SM3())
        digest.update((REPORT_DOMAIN if self is Scheme.PENGLAI_2 else b"") + measurement + nonce)
        return digest.finalize()

    def measure(
        self,
        kind: EnclaveType,
        entry: int,
        addresses: Addresses,
        permissions: NDArray[np.uint8],
        read: ReadPages,
    ) -> bytes:
        """The measurement, 32 bytes; arguments as for `penglai.attestation.measure.measure`."""
        if self is Scheme.PENGLAI_2:
            return measure.measure(kind, entry, addresses, permissions, read)
        method = legacy.measure if self is Scheme.TVM_LEGACY else first.measure
        return method(entry, addresses, permissions, read)
