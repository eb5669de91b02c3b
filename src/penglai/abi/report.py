"""The attestation report, 328 bytes: from the monitor to the host, and to whoever verifies it.

Hashes are 32 bytes; signatures are SM2's r‖s, public keys x‖y, each number 32 bytes, big endian.
"""

import ctypes

HASH_BYTES = 32
SIGNATURE_BYTES = 64
PUBLIC_KEY_BYTES = 64
PRIVATE_KEY_BYTES = 32


class MonitorPart(ctypes.LittleEndianStructure):
    """What the device says of its monitor, 160 bytes: the device key signs `hash` and `public_key`."""

    _fields_ = (
        ("hash", ctypes.c_uint8 * HASH_BYTES),
        ("signature", ctypes.c_uint8 * SIGNATURE_BYTES),
        ("public_key", ctypes.c_uint8 * PUBLIC_KEY_BYTES),
    )


class EnclavePart(ctypes.LittleEndianStructure):
    """What the monitor says of an enclave, 104 bytes: its key signs `hash` and `nonce`."""

    _fields_ = (
        ("hash", ctypes.c_uint8 * HASH_BYTES),
        ("signature", ctypes.c_uint8 * SIGNATURE_BYTES),
        ("nonce", ctypes.c_uint64),
    )


class ReportLayout(ctypes.LittleEndianStructure):
    """The whole report."""

    _fields_ = (
        ("monitor", MonitorPart),
        ("enclave", EnclavePart),
        ("device_key", ctypes.c_uint8 * PUBLIC_KEY_BYTES),
    )


REPORT_BYTES = ctypes.sizeof(ReportLayout)
