"""Page numbers, as arrays.

In a module of its own: what boots an operating system has no use for numpy, and would wait for it.
"""

import mmap
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

Item = TypeVar("Item", bound=np.generic)

Pages = NDArray[np.int64]
"""Page numbers: 0 is the first page of RAM."""


def zeros(count: int, item: type[Item]) -> NDArray[Item]:
    """An array with an item for each of count pages.

    What is never touched costs nothing, neither memory nor time: numpy.zeros clears what the heap has kept.
    """
    return np.frombuffer(mmap.mmap(-1, count * np.dtype(item).itemsize), dtype=item)
