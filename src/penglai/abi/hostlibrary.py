"""The structs of the C host library, as programs that are compiled against its headers hold them.

penglai.plenclave has the library's functions for Python, over objects of its own.
"""

import ctypes

from penglai.abi.ioctl import AttestParam, UserParam
from penglai.abi.layout import NAME_BYTES


class ElfArgs(ctypes.LittleEndianStructure):
    """struct elf_args, 24 bytes: an ELF file in memory."""

    _fields_ = (("fd", ctypes.c_int32), ("size", ctypes.c_uint64), ("ptr", ctypes.c_uint64))


class EnclaveArgs(ctypes.LittleEndianStructure):
    """struct enclave_args, 56 bytes: how to create an enclave."""

    _fields_ = (
        ("name", ctypes.c_char * NAME_BYTES),
        ("type", ctypes.c_int32),
        ("stack_size", ctypes.c_uint64),
        ("shmid", ctypes.c_int32),
        ("shm_offset", ctypes.c_uint64),
        ("shm_size", ctypes.c_uint64),
    )


class PLenclave(ctypes.LittleEndianStructure):
    """struct PLenclave, 472 bytes: an enclave as a host program holds it."""

    _fields_ = (
        ("elffile", ctypes.c_uint64),
        ("eid", ctypes.c_int32),
        ("fd", ctypes.c_int32),
        ("user_param", UserParam),
        ("attest_param", AttestParam),
    )
