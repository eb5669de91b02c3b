"""Offline measurement: what a monitor would measure of an image, without a machine."""

from collections.abc import Callable
from pathlib import Path

import numpy as np

from penglai.abi import layout
from penglai.abi.errors import NoMemoryError
from penglai.abi.riscv import PAGE_SIZE, Pte
from penglai.attestation.scheme import Scheme
from penglai.driver.image import make_template
from penglai.host.image import Image, Kind, load

MAX_PAGES = (4 << 30) // PAGE_SIZE


def measure(
    image: Image,
    *,
    stack_size: int = layout.DEFAULT_STACK_SIZE,
    kind: str = Kind.NORMAL,
    scheme: str = Scheme.SM3,
    find_image: Callable[[str], Path] = Path,
) -> bytes:
    """The measurement that an enclave made from image has; 32 bytes.

    stack_size: bytes, as given to `create`; a shadow template has none.  kind: "normal", "server" or
    "shadow".  scheme: "sm3", this package's, or "tvm-legacy", the original firmware's (1.5 s for a MiB).
    find_image: the file that an image's name means.

    Raises ImageError, BadArgumentError (stack, kind, scheme), NoMemoryError for an image over 4 GiB.
    """
    method = Scheme.named(scheme)
    stack = None if Kind.named(kind) is Kind.SHADOW else stack_size
    data, what = load(image, find_image)
    try:
        template = make_template(data, stack, what, MAX_PAGES)
    except NoMemoryError:
        raise NoMemoryError(f"{what} is larger than 4 GiB with its stack, and cannot be measured") from None
    addresses = np.append(template.addresses, np.uint64(layout.KERNEL_BUFFER))
    permissions = np.append(template.permissions, np.uint8(Pte.R | Pte.W | Pte.U))

    def read(which: slice) -> bytes:
        """The kernel buffer comes last: a page of zeros."""
        return template.read(which).ljust((which.stop - which.start) * PAGE_SIZE, b"\0")

    return method.measure(template.entry, addresses, permissions, read)
