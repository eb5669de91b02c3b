"""A sealed snapshot of an enclave, and why one is not made or not accepted (docs/abi.md, section 6).

It is a SnapshotHead, then pieces: each a PieceHead and what that says, sealed.  Little endian, no padding.
What is sealed is under AES-256-GCM: key and nonce as `penglai.attestation.sealed` has them, the two heads as
additional data.  The first piece holds a SnapshotRecord and, behind it, its spans, regions and servers; each
other one the number of pages (u32), the number of each among all pages of the spans (u32, ascending), and
what is on them.  Pages that are in no piece are zero.
"""

import ctypes
import struct
from enum import IntEnum, IntFlag

from penglai.abi.limits import Limit
from penglai.abi.report import HASH_BYTES, PUBLIC_KEY_BYTES
from penglai.abi.riscv import PAGE_SIZE

MAGIC = b"penglai\x1a"
VERSION = 1

ID_BYTES = 16
NAME_BYTES = 64
"""Names are here as the monitor has them, in UTF-8: a byte of theirs that is no text takes four."""
TAG_BYTES = 16

PIECE_PAGES = 256
"""Pages in one piece, at most.  Their numbers and the heads fit in one page more."""
LOOKED_AT = 2048
"""Pages that one call looks at, at most, for some that are not zero."""
MAX_PIECE = 2 << 20
"""Bytes of one piece, at most, without its head: the first one's, with its list of spans and regions."""
BUFFER_BYTES = (PIECE_PAGES + 1) * PAGE_SIZE
"""Enough for each piece with its head, but for a first one that is longer than usual."""


class Option(IntFlag):
    """Of a snapshot."""

    CLONE = 1
    """The enclave lives on, and of what is restored each is another one."""


class Policy(IntFlag):
    """What an enclave lets the host do with it (call SET_POLICY)."""

    MOVE = 1
    """Make a snapshot that the enclave itself goes on from."""
    CLONE = 2
    """Make one that others go on from."""


class Why(IntEnum):
    """Why the monitor does not make a snapshot, or does not accept one: the value beside its error."""

    KIND = 1
    """A server or a shadow: only what runs by itself is moved."""
    CALLING = 2
    """It is in a call of a server."""
    RELAY = 3
    """It has relay pages, or pages that are lent."""
    SHARED = 4
    """It has made secure shared memory, or has some attached."""
    POLICY = 5
    """The enclave's policy does not allow it."""
    PROFILE = 6
    """The machine behaves as Penglai-TVM's own, where nothing is moved."""
    SPLIT = 7
    """Its memory is in too many spans and regions."""
    FULL = 8
    """Too many snapshots of this device wait to be restored."""
    ABANDONED = 9
    """No snapshot of it is being made: none was begun, or it has changed since."""
    UNFINISHED = 10
    """Not all pieces have been taken."""
    STORAGE = 11
    """The device cannot keep what it has to know of the snapshot."""
    FORMAT = 20
    """No snapshot, or of another format."""
    DEVICE = 21
    """Made on another device."""
    MONITOR = 22
    """Made by another monitor, or by one that could be debugged where this cannot, or the other way."""
    DAMAGED = 23
    """Not what the monitor has sealed: something was changed, cut or put together."""
    SPENT = 24
    """Restored already, or never finished."""
    OLD = 25
    """The enclave has gone on from there, and there is a later snapshot."""
    SERVER = 26
    """A server that it has a handle of is not here under its name."""
    SHM = 27
    """The host gives it shared memory of another size."""
    SHADOW = 28
    """The shadow with which it shares pages is not here."""


class SnapshotHead(ctypes.LittleEndianStructure):
    """What a snapshot begins with, 184 bytes; the host sees it.

    monitor: hash of the monitor, as in reports.  device: the device's public key.  id: random, of this
    snapshot; calls name it by the number that the first 8 bytes are.  uid: random, of the enclave, in all
    snapshots the same.  generation: how often it has been restored.
    """

    _fields_ = (
        ("magic", ctypes.c_char * len(MAGIC)),
        ("version", ctypes.c_uint32),
        ("options", ctypes.c_uint32),
        ("monitor", ctypes.c_uint8 * HASH_BYTES),
        ("device", ctypes.c_uint8 * PUBLIC_KEY_BYTES),
        ("id", ctypes.c_uint8 * ID_BYTES),
        ("uid", ctypes.c_uint8 * ID_BYTES),
        ("generation", ctypes.c_uint64),
        ("measurement", ctypes.c_uint8 * HASH_BYTES),
    )

    @property
    def number(self) -> int:
        """The number by which calls name the snapshot."""
        return int.from_bytes(bytes(self.id)[:8], "little")


