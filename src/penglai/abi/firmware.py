"""What the firmware of every RISC-V machine offers to an operating system: the SBI specification's numbers.

Penglai's own calls go by the same instruction (abi/sbi.py).  Source: RISC-V SBI specification 2.0, chapters
"Binary Encoding" and those of the extensions.
"""

from enum import IntEnum

SPEC_VERSION = 2 << 24
"""Version 2.0: major in bits 30..24, minor below."""

IMPLEMENTATION_ID = 0x504C
"""Ours; the specification's own list ends long before."""


class Extension(IntEnum):
    """Extension ids (a7)."""

    LEGACY_SET_TIMER = 0
    LEGACY_PUTCHAR = 1
    LEGACY_GETCHAR = 2
    LEGACY_CLEAR_IPI = 3
    LEGACY_SEND_IPI = 4
    LEGACY_FENCE_I = 5
    LEGACY_SFENCE_VMA = 6
    LEGACY_SFENCE_VMA_ASID = 7
    LEGACY_SHUTDOWN = 8
    BASE = 0x10
    TIME = 0x54494D45
    IPI = 0x735049
    RFENCE = 0x52464E43
    HSM = 0x48534D
    SRST = 0x53525354
    DBCN = 0x4442434E


LEGACY_LAST = 0xF
"""Extensions up to here are of version 0.1: their only result is a0."""


class Base(IntEnum):
    """Functions of BASE (a6)."""

    GET_SPEC_VERSION = 0
    GET_IMPL_ID = 1
    GET_IMPL_VERSION = 2
    PROBE_EXTENSION = 3
    GET_MVENDORID = 4
    GET_MARCHID = 5
    GET_MIMPID = 6


class Hsm(IntEnum):
    """Functions of HSM."""

    START = 0
    STOP = 1
    GET_STATUS = 2
    SUSPEND = 3


class Console(IntEnum):
    """Functions of DBCN."""

    WRITE = 0
    READ = 1
    WRITE_BYTE = 2


class ResetType(IntEnum):
    """a0 of SRST."""

    SHUTDOWN = 0
    COLD_REBOOT = 1
    WARM_REBOOT = 2


class Status(IntEnum):
    """Errors of the specification (a0)."""

    SUCCESS = 0
    FAILED = -1
    NOT_SUPPORTED = -2
    INVALID_PARAM = -3
    INVALID_ADDRESS = -5
    ALREADY_AVAILABLE = -6
