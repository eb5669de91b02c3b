"""Measurement: SM3 over what an enclave is made of, at its creation (docs/abi.md, section 3)."""

from collections.abc import Callable
from itertools import pairwise

import numpy as np
from cryptography.hazmat.primitives import hashes
from numpy.typing import NDArray

from penglai.abi.layout import ADDRESS_BITS
from penglai.abi.riscv import PAGE_SIZE

UPPER_HALF = 0xFFFF_FF80_0000_0000
"""Base to which the 39 bits of a virtual address are added in the measurement."""

HASH_BATCH = 256
"""Pages hashed at once, so that a copy of the batch stays small."""

Addresses = NDArray[np.uint64]
"""Virtual addresses of pages."""

ReadPages = Callable[[slice], bytes | memoryview]
"""The content of a range of the pages, by their index."""


def measure(entry: int, addresses: Addresses, permissions: NDArray[np.uint8], read: ReadPages) -> bytes:
    """SM3 over the entry point, each run of pages, and a nonce of 0; 32 bytes.

    A run is a stretch of contiguous addresses with equal permissions: its address, its permission bits
    (R 2, W 4, X 8, U 16), its pages.  addresses: ascending.  read: gives the content of a slice of them.
    """
    digest = hashes.Hash(hashes.SM3())
    feed(digest.update, entry, addresses, permissions, read)
    return digest.finalize()


def feed(
    update: Callable[[bytes | memoryview], None],
    entry: int,
    addresses: Addresses,
    permissions: NDArray[np.uint8],
    read: ReadPages,
) -> None:
    """Give a digest's update function, piece by piece, what `measure` hashes."""
    update(entry.to_bytes(8, "little"))
    gap = addresses[1:] - addresses[:-1] != PAGE_SIZE
    change = permissions[1:] != permissions[:-1]
    starts = [0, *(int(cut) + 1 for cut in np.flatnonzero(gap | change)), len(addresses)]
    for start, end in pairwise(starts):
        address = UPPER_HALF + int(addresses[start]) % (1 << ADDRESS_BITS)
        update(address.to_bytes(8, "little") + bytes([permissions[start]]))
        for batch in range(start, end, HASH_BATCH):
            update(read(slice(batch, min(batch + HASH_BATCH, end))))
    update(bytes(8))
