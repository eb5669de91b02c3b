"""The original system's scheme, `tvm-legacy`, for reports of existing firmware (docs/abi.md, section 4).

Its digest is not SM3: the 32-bit words are kept in variables of 64 bits, which are cut to 32 bits only in
the left operand of a rotation and at the end.  Its measurement does not cover permissions.
Plain integers: about 6 ms for a page of 4096 bytes, so 0.2 s for a small enclave, 1.5 s for a MiB.
"""

import numpy as np
from numpy.typing import NDArray

from penglai.attestation.first import feed
from penglai.attestation.measure import Addresses, ReadPages

BLOCK = 64
LOW = 0xFFFF_FFFF
WIDE = 0xFFFF_FFFF_FFFF_FFFF
INITIAL = (
    *(0x7380166F, 0x4914B2B9, 0x172442D7, 0xDA8A0600),
    *(0xA96F30BC, 0x163138AA, 0xE38DEE4D, 0xB0FB0E4E),
)
FIRST_ROUNDS = 16
EARLY, LATE = 0x79CC4519, 0x7A879D8A


def rotate(word: int, count: int) -> int:
    """The original's rotation: only the half that moves up is cut to 32 bits first.

    count: 0 to 63; past 32 the other half moves by a negative count, which a 64-bit processor takes mod 64.
    """
    return ((word & LOW) << count | word >> (32 - count) % 64) & WIDE


CONSTANTS = tuple(rotate(EARLY if j < FIRST_ROUNDS else LATE, j) for j in range(64))


class LegacyHash:
    """The digest, fed piece by piece."""

    def __init__(self) -> None:
        self._state: tuple[int, ...] = INITIAL
        self._rest = b""
        self._length = 0

    def update(self, data: bytes | memoryview) -> None:
        """Append data."""
        self._length += len(data)
        data = self._rest + bytes(data)
        whole = len(data) // BLOCK * BLOCK
        for offset in range(0, whole, BLOCK):
            self._state = _compress(self._state, data[offset : offset + BLOCK])
        self._rest = data[whole:]

    def finalize(self) -> bytes:
        """The digest of everything, 32 bytes.  Nothing can be appended afterwards."""
        bits = self._length * 8
        self.update(b"\x80" + bytes((BLOCK - 9 - self._length) % BLOCK) + bits.to_bytes(8, "big"))
        return b"".join((word & LOW).to_bytes(4, "big") for word in self._state)


def digest(data: bytes) -> bytes:
    """The original's hash of data, 32 bytes."""
    state = LegacyHash()
    state.update(data)
    return state.finalize()


def measure(entry: int, addresses: Addresses, permissions: NDArray[np.uint8], read: ReadPages) -> bytes:
    """The original's measurement, 32 bytes; arguments as for `penglai.attestation.measure.measure`.

    The byte of permissions is always 0, so that runs of pages break at gaps only.
    """
    state = LegacyHash()
    feed(state.update, entry, addresses, np.zeros_like(permissions), read)
    return state.finalize()


def _expand(block: bytes) -> list[int]:
    words = [int.from_bytes(block[index : index + 4], "big") for index in range(0, BLOCK, 4)]
    for j in range(16, 68):
        x = words[j - 16] ^ words[j - 9] ^ rotate(words[j - 3], 15)
        x ^= rotate(x, 15) ^ rotate(x, 23)
        words.append((x ^ rotate(words[j - 13], 7) ^ words[j - 6]) & WIDE)
    return words


def _compress(state: tuple[int, ...], block: bytes) -> tuple[int, ...]:
    words = _expand(block)
    a, b, c, d, e, f, g, h = state
    for j in range(64):
        a12 = rotate(a, 12)
        ss1 = rotate((a12 + e + CONSTANTS[j]) & WIDE, 7)
        if j < FIRST_ROUNDS:
            ff, gg = a ^ b ^ c, e ^ f ^ g
        else:
            ff, gg = a & b | a & c | b & c, e & f | ~e & WIDE & g
        tt1 = (ff + d + (ss1 ^ a12) + (words[j] ^ words[j + 4])) & WIDE
        tt2 = (gg + h + ss1 + words[j]) & WIDE
        a, b, c, d = tt1, a, rotate(b, 9), c
        e, f, g, h = tt2 ^ rotate(tt2, 9) ^ rotate(tt2, 17), e, rotate(f, 19), g
    return tuple(old ^ new for old, new in zip(state, (a, b, c, d, e, f, g, h), strict=True))
