"""Enclave to monitor: U-mode ecall, a6 = EXTENSION, a7 = function, a0.. = arguments; result in a0."""

import ctypes
from enum import IntEnum

EXTENSION = 0x100101
"""Value of a6 in every Penglai call of an enclave."""


class EnclaveCall(IntEnum):
    """Function numbers (a7)."""

    EXIT = 99
    OCALL = 98
    ACQUIRE_SERVER = 97
    CALL_SERVER = 96
    RETURN = 95
    GET_REPORT = 94
    ASYNC_CALL = 93
    SPLIT_REGION = 92
    CALLER_ID = 91
    OWN_ID = 90
    YIELD = 89
    GET_KEY = 88
    SHM_ATTACH = 84
    SHM_STAT = 83
    SET_HANDLER = 1
    """Not of Penglai-TVM: a0 = address of the handler of other ecalls, 0 for none."""
    HANDLER_RETURN = 2
    """Not of Penglai-TVM: the handler has served the ecall; a0 = its result."""
    CLOCK = 3
    """Not of Penglai-TVM: the time of day in ns since 1970, as the machine's own clock has it."""


class Ocall(IntEnum):
    """Ocall ids (a0 of OCALL): requests that the host serves, or the monitor on its behalf."""

    MMAP = 1
    UNMAP = 2
    WRITE = 3
    SBRK = 4
    READ_SECTOR = 5
    WRITE_SECTOR = 6
    RETURN_RELAY = 7
    GETRANDOM = 8
    SHM_GET = 9
    SHM_DETACH = 10
    SHM_DESTROY = 11
    SHM_EXTEND = 12


class KeyType(IntEnum):
    """a0 of GET_KEY."""

    ENCLAVE = 0
    STORAGE = 1


class CallArg(ctypes.LittleEndianStructure):
    """call_arg, 48 bytes: what goes into a call of a server and comes out of it."""

    _fields_ = (
        ("req_arg", ctypes.c_uint64),
        ("resp_val", ctypes.c_uint64),
        ("req_vaddr", ctypes.c_uint64),
        ("req_size", ctypes.c_uint64),
        ("resp_vaddr", ctypes.c_uint64),
        ("resp_size", ctypes.c_uint64),
    )


SECTOR_SIZE = 512
"""Bytes of a sector, which READ_SECTOR and WRITE_SECTOR carry at the start of the kernel buffer."""

RESULT_ERROR = 0xFFFF_FFFF_FFFF_FFFF
"""-1: the call was refused."""

RESULT_BUSY = 0xFFFF_FFFF_FFFF_FFFE
"""-2: the server is being called."""
