"""Offline measurement: what a monitor would measure of an image, without a machine."""

from collections.abc import Callable
from pathlib import Path

import numpy as np

from penglai.abi import layout
from penglai.abi.errors import NoMemoryError
from penglai.abi.riscv import PAGE_SIZE, Pte
from penglai.abi.sbi import EnclaveType
from penglai.attestation.scheme import Scheme
from penglai.driver.elf import attributes
from penglai.driver.image import paged_image
from penglai.host.image import Image, Kind, load

MAX_PAGES = (4 << 30) // PAGE_SIZE


def measure(
    image: Image,
    *,
    stack_size: int = layout.DEFAULT_STACK_SIZE,
    kind: str = Kind.NORMAL,
    scheme: str = Scheme.PENGLAI_2,
    find_image: Callable[[str], Path] = Path,
) -> bytes:
    """The measurement that an enclave made from image has; 32 bytes.

    stack_size: bytes, as given to `create`; a shadow template has none.  kind: "normal", "server" or
    "shadow".  scheme: "penglai-2", this package's; "sm3", its first release's; or "tvm-legacy", the original
    firmware's (1.5 s for a MiB), whose driver loads a header of RISC-V attributes as well.
    find_image: the file that an image's name means.

    Raises ImageError, BadArgumentError (stack, kind, scheme), NoMemoryError for an image over 4 GiB.
    """
    method = Scheme.named(scheme)
    which = Kind.named(kind)
    stack = None if which is Kind.SHADOW else stack_size
    data, what, _ = load(image, find_image)
    try:
        paged = paged_image(data, stack, what, MAX_PAGES)
    except NoMemoryError:
        raise NoMemoryError(f"{what} is larger than 4 GiB with its stack, and cannot be measured") from None
    first = attributes(data, what) if method is Scheme.TVM_LEGACY else b""
    before = [0] if first else []
    addresses = np.concatenate([before, paged.addresses, [layout.KERNEL_BUFFER]]).astype(np.uint64)
    own = np.append(paged.permissions, np.uint8(Pte.R | Pte.W | Pte.U))
    permissions = np.concatenate([np.full(len(before), Pte.R | Pte.X | Pte.U), own]).astype(np.uint8)

    def read(which: slice) -> bytes:
        """The kernel buffer comes last, a page of zeros; first what the original alone loads."""
        start, stop = (max(0, place - len(before)) for place in (which.start, which.stop))
        head = first.ljust(PAGE_SIZE, b"\0") if before and not which.start else b""
        size = (which.stop - which.start) * PAGE_SIZE
        return (head + paged.read(slice(start, stop))).ljust(size, b"\0")

    return method.measure(EnclaveType[which.name], paged.entry, addresses, permissions, read)
