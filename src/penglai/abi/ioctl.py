"""Host program to driver: requests and structs of the ioctls on /dev/penglai_enclave_dev."""

import ctypes
from enum import IntEnum

from penglai.abi.layout import NAME_BYTES
from penglai.abi.report import ReportLayout

DEVICE = "/dev/penglai_enclave_dev"

SECTOR_FILE = "/mnt/persistencty_file"
"""Where programs of Penglai-TVM expect sectors to be kept on Linux; spelt so."""

MAGIC = 0xA4
"""Bits 15..8 of every request."""


class Request(IntEnum):
    """Requests, as Linux makes them up: direction, size of the struct, MAGIC, number.

    The directions are those of Penglai-TVM, though every struct that holds a result goes both ways."""

    CREATE = 0x8070A400
    RUN = 0x8070A401
    ATTEST = 0x8158A402
    STOP = 0x8070A403
    RESUME = 0x8070A404
    DESTROY = 0x4070A405
    DEBUG_PRINT = 0x4070A406
    SHMGET = 0x8018A410
    SHMAT = 0x8020A411
    SHMDT = 0x8018A412
    SHMCTL = 0x8004A413
    SCHRODINGER_GET = 0x8018A414
    SCHRODINGER_AT = 0x8020A415
    SCHRODINGER_DT = 0x8018A416
    SCHRODINGER_CTL = 0x8004A417
    PERSISTENCY_INIT = 0x8004A418


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


class GetParam(ctypes.LittleEndianStructure):
    """Argument of SHMGET and SCHRODINGER_GET, 24 bytes; key and flg are unused."""

    _fields_ = (("key", ctypes.c_int32), ("size", ctypes.c_uint64), ("flg", ctypes.c_int32))


class AtParam(ctypes.LittleEndianStructure):
    """Argument of SHMAT and SCHRODINGER_AT, 32 bytes.  size: out, what to map."""

    _fields_ = (
        ("id", ctypes.c_int32),
        ("addr", ctypes.c_uint64),
        ("size", ctypes.c_uint64),
        ("flg", ctypes.c_int32),
    )


class DtParam(ctypes.LittleEndianStructure):
    """Argument of SHMDT and SCHRODINGER_DT, 24 bytes.  size: out, what to unmap."""

    _fields_ = (("id", ctypes.c_int32), ("addr", ctypes.c_uint64), ("size", ctypes.c_uint64))
