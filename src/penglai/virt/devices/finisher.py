"""The way out: a register through which a program in the guest ends the machine with an exit status.

The "sifive,test" device, which QEMU's virt machine has at the same address.
"""

from typing import NamedTuple

SIZE = 0x1000
PASS = 0x5555
FAIL = 0x3333
RESET = 0x7777


class Finish(NamedTuple):
    """How the guest ended the machine.  status: 0 to 65535.  again: it wants to begin anew."""

    status: int
    again: bool = False


class Finisher:
    """finish: None until the guest has stored something that ends the machine."""

    def __init__(self) -> None:
        self.finish: Finish | None = None

    def load(self, _offset: int, _size: int) -> int:
        return 0

    def store(self, offset: int, size: int, value: int) -> None:
        """See Registers: the low half says how it ended, the high half the status of a failure."""
        if offset or size not in (2, 4):
            return
        how, status = value & 0xFFFF, value >> 16
        if how == PASS:
            self.finish = Finish(0)
        elif how == FAIL:
            self.finish = Finish(status)
        elif how == RESET:
            self.finish = Finish(0, again=True)
