"""Whether this process may have the address space that numpy takes, whose library ends it otherwise."""

import functools
import os
import resource
from pathlib import Path

from penglai.abi.errors import MachineError

NUMPY = 112 << 20
"""Bytes of address space that loading it takes at most: 83 MiB stay, and OpenBLAS wants 16 MiB and more for a
while."""


@functools.cache
def require_address_space() -> None:
    """Raises MachineError if there is no room for numpy; to be called once, before it is loaded.

    Where the room has a limit, its library is told to make no threads of its own, which take more.
    """
    limit, _ = resource.getrlimit(resource.RLIMIT_AS)
    if limit == resource.RLIM_INFINITY:
        return
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    if limit - used < NUMPY:
        raise MachineError(
            f"the process may have {limit >> 20} MiB of address space (ulimit -v), and has {used >> 20}; "
            f"to begin, it takes {NUMPY >> 20} more"
        )
