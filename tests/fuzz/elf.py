"""ELF files, and the images that are laid out of them."""

import numpy as np

from penglai.abi import layout
from penglai.abi.errors import ImageError, NoMemoryError
from penglai.abi.riscv import PAGE_SIZE, Pte
from penglai.driver.image import paged_image
from tests.fuzz.choices import says_why

TITLE = "ELF files and the images made of them"
PAGES = 4096
PADDR = 0x8020_0000


def one(data: bytes) -> None:
    """A file is refused with a reason, or its image is what the monitor may be asked to take."""
    try:
        paged = paged_image(data, 2 * PAGE_SIZE, "it", PAGES)
    except (ImageError, NoMemoryError) as error:
        says_why(error)
        return
    addresses, permissions = paged.addresses, paged.permissions
    assert len(addresses) == len(permissions) == len(paged.sources) <= PAGES
    assert (np.diff(addresses.astype(np.int64)) > 0).all()
    assert not (addresses % np.uint64(PAGE_SIZE)).any()
    assert addresses[0] >= layout.TEXT_BASE
    assert addresses[-1] < layout.STACK_TOP
    assert not ((permissions & Pte.W != 0) & (permissions & Pte.X != 0)).any()
    entry = np.flatnonzero(addresses == np.uint64(paged.entry & -PAGE_SIZE))
    assert len(entry) == 1
    assert permissions[entry[0]] & Pte.X
    head = paged.head(PADDR)
    assert len(head) == paged.head_size
    assert paged.sources.max(initial=0) * PAGE_SIZE == len(paged.content)
    frames = np.frombuffer(head, dtype=np.uint64)
    frames = frames[frames & np.uint64(Pte.V) != 0] >> np.uint64(10) << np.uint64(12)
    assert (frames >= PADDR).all()
    assert (frames < PADDR + paged.size).all()
