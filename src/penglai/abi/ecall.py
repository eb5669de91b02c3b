"""Enclave to monitor: U-mode ecall, a6 = EXTENSION, a7 = function, a0.. = arguments; result in a0."""

from enum import IntEnum

EXTENSION = 0x100101
"""Value of a6 in every Penglai call of an enclave."""


class EnclaveCall(IntEnum):
    """Function numbers (a7)."""

    EXIT = 99
    OCALL = 98
    OWN_ID = 90
    YIELD = 89


class Ocall(IntEnum):
    """Ocall ids (a0 of OCALL): requests that the host serves, or the monitor on its behalf."""

    WRITE = 3
    SBRK = 4


RESULT_ERROR = 0xFFFF_FFFF_FFFF_FFFF
"""-1: the call was refused."""
