"""Enclave to monitor: U-mode ecall, a6 = EXTENSION, a7 = function, a0.. = arguments; result in a0."""

import ctypes
from enum import IntEnum, IntFlag

EXTENSION = 0x100101
"""Value of a6 in every Penglai call of an enclave."""

IOCTL = 29
"""a7 of the one ecall with another a6 that Penglai-TVM answers, with 0: its C library asks so for a
terminal."""

OURS = 0x69_616C_676E_6570
"""In an argument that Penglai-TVM ignores: the enclave knows this monitor, and means more by the call than
there. "penglai" in ASCII: nothing that a program of Penglai-TVM's leaves in a register by chance."""


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
    ACQUIRE_MEASURED = 4
    """Not of Penglai-TVM: as ACQUIRE_SERVER, if a1 points at the server's measurement, 32 bytes."""
    HANDLER_WHERE = 5
    """Not of Penglai-TVM: in a handler, a0 to a4 = pc, a6, a7 where the enclave was; cause and tval."""
    HANDLER_GO = 6
    """Not of Penglai-TVM: the enclave goes on with the registers at a0: pc, x1 to x31.  Ends a handler."""
    SET_EVENTS = 7
    """Not of Penglai-TVM: a0 = address of the handler of events, a1 = which (Event), 0 for none."""
    GENERATION = 8
    """Not of Penglai-TVM: how often the enclave has been restored from a snapshot."""
    SET_POLICY = 9
    """Not of Penglai-TVM: a0 = which snapshots may be made of it, as abi.snapshot.Policy."""


class Event(IntFlag):
    """a1 of SET_EVENTS: what goes to the handler."""

    FAULTS = 1
    TURNS = 2
    """The enclave's turn on its hart is over: when it gets the next one, the handler has it."""


PRIVATE = frozenset(
    (
        EnclaveCall.SET_HANDLER,
        EnclaveCall.HANDLER_RETURN,
        EnclaveCall.CLOCK,
        EnclaveCall.ACQUIRE_MEASURED,
        EnclaveCall.HANDLER_WHERE,
        EnclaveCall.HANDLER_GO,
        EnclaveCall.SET_EVENTS,
        EnclaveCall.GENERATION,
        EnclaveCall.SET_POLICY,
    )
)
"""Calls that are ours alone."""


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
    ASK = 64
    """Not of Penglai-TVM: for whoever runs the enclave: a1 = abi.question.Question, a2 = its argument."""


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


TVM_SECTOR_SIZE = 4096
"""Bytes of a sector of READ_SECTOR and WRITE_SECTOR: one is at the start of the shared memory that the host
has named for them."""

SECTOR_SIZE = 512
"""The same with OURS in a2: then it is at the start of the kernel buffer.  Both count from the same
beginning."""

IN_BUFFER = 1
"""Second argument, as the host gets it, of an ocall for a sector at the start of the kernel buffer."""

RESULT_ERROR = 0xFFFF_FFFF_FFFF_FFFF
"""-1: the call was refused."""

RESULT_BUSY = 0xFFFF_FFFF_FFFF_FFFE
"""-2: the server is being called."""
