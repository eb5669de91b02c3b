"""What an enclave can make grow in the monitor, and how far: the host sets it (docs/abi.md, section 2)."""

from enum import IntEnum
from typing import NamedTuple

NO_LIMIT = (1 << 64) - 1

CODE_BYTES = 256 << 20
"""What translated code of a machine's enclaves may take, by default."""
DISK_BYTES = 64 << 20
"""Of the sectors that the host keeps, unless the owner of the machine says otherwise."""


class Limit(IntEnum):
    """Kinds of limits, as LIMIT has them in a1."""

    PAGES = 0
    """Of the pool: the enclave's own, its page tables, and secure memory that it has made or attached."""
    REGIONS = 1
    """What it has mapped by mmap, relay pages, calls and attached memory, each a region."""
    SHARED = 2
    """Secure memories that it has made and not destroyed."""
    HANDLES = 3
    """Servers that it has acquired and that live."""
    REPORTED = 4
    """Names of servers of which it has had reports."""


class Limits(NamedTuple):
    """The limits of an enclave; the defaults are those of a machine whose host sets none."""

    pages: int = NO_LIMIT
    regions: int = 65536
    shared: int = 1024
    handles: int = 256
    reported: int = 256

    def changed(self, kind: Limit, value: int) -> "Limits":
        """The same with another value of one kind."""
        return self._replace(**{kind.name.lower(): value})
