"""Reading a directory from any place in it.

Python's own ways begin at the start, and would have to keep what they found: for each handle of the guest a
list as long as the guest likes.  The system's call gives positions that stay good while entries come and go.
Source: getdents64(2).
"""

import ctypes
import os
import struct
from collections.abc import Iterator
from typing import NamedTuple

BATCH = 32 << 10
"""Bytes that one call of the system fills."""

_DIRENT = struct.Struct("=QQHB")
"""Inode, position of the next entry, bytes of this one, type; then the name and a zero."""

_getdents64 = ctypes.CDLL(None, use_errno=True).getdents64
_getdents64.argtypes = (ctypes.c_int, ctypes.c_void_p, ctypes.c_size_t)
_getdents64.restype = ctypes.c_ssize_t


class Entry(NamedTuple):
    """A name in a directory.  following: the position behind it.  kind: DT_DIR and so on."""

    inode: int
    following: int
    kind: int
    name: bytes


def read(fd: int, position: int) -> Iterator[Entry]:
    """The entries of an open directory from a position on, "." and ".." too; 0 is the start.

    position: less than 2**63.  Raises OSError.
    """
    os.lseek(fd, position, os.SEEK_SET)
    buffer = ctypes.create_string_buffer(BATCH)
    while size := _getdents64(fd, buffer, BATCH):
        if size < 0:
            code = ctypes.get_errno()
            raise OSError(code, os.strerror(code))
        yield from _parse(ctypes.string_at(buffer, size))


def _parse(raw: bytes) -> Iterator[Entry]:
    place = 0
    while place < len(raw):
        inode, following, length, kind = _DIRENT.unpack_from(raw, place)
        start = place + _DIRENT.size
        yield Entry(inode, following, kind, raw[start : raw.index(b"\0", start)])
        place += length
