"""Snapshots by hand: a raw host takes their pieces and hands them in again."""

import ctypes
from collections.abc import Sequence

from penglai.abi.riscv import PAGE_SIZE
from penglai.abi.sbi import HostCall, SbiResult
from penglai.abi.snapshot import BUFFER_BYTES, PieceHead, RestoreParam, SnapshotHead
from tests.support.rawhost import RawHost

HEAD = ctypes.sizeof(SnapshotHead)
PIECE_HEAD = ctypes.sizeof(PieceHead)


class Mover:
    """Takes and gives snapshots through one buffer of a raw host."""

    def __init__(self, raw: RawHost) -> None:
        self.raw = raw
        self.number = 0
        pages = [raw.page() for _ in range(BUFFER_BYTES // PAGE_SIZE)]
        self.buffer = pages[0]

    def begin(self, eid: int, options: int = 0, size: int = BUFFER_BYTES) -> SbiResult:
        result = self.raw.call(HostCall.SNAPSHOT, eid, options, self.buffer, size)
        if not result.error:
            self.number = SnapshotHead.from_buffer_copy(self.raw.memory.read(self.buffer, HEAD)).number
        return result

    def next(self, eid: int, size: int = BUFFER_BYTES) -> SbiResult:
        return self.raw.call(HostCall.SNAPSHOT_PIECE, eid, self.number, self.buffer, size)

    def go(self, eid: int) -> SbiResult:
        """Move into the snapshot that was begun last."""
        return self.raw.call(HostCall.SNAPSHOT_MOVE, eid, self.number)

    def taken(self, result: SbiResult) -> bytes:
        """The piece that a call has written."""
        assert result.error == 0, result
        return self.raw.memory.read(self.buffer, result.value)

    def pieces(self, eid: int, options: int = 0) -> list[bytes]:
        """A whole snapshot: the head, and each piece."""
        first = self.taken(self.begin(eid, options))
        found = [first[:HEAD], first[HEAD:]]
        while not PieceHead.from_buffer_copy(found[-1]).last:
            found.append(self.taken(self.next(eid)))
        return found

    def move(self, eid: int) -> list[bytes]:
        """A whole snapshot, into which the enclave has moved."""
        found = self.pieces(eid)
        assert self.go(eid).error == 0
        return found

    def restore_first(self, head: bytes, piece: bytes, **fields: int) -> SbiResult:
        """RESTORE with the head and the first piece; fields override."""
        return self.raw.call(HostCall.RESTORE, self.restore_param(head, piece, **fields))

    def restore_param(self, head: bytes, piece: bytes, **fields: int) -> int:
        """Physical address of a restore_param, the head and the first piece being in the buffer."""
        raw, blob = self.raw, head + piece
        raw.memory.write(self.buffer, blob)
        self.eid_word = raw.page()
        values = {
            "blob_pa": self.buffer,
            "blob_size": len(blob),
            "eid_pa": self.eid_word,
            "kbuffer": raw.page(),
            "kbuffer_size": PAGE_SIZE,
            **raw.mailbox(),
            **fields,
        }
        page = raw.page()
        raw.memory.write(page, bytes(RestoreParam(**values)))
        return page

    def restore_piece(self, eid: int, piece: bytes) -> SbiResult:
        self.raw.memory.write(self.buffer, piece)
        return self.raw.call(HostCall.RESTORE_PIECE, eid, self.buffer, len(piece))

    def refusal(self, pieces: Sequence[bytes], **fields: int) -> int:
        """The value beside the error with which a snapshot is refused, or 0: it is restored.

        What has been made of it is destroyed.
        """
        result = self.restore_first(pieces[0], pieces[1], **fields)
        if result.error:
            return result.value
        eid, values = result.value, []
        for piece in pieces[2:]:
            result = self.restore_piece(eid, piece)
            values.append(result.value)
            if result.error:
                break
        assert self.raw.call(HostCall.DESTROY, eid).error == 0
        return 0 if not result.error else values[-1]

    def restore(self, pieces: Sequence[bytes], **fields: int) -> int:
        """The eid of what is restored, which must not be refused."""
        result = self.restore_first(pieces[0], pieces[1], **fields)
        assert result.error == 0, result
        eid = result.value
        for number, piece in enumerate(pieces[2:], 3):
            assert self.restore_piece(eid, piece) == (0, number == len(pieces))
        return eid
