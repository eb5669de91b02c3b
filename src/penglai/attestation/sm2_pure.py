"""SM2 in pure Python, by gmalg: works wherever Python does, at 9 ms to sign and 17 ms to verify."""

import functools

from gmalg import SM2

from penglai.abi.measured import SM2_USER_ID

KEYS_KEPT = 16
"""A public key takes as long as a signature: the latest ones are kept."""


@functools.lru_cache(maxsize=KEYS_KEPT)
def public_key(private: int) -> tuple[int, int]:
    """The point (x, y) that belongs to a private number."""
    point = SM2().generate_pk(private.to_bytes(32, "big"))
    return int.from_bytes(point[1:33], "big"), int.from_bytes(point[33:], "big")


def sign(private: int, message: bytes) -> tuple[int, int]:
    """The signature (r, s) of message, under the standard's own user id."""
    r, s = SM2(private.to_bytes(32, "big"), SM2_USER_ID, _encode(public_key(private))).sign(message)
    return int.from_bytes(r, "big"), int.from_bytes(s, "big")


def verify(point: tuple[int, int], message: bytes, signature: tuple[int, int]) -> bool:
    """Whether signature is the one of message.  The point lies on the curve; the numbers are in range."""
    r, s = (number.to_bytes(32, "big") for number in signature)
    return bool(SM2(None, SM2_USER_ID, _encode(point)).verify(message, r, s))


def _encode(point: tuple[int, int]) -> bytes:
    return b"\x04" + b"".join(number.to_bytes(32, "big") for number in point)
