"""The two ways to hash: the ABI's, and the original firmware's."""

from enum import StrEnum

import numpy as np
from cryptography.hazmat.primitives import hashes
from numpy.typing import NDArray

from penglai.abi.errors import BadArgumentError
from penglai.attestation import legacy, measure
from penglai.attestation.measure import Addresses, ReadPages


class Scheme(StrEnum):
    """How measurements and report hashes are made."""

    SM3 = "sm3"
    """That of this package's monitor."""
    TVM_LEGACY = "tvm-legacy"
    """That of existing Penglai-TVM firmware."""

    @classmethod
    def named(cls, name: str) -> "Scheme":
        """The scheme of this name.  Raises BadArgumentError if there is none."""
        try:
            return cls(name)
        except ValueError:
            raise BadArgumentError(f"no scheme {name!r}; there are {', '.join(cls)}") from None

    def digest(self, data: bytes) -> bytes:
        """The hash of data, 32 bytes."""
        if self is Scheme.TVM_LEGACY:
            return legacy.digest(data)
        digest = hashes.Hash(hashes.SM3())
        digest.update(data)
        return digest.finalize()

    def measure(
        self, entry: int, addresses: Addresses, permissions: NDArray[np.uint8], read: ReadPages
    ) -> bytes:
        """The measurement, 32 bytes; arguments as for `penglai.attestation.measure.measure`."""
        method = legacy.measure if self is Scheme.TVM_LEGACY else measure.measure
        return method(entry, addresses, permissions, read)
