"""Measurement: SM3 over what an enclave is made of, at its creation (docs/abi.md, section 4)."""

from collections.abc import Callable
from itertools import pairwise

import numpy as np
from cryptography.hazmat.primitives import hashes
from numpy.typing import NDArray

from penglai.abi.layout import ADDRESS_BITS, MMAP_TOP, STACK_TOP
from penglai.abi.measured import MEASUREMENT_DOMAIN, MEASUREMENT_HEAD, MEASUREMENT_RUN, UPPER_HALF
from penglai.abi.riscv import PAGE_SIZE
from penglai.abi.sbi import EnclaveType

HASH_BATCH = 256
"""Pages hashed at once, so that a copy of the batch stays small."""

Addresses = NDArray[np.uint64]
"""Virtual addresses of pages."""

ReadPages = Callable[[slice], bytes | memoryview]
"""The content of a range of the pages, by their index."""

Update = Callable[[bytes | memoryview], None]
"""What takes the next bytes of a digest."""


def measure(
    kind: EnclaveType, entry: int, addresses: Addresses, permissions: NDArray[np.uint8], read: ReadPages
) -> bytes:
    """The measurement under the scheme penglai-2, 32 bytes.

    Each number is hashed before what it counts, so that two different enclaves are never the same bytes.
    addresses: of the pages, ascending.  permissions: of each, its R 2, W 4, X 8, U 16 bits.  read: gives the
    content of a slice of them.
    """
    digest = hashes.Hash(hashes.SM3())
    found = runs(addresses, permissions)
    in_stack = (addresses >= MMAP_TOP) & (addresses < STACK_TOP)
    stack = np.count_nonzero(in_stack) * PAGE_SIZE
    digest.update(MEASUREMENT_HEAD.pack(MEASUREMENT_DOMAIN, kind, entry, stack, len(found)))
    for run in found:
        address = measured_address(addresses[run.start])
        digest.update(MEASUREMENT_RUN.pack(address, run.stop - run.start, permissions[run.start]))
        feed_pages(digest.update, run, read)
    return digest.finalize()


def runs(addresses: Addresses, permissions: NDArray[np.uint8]) -> list[slice]:
    """The stretches of contiguous addresses with equal permissions, by index."""
    gap = addresses[1:] - addresses[:-1] != PAGE_SIZE
    change = permissions[1:] != permissions[:-1]
    cuts = [0, *(int(cut) + 1 for cut in np.flatnonzero(gap | change)), len(addresses)]
    return [slice(start, end) for start, end in pairwise(cuts) if start < end]


def measured_address(address: "int | np.uint64") -> int:
    """A virtual address as measurements have it: its lower 39 bits in the upper half."""
    return UPPER_HALF + int(address) % (1 << ADDRESS_BITS)


def feed_pages(update: Update, run: slice, read: ReadPages) -> None:
    """Give a digest the content of a run of pages, piece by piece."""
    for batch in range(run.start, run.stop, HASH_BATCH):
        update(read(slice(batch, min(batch + HASH_BATCH, run.stop))))
