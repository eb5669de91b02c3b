"""A snapshot on its way, out of an enclave or into one: plain data."""

from dataclasses import dataclass

from penglai.abi.snapshot import SnapshotHead, SnapshotRecord
from penglai.attestation.sealed import Seal
from penglai.machine.pages import Pages


@dataclass
class Sealing:
    """A snapshot that is being made.  It is dropped as soon as the enclave changes.

    pages: all that the enclave has mapped as its own, ascending by address.  number: of the next piece.
    looked_at: how many of the pages are in earlier pieces, or zero.
    """

    seal: Seal
    head: SnapshotHead
    pages: Pages
    number: int = 1
    looked_at: int = 0

    @property
    def whole(self) -> bool:
        """Every piece was made."""
        return self.number > 1 and self.looked_at == len(self.pages)


@dataclass
class Filling:
    """A snapshot that is being restored.

    record: its first piece.  pages: as in Sealing.  number: of the next piece.  filled:
    pages from this one on have nothing yet.
    """

    seal: Seal
    head: SnapshotHead
    record: SnapshotRecord
    pages: Pages
    number: int = 1
    filled: int = 0
