"""SM2 signatures (GB/T 32918.2): curve sm2p256v1, user id "1234567812345678", SM3.

Private keys are 32 bytes, public keys 64 (x‖y), signatures 64 (r‖s); numbers are big endian.  The
arithmetic is a library's, native where it installs and pure Python elsewhere; what a stranger sends is
checked here, so that both see only points of the curve and numbers in range.
"""

import secrets
from typing import Protocol

from penglai.abi.errors import AttestationError
from penglai.abi.report import PRIVATE_KEY_BYTES, PUBLIC_KEY_BYTES, SIGNATURE_BYTES


class Arithmetic(Protocol):
    """What a library has to offer: numbers in range, points on the curve."""

    def public_key(self, private: int) -> tuple[int, int]:
        """The point that belongs to a private number."""

    def sign(self, private: int, message: bytes) -> tuple[int, int]:
        """The signature (r, s)."""

    def verify(self, point: tuple[int, int], message: bytes, signature: tuple[int, int]) -> bool:
        """Whether the signature is right."""


library: Arithmetic
try:
    from penglai.attestation import sm2_native as library
except ImportError:
    from penglai.attestation import sm2_pure as library

P = 0xFFFFFFFE_FFFFFFFF_FFFFFFFF_FFFFFFFF_FFFFFFFF_00000000_FFFFFFFF_FFFFFFFF
A = P - 3
B = 0x28E9FA9E_9D9F5E34_4D5A9E4B_CF6509A7_F39789F5_15AB8F92_DDBCBD41_4D940E93
ORDER = 0xFFFFFFFE_FFFFFFFF_FFFFFFFF_FFFFFFFF_7203DF6B_21C6052B_53BBF409_39D54123
"""Of the base point: signatures and private numbers are smaller."""


def generate() -> bytes:
    """A new private key."""
    return (secrets.randbelow(ORDER - 2) + 1).to_bytes(PRIVATE_KEY_BYTES, "big")


def public_key(private: bytes) -> bytes:
    """The public key of a private one.  Raises AttestationError if that is none."""
    return _join(library.public_key(_private_number(private)))


def sign(private: bytes, message: bytes) -> bytes:
    """The signature of message; another one each time.  Raises AttestationError for a key that is none."""
    return _join(library.sign(_private_number(private), message))


def verify(public: bytes, message: bytes, signature: bytes) -> bool:
    """Whether signature is that of message under the public key.

    False, too, for whatever is no key (a wrong length, a point off the curve) or no signature.
    """
    if len(public) != PUBLIC_KEY_BYTES or len(signature) != SIGNATURE_BYTES:
        return False
    point, (r, s) = _split(public), _split(signature)
    if not (0 < r < ORDER and 0 < s < ORDER and _on_curve(*point)):
        return False
    return library.verify(point, message, (r, s))


def _private_number(private: bytes) -> int:
    number = int.from_bytes(private, "big")
    if len(private) != PRIVATE_KEY_BYTES or not 0 < number < ORDER - 1:
        raise AttestationError("this is no private key of SM2: 32 bytes, a number from 1 to the order - 2")
    return number


def _on_curve(x: int, y: int) -> bool:
    return x < P and y < P and (y * y - (x * x + A) * x - B) % P == 0


def _join(pair: tuple[int, int]) -> bytes:
    return b"".join(number.to_bytes(32, "big") for number in pair)


def _split(pair: bytes) -> tuple[int, int]:
    return int.from_bytes(pair[:32], "big"), int.from_bytes(pair[32:], "big")
