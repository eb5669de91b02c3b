"""The scheme of the first release, `sm3`: for reports that its monitor made (docs/abi.md, section 4).

It does not tell enclaves apart as it should: no length is hashed, so the header of a run can be content of
the run before, and nothing says whether a program is a normal enclave or a server.
"""

import numpy as np
from cryptography.hazmat.primitives import hashes
from numpy.typing import NDArray

from penglai.attestation.measure import (
    Addresses,
    ReadPages,
    Update,
    feed_pages,
    measured_address,
    runs,
)

MONITOR = bytes.fromhex("cae73d42c9e39123aac4f7fbf545435123f939a75648a2ac2c0a4a2687bf7a20")
"""Hash of that release's monitor, as its reports have it."""


def measure(entry: int, addresses: Addresses, permissions: NDArray[np.uint8], read: ReadPages) -> bytes:
    """The first release's measurement, 32 bytes; arguments as for `penglai.attestation.measure.measure`."""
    state = hashes.Hash(hashes.SM3())
    feed(state.update, entry, addresses, permissions, read)
    return state.finalize()


def feed(
    update: Update, entry: int, addresses: Addresses, permissions: NDArray[np.uint8], read: ReadPages
) -> None:
    """Give a digest the entry point, each run's address, byte of permissions and pages, and a nonce of 0."""
    update(entry.to_bytes(8, "little"))
    for run in runs(addresses, permissions):
        address = measured_address(addresses[run.start])
        update(address.to_bytes(8, "little") + bytes([permissions[run.start]]))
        feed_pages(update, run, read)
    update(bytes(8))
