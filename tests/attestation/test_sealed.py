"""Pieces of snapshots: what was sealed is opened, and nothing else."""

import itertools

import pytest
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from penglai.abi.errors import AttestationError
from penglai.abi.snapshot import TAG_BYTES
from penglai.attestation.sealed import HEAD_BYTES, Seal

KEY, HEAD = bytes(range(32)), b"the head of a snapshot"
PARTS = [b"first ", b"", memoryview(b"second" * 100)]
CONTENT = b"first " + b"second" * 100


def sealed(number: int = 3, *, last: bool = True, key: bytes = KEY, head: bytes = HEAD) -> bytes:
    return bytes(Seal(key, head).seal(number, PARTS, last=last))


def test_what_is_sealed_is_opened():
    for last in (True, False):
        content, was_last = Seal(KEY, HEAD).open(3, sealed(last=last))
        assert (bytes(content), was_last) == (CONTENT, last)


def test_it_is_aes_gcm_as_the_page_says():
    piece = sealed()
    head, body = piece[:HEAD_BYTES], piece[HEAD_BYTES:]
    assert head == (3).to_bytes(4, "little") + (1).to_bytes(4, "little") + len(body).to_bytes(8, "little")
    nonce = (3).to_bytes(4, "little") + (1).to_bytes(4, "little") + bytes(4)
    assert AESGCM(KEY).decrypt(nonce, body, HEAD + head) == CONTENT


def test_nothing_of_it_can_be_changed():
    piece = sealed()
    for at, bit in itertools.product(range(len(piece)), (0, 7)):
        changed = bytearray(piece)
        changed[at] ^= 1 << bit
        with pytest.raises(AttestationError):
            Seal(KEY, HEAD).open(3, bytes(changed))
    for size in range(len(piece)):
        with pytest.raises(AttestationError):
            Seal(KEY, HEAD).open(3, piece[:size])
    with pytest.raises(AttestationError):
        Seal(KEY, HEAD).open(3, piece + b"\0")


def test_it_belongs_to_its_place_its_snapshot_and_its_key():
    for seal, number in ((Seal(KEY, HEAD), 4), (Seal(KEY, HEAD + b"!"), 3), (Seal(bytes(32), HEAD), 3)):
        with pytest.raises(AttestationError):
            seal.open(number, sealed())


def test_an_empty_piece():
    piece = bytes(Seal(KEY, HEAD).seal(0, [], last=False))
    assert len(piece) == HEAD_BYTES + TAG_BYTES
    assert Seal(KEY, HEAD).open(0, piece) == (b"", False)


def test_a_longer_piece_after_a_shorter_one():
    """They use the same memory."""
    seal, opener = Seal(KEY, HEAD), Seal(KEY, HEAD)
    for number, size in enumerate((10, 5000, 10, 100)):
        piece = bytes(seal.seal(number, [bytes([number]) * size], last=False))
        content, _ = opener.open(number, piece)
        assert bytes(content) == bytes([number]) * size
