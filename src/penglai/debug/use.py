"""What the enclaves of a machine have at a moment: what a test that leaves something behind is found by."""

from dataclasses import dataclass

import numpy as np

from penglai.monitor.monitor import Monitor
from penglai.monitor.ownership import MONITOR, SECURE


@dataclass(frozen=True)
class Use:
    """What enclaves have.

    enclaves: a label of each that is alive, such as "3 adder".  pages: their own, those that they share among
    each other, and their page tables; the host's are not among them.
    """

    enclaves: tuple[str, ...]
    pages: int


def in_use(monitor: Monitor) -> Use:
    """What the enclaves of this monitor have."""
    labels = tuple(f"{enclave.eid} {enclave.name}".rstrip() for enclave in monitor.enclaves())
    owner = monitor.platform.ownership.snapshot()
    pages = np.count_nonzero((owner > 0) | (owner == SECURE) | (owner == MONITOR))
    return Use(labels, int(pages))
