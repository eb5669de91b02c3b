"""Copies of what an enclave was doing."""

import struct
from typing import NamedTuple

RA, SP, FP = 1, 2, 8
"""Numbers of registers (RISC-V ELF psABI)."""


class Stack(NamedTuple):
    """The memory from a stack pointer on: data begins at address `start`."""

    start: int
    data: bytes

    def word(self, address: int) -> int | None:
        """The 8 bytes at an address, or None if they are not there."""
        offset = address - self.start
        if not 0 <= offset <= len(self.data) - 8:
            return None
        return int(struct.unpack_from("<Q", self.data, offset)[0])


class Snapshot(NamedTuple):
    """An enclave of a chain.  eid: of what it was made from, a shadow's for its instances."""

    label: str
    eid: int
    pc: int
    registers: tuple[int, ...]
    stack: Stack