class PieceHead(ctypes.LittleEndianStructure):
    """What is before each piece, 16 bytes.  size: bytes of what follows, 16 of which are the tag."""

    _fields_ = (("number", ctypes.c_uint32), ("last", ctypes.c_uint32), ("size", ctypes.c_uint64))


class SnapshotRecord(ctypes.LittleEndianStructure):
    """What the monitor knows of an enclave.  Sealed.

    The registers are those of its context; reflected: whether it is in a handler, then where it was.  clock:
    the time of day as the enclave has it, uptime: that of the machine, both ns.  limits: by
    abi.limits.Limit.  shared_pages: of a shadow, which has the enclave's measurement; they are in no span.
    Sizes in pages or bytes as their names say.  spans, regions, servers: how many follow.
    """

    _fields_ = (
        ("state", ctypes.c_uint64),
        ("entry", ctypes.c_uint64),
        ("x", ctypes.c_uint64 * 32),
        ("f", ctypes.c_uint64 * 32),
        ("fcsr", ctypes.c_uint64),
        ("pc", ctypes.c_uint64),
        ("handler", ctypes.c_uint64),
        ("event_handler", ctypes.c_uint64),
        ("events", ctypes.c_uint64),
        ("reflected", ctypes.c_uint64),
        ("reflected_pc", ctypes.c_uint64),
        ("reflected_a6", ctypes.c_uint64),
        ("reflected_a7", ctypes.c_uint64),
        ("reflected_cause", ctypes.c_uint64),
        ("reflected_tval", ctypes.c_uint64),
        ("run_ns", ctypes.c_uint64),
        ("stops", ctypes.c_uint64),
        ("preemptions", ctypes.c_uint64),
        ("calls", ctypes.c_uint64),
        ("server_calls", ctypes.c_uint64),
        ("ocalls", ctypes.c_uint64),
        ("clock", ctypes.c_uint64),
        ("uptime", ctypes.c_uint64),
        ("limits", ctypes.c_uint64 * len(Limit)),
        ("policy", ctypes.c_uint64),
        ("heap_pages", ctypes.c_uint64),
        ("shm_bytes", ctypes.c_uint64),
        ("shared_pages", ctypes.c_uint64),
        ("spans", ctypes.c_uint64),
        ("regions", ctypes.c_uint64),
        ("servers", ctypes.c_uint64),
        ("name", ctypes.c_char * NAME_BYTES),
    )


SPAN = "<u8, <u4, <u4"
"""Pages that are mapped side by side: address, how many, permissions (Pte's R, W, X, U).  Ascending."""

REGION = "<u8, <u8"
"""Address and pages of what the enclave has mapped.  Ascending."""

SERVER = struct.Struct(f"<Q{HASH_BYTES}s{NAME_BYTES}s")
"""A server that the enclave knows: its handle, or 0 for one of which there was a report; its measurement,
zero if it is gone; its name."""


class RestoreParam(ctypes.LittleEndianStructure):
    """Argument of RESTORE, 96 bytes.  blob_pa, blob_size: the head and the first piece.

    The rest as in CreateParam.
    """

    _fields_ = (
        ("blob_pa", ctypes.c_uint64),
        ("blob_size", ctypes.c_uint64),
        ("eid_pa", ctypes.c_uint64),
        ("kbuffer", ctypes.c_uint64),
        ("kbuffer_size", ctypes.c_uint64),
        ("shm_paddr", ctypes.c_uint64),
        ("shm_size", ctypes.c_uint64),
        ("ocall_id_pa", ctypes.c_uint64),
        ("ocall_arg0_pa", ctypes.c_uint64),
        ("ocall_arg1_pa", ctypes.c_uint64),
        ("syscall_pa", ctypes.c_uint64),
        ("retval_pa", ctypes.c_uint64),
    )
