"""What would stop the original's machine, or break its enclave's memory.

Here it ends the enclave, on a machine that behaves as the original.  The numbers are causes of a fault, from
those that RISC-V leaves to platforms.
"""

from enum import IntEnum


class Hang(IntEnum):
    """Causes beside the hardware's."""

    UNKNOWN_CALL = 24
    YIELD = 25
    BAD_HANDLE = 26
    NO_MEMORY = 27
    ACROSS_PAGES = 28
    BROKEN_SHARING = 29


TEXT: dict[int, str] = {
    Hang.UNKNOWN_CALL: "a call that Penglai-TVM does not have",
    Hang.YIELD: "the original's machine would hang here: it frees the memory of an enclave that yields",
    Hang.BAD_HANDLE: "the original's machine would hang here: it calls a server by a handle that is none",
    Hang.NO_MEMORY: "the original's machine would hang here: it has no memory for so large a mapping",
    Hang.ACROSS_PAGES: "a buffer across a page boundary, for which the original would write to other pages",
    Hang.BROKEN_SHARING: "the original's machine would hang here: it destroys shared memory without pages",
}
"""For people."""
