"""Pieces of a snapshot, sealed and opened: AES-256-GCM over content and heads (docs/abi.md, section 6)."""

import ctypes
import struct
from collections.abc import Iterable

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes

from penglai.abi.errors import AttestationError
from penglai.abi.snapshot import TAG_BYTES, PieceHead

NONCE = struct.Struct("<III")
"""Number of the piece, whether it is the last, zero.  The key is of one snapshot alone."""

HEAD_BYTES = ctypes.sizeof(PieceHead)
SLACK = 16
"""Bytes more than it writes, which the library wants for its output."""


class Seal:
    """What seals or opens the pieces of one snapshot.

    key: 32 bytes, of this snapshot alone.  head: the snapshot's own, which belongs to every piece.
    """

    def __init__(self, key: bytes, head: bytes) -> None:
        self._key = key
        self._head = head
        self._buffer = bytearray()

    def seal(self, number: int, parts: Iterable[bytes | memoryview], *, last: bool) -> memoryview:
        """A piece with its head, until the next call.  parts: its content.

        The same number never has two contents.
        """
        content = list(parts)
        size = sum(len(part) for part in content) + TAG_BYTES
        head = bytes(PieceHead(number, last, size))
        sealed = self._room(HEAD_BYTES + size)
        sealed[:HEAD_BYTES] = head
        encryptor = self._cipher(number, last).encryptor()
        encryptor.authenticate_additional_data(self._head + head)
        done = HEAD_BYTES
        for part in content:
            done += encryptor.update_into(part, sealed[done:])
        encryptor.finalize()
        sealed[done:] = encryptor.tag
        return sealed

    def open(self, number: int, piece: bytes) -> tuple[memoryview, bool]:
        """The content of the piece with this number, until the next call, and whether it is the last.

        Raises AttestationError for everything that `seal` has not made so.
        """
        if len(piece) < HEAD_BYTES + TAG_BYTES:
            raise AttestationError("a piece of a snapshot is cut off")
        head = PieceHead.from_buffer_copy(piece)
        if head.size != len(piece) - HEAD_BYTES or head.last > 1:
            raise AttestationError("a piece of a snapshot has another size than it says")
        if head.number != number:
            raise AttestationError(f"piece {head.number} of a snapshot where number {number} is expected")
        sealed, tag = memoryview(piece)[HEAD_BYTES:-TAG_BYTES], piece[-TAG_BYTES:]
        content = self._room(len(sealed) + SLACK)
        decryptor = self._cipher(number, head.last).decryptor()
        decryptor.authenticate_additional_data(self._head + piece[:HEAD_BYTES])
        decryptor.update_into(sealed, content)
        try:
            decryptor.finalize_with_tag(tag)
        except InvalidTag:
            raise AttestationError("a piece of a snapshot is not what was sealed") from None
        return content[: len(sealed)].toreadonly(), bool(head.last)

    def _cipher(self, number: int, last: int) -> Cipher[modes.GCM]:
        return Cipher(algorithms.AES(self._key), modes.GCM(NONCE.pack(number, last, 0)))

    def _room(self, size: int) -> memoryview:
        """Memory that is used again: new memory for each piece costs as much as sealing it."""
        if len(self._buffer) < size:
            self._buffer = bytearray(size)
        return memoryview(self._buffer)[:size]
