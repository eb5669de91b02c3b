"""Driver to monitor: S-mode ecall, a7 = EXTENSION, a6 = function; structs in physical memory.

The monitor answers with a negative ErrorCode in a0, or 0 in a0 and the value in a1.
"""

import ctypes
from enum import IntEnum
from typing import NamedTuple

from penglai.abi.layout import NAME_BYTES

EXTENSION = 0x100100
"""Value of a7 in every SBI call to the monitor."""


class HostCall(IntEnum):
    """Function numbers (a6)."""

    SM_INIT = 100
    CREATE = 99
    ATTEST = 98
    RUN = 97
    STOP = 96
    RESUME = 95
    DESTROY = 94
    MEMORY_EXTEND = 92
    MEMORY_RECLAIM = 91
    """value: physical address of a chunk that is the host's again, 0 if there is none."""
    CREATE_SERVER = 90
    DESTROY_SERVER = 89
    DEBUG_PRINT = 88
    RUN_SHADOW = 87
    CREATE_SHADOW = 86
    SCHRODINGER_INIT = 85
    ATTEST_SHADOW = 80
    DESTROY_SHADOW = 79
    INFO = 1
    """Not of Penglai-TVM: eid, pa of EnclaveInfo, pa of a second one or 0.

    Fills in the first now; fills in the second once more when the enclave ends."""
    EVENT = 2
    """Not of Penglai-TVM, and not the monitor's: what came of an enclave that runs elsewhere.

    value: eid << EVENT_SHIFT | RunValue, or 0 if nothing has come."""
    LIMIT = 3
    """Not of Penglai-TVM: eid, or 0 for all that are made from now on; kind, as abi.limits.Limit; value."""
    SNAPSHOT = 4
    """Not of Penglai-TVM: eid, options (abi.snapshot.Option), pa and size of a buffer.

    Begins a snapshot; the head and the first piece go into the buffer.  value: bytes, also of the next."""
    SNAPSHOT_PIECE = 5
    """Not of Penglai-TVM: eid, which snapshot (the first 8 bytes of its id), pa and size of a buffer.

    The next piece goes there."""
    SNAPSHOT_MOVE = 6
    """Not of Penglai-TVM: eid, which snapshot.  It is whole, and the host has it: the enclave goes there."""
    RESTORE = 7
    """Not of Penglai-TVM: pa of RestoreParam.  value: eid."""
    RESTORE_PIECE = 8
    """Not of Penglai-TVM: eid, pa and size of the next piece.  value: 1 if it was the last, else 0."""


EVENT_SHIFT = 8
"""Bits of an event below the eid."""


class ResumeReason(IntEnum):
    """a1 of RESUME."""

    TIMER = 0
    STOP = 1
    OCALL = 2


class RunValue(IntEnum):
    """Value after RUN and RESUME: why the hart is back in the host."""

    ENDED = 0
    TIMER = 1
    OCALL = 2
    YIELD = 3
    FAULTED = 6
    """Not of Penglai-TVM: the enclave did what it may not and is destroyed.
    ocall arg0 holds the cause, arg1 the address."""
    ELSEWHERE = 7
    """Not of Penglai-TVM: the enclave runs on another hart; EVENT tells what it comes back for."""


class EnclaveType(IntEnum):
    """Kinds of enclaves, in create_param and user_param."""

    NORMAL = 0
    SERVER = 1
    SHADOW = 2


class SbiResult(NamedTuple):
    """What an SBI call returns: error (a0, 0 or a negative ErrorCode) and value (a1).

    With NO_MEMORY, value is the number of pages that are missing.  With an error of a snapshot or a restore
    it may be an abi.snapshot.Why."""

    error: int
    value: int


class Mailbox(ctypes.LittleEndianStructure):
    """40 bytes of CreateParam and ShadowRunParam: where the monitor writes what has happened."""

    _fields_ = (
        ("ocall_id_pa", ctypes.c_uint64),
        ("ocall_arg0_pa", ctypes.c_uint64),
        ("ocall_arg1_pa", ctypes.c_uint64),
        ("syscall_pa", ctypes.c_uint64),
        ("retval_pa", ctypes.c_uint64),
    )


class CreateParam(ctypes.LittleEndianStructure):
    """Argument of CREATE, 136 bytes.  Fields that end in _pa name u64 words of the host's memory that
    the monitor writes (eid_pa: a u32)."""

    _fields_ = (
        ("eid_pa", ctypes.c_uint64),
        ("name", ctypes.c_char * NAME_BYTES),
        ("type", ctypes.c_uint32),
        ("paddr", ctypes.c_uint64),
        ("size", ctypes.c_uint64),
        ("entry", ctypes.c_uint64),
        ("free_mem", ctypes.c_uint64),
        ("kbuffer", ctypes.c_uint64),
        ("kbuffer_size", ctypes.c_uint64),
        ("shm_paddr", ctypes.c_uint64),
        ("shm_size", ctypes.c_uint64),
        *Mailbox._fields_,
    )


class RunParam(ctypes.LittleEndianStructure):
    """Argument of RUN, 16 bytes: a relay region for the enclave, or zeros."""

    _fields_ = (("relay_pa", ctypes.c_uint64), ("relay_size", ctypes.c_uint64))


class ShadowRunParam(ctypes.LittleEndianStructure):
    """Argument of RUN_SHADOW, 136 bytes.  size: bytes of stack, 0 for the default; satp and free_pages are
    accepted and not needed (the monitor copies)."""

    _fields_ = (
        ("satp", ctypes.c_uint64),
        ("free_pages", ctypes.c_uint64),
        ("size", ctypes.c_uint64),
        ("eid_pa", ctypes.c_uint64),
        ("kbuffer", ctypes.c_uint64),
        ("kbuffer_size", ctypes.c_uint64),
        ("shm_paddr", ctypes.c_uint64),
        ("shm_size", ctypes.c_uint64),
        ("relay_pa", ctypes.c_uint64),
        ("relay_size", ctypes.c_uint64),
        *Mailbox._fields_,
        ("name", ctypes.c_char * NAME_BYTES),
    )


class EnclaveInfo(ctypes.LittleEndianStructure):
    """Answer of INFO, 104 bytes.  Not of Penglai-TVM.

    pages: without page tables.  run_ns: on harts.  preemptions: by the timer.  calls: ecalls with Penglai's
    number that this enclave made; server_calls and ocalls: those of them for which a server ran, and which
    the host had to serve.  What a server makes is in the server's own account."""

    _fields_ = (
        ("state", ctypes.c_uint64),
        ("pages", ctypes.c_uint64),
        ("run_ns", ctypes.c_uint64),
        ("stops", ctypes.c_uint64),
        ("preemptions", ctypes.c_uint64),
        ("entry", ctypes.c_uint64),
        ("measurement", ctypes.c_uint8 * 32),
        ("calls", ctypes.c_uint64),
        ("server_calls", ctypes.c_uint64),
        ("ocalls", ctypes.c_uint64),
    )
