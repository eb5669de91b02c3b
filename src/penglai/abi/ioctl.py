"""Host program to driver: the struct behind the ioctls on /dev/penglai_enclave_dev."""

import ctypes

from penglai.abi.layout import NAME_BYTES
from penglai.abi.report import ReportLayout

RETURN_USER_RELAY_PAGE = 1
"""Result of run, and rerun_reason: the enclave waits for relay pages."""

ENOMEM, EFAULT, EINVAL = 12, 14, 22
"""errno values that the C host library reports."""


class UserParam(ctypes.LittleEndianStructure):
    """user_param, 112 bytes: what create, run, stop, resume and destroy pass in and out."""

    _fields_ = (
        ("eid", ctypes.c_uint64),
        ("name", ctypes.c_char * NAME_BYTES),
        ("type", ctypes.c_uint32),
        ("elf_ptr", ctypes.c_uint64),
        ("elf_size", ctypes.c_int64),
        ("stack_size", ctypes.c_int64),
        ("shmid", ctypes.c_int32),
        ("isShadow", ctypes.c_int32),
        ("shm_offset", ctypes.c_uint64),
        ("shm_size", ctypes.c_uint64),
        ("schrodinger_id", ctypes.c_int32),
        ("rerun_reason", ctypes.c_int32),
        ("schrodinger_offset", ctypes.c_uint64),
        ("schrodinger_size", ctypes.c_uint64),
        ("retval", ctypes.c_uint64),
    )


class AttestParam(ctypes.LittleEndianStructure):
    """attest_param, 344 bytes: what attest passes in and out."""

    _fields_ = (
        ("eid", ctypes.c_int32),
        ("isShadow", ctypes.c_int32),
        ("nonce", ctypes.c_uint64),
        ("report", ReportLayout),
    )
