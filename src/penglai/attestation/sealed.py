"""Pieces of a snapshot, sealed and opened: AES-256-GCM over content and heads (docs/abi.md, section 6)."""

import ctypes
import struct
from collections.abc import Iterable

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from penglai.abi.errors import AttestationError
from penglai.abi.snapshot import TAG_BYTES, PieceHead

NONCE = struct.Struct("<III")
"""Number of the piece, whether it is the last, zero.  The key is of one snapshot alone."""

HEAD_BYTES = ctypes.sizeof(PieceHead)


class Seal:
    """What seals or opens the pieces of one snapshot.

    key: 32 bytes, of this snapshot alone.  head: the snapshot's own, which belongs to every piece.
    """

    def __init__(self, key: bytes, head: bytes) -> None:
        self._key = key
        self._head = head

    def seal(self, number: int, parts: Iterable[bytes | memoryview], *, last: bool) -> memoryview:
        """A piece with its head.  parts: its content.  The same number never has two contents."""
        content = list(parts)
        size = sum(len(part) for part in content) + TAG_BYTES
        head = bytes(PieceHead(number, last, size))
        sealed = memoryview(bytearray(HEAD_BYTES + size))
        sealed[:HEAD_BYTES] = head
        nonce = NONCE.pack(number, last, 0)
        encryptor = Cipher(algorithms.AES(self._key), modes.GCM(nonce)).encryptor()
        encryptor.authenticate_additional_data(self._head + head)
        done = HEAD_BYTES
        for part in content:
            done += encryptor.update_into(part, sealed[done:])
        encryptor.finalize()
        sealed[done:] = encryptor.tag
        return sealed

    def open(self, number: int, piece: bytes) -> tuple[memoryview, bool]:
        """The content of the piece with this number, and whether it is the last.

        Raises AttestationError for everything that `seal` has not made so.
        """
        if len(piece) < HEAD_BYTES + TAG_BYTES:
            raise AttestationError("a piece of a snapshot is cut off")
        head = PieceHead.from_buffer_copy(piece)
        if head.size != len(piece) - HEAD_BYTES or head.last > 1:
            raise AttestationError("a piece of a snapshot has another size than it says")
        if head.number != number:
            raise AttestationError(f"piece {head.number} of a snapshot where number {number} is expected")
        nonce = NONCE.pack(number, head.last, 0)
        sealed = memoryview(piece)[HEAD_BYTES:]
        try:
            content = AESGCM(self._key).decrypt(nonce, sealed, self._head + piece[:HEAD_BYTES])
        except InvalidTag:
            raise AttestationError("a piece of a snapshot is not what was sealed") from None
        return memoryview(content), bool(head.last)
