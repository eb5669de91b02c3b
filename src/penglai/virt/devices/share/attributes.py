"""Setting what a file is said to be: size, owner, mode, times."""

import os
import stat
import time
from errno import EINVAL, EISDIR, EOPNOTSUPP, EPERM

from penglai.virt.devices.share import nodes
from penglai.virt.devices.share.wire import Attributes

MODE_BITS = 0o1777
"""What of a mode a guest may set.

Not set-user-id: that would lend the rights of the machine's user to whoever runs the file.
"""

NO_OWNER = 0xFFFF_FFFF

SET_MODE = 1
SET_UID = 2
SET_GID = 4
SET_SIZE = 8
SET_ATIME = 0x10
SET_MTIME = 0x20
SET_CTIME = 0x40
SET_ATIME_TO = 0x80
SET_MTIME_TO = 0x100
SET_ALL = 0x1FF
SET_TIMES = SET_ATIME | SET_MTIME | SET_ATIME_TO | SET_MTIME_TO

NS = 10**9


def change(fd: int, writable: bool, wanted: Attributes) -> None:
    """Set attributes of the file of a descriptor: size, owner, mode, times, in this order.

    writable: whether fd is open for writing.  What makes no sense is refused before anything has changed;
    what the system refuses, when it is the turn of it.  Raises OSError.
    """
    status = os.fstat(fd)
    _check(status, wanted)
    if wanted.valid & SET_SIZE:
        _resize(fd, writable, wanted.size)
    _give(fd, status, wanted)
    if wanted.valid & SET_MODE:
        os.chmod(nodes.path(fd), wanted.mode & MODE_BITS)  # noqa: PTH101 - Path has no bytes
    _set_times(fd, status, wanted)


def _check(status: os.stat_result, wanted: Attributes) -> None:
    """Raise OSError if a file cannot have these attributes, whoever asks."""
    valid, kind = wanted.valid, stat.S_IFMT(status.st_mode)
    if valid & ~SET_ALL:
        raise OSError(EINVAL, f"attributes {valid:#x}")
    if kind not in {stat.S_IFREG, stat.S_IFDIR, stat.S_IFLNK}:
        raise OSError(EPERM, "neither file, directory nor symbolic link")
    if kind == stat.S_IFLNK and valid & (SET_MODE | SET_SIZE):
        raise OSError(EOPNOTSUPP, "a symbolic link has no mode and no size of its own")
    if kind == stat.S_IFDIR and valid & SET_SIZE:
        raise OSError(EISDIR, "a directory has no size that can be set")
    if valid & SET_SIZE:
        nodes.check_offset(wanted.size)
    owners = [(SET_UID, wanted.uid), (SET_GID, wanted.gid)]
    if any(valid & bit and owner == NO_OWNER for bit, owner in owners):
        raise OSError(EINVAL, "nobody has this id")
    times = [(SET_ATIME_TO, wanted.atime_nsec), (SET_MTIME_TO, wanted.mtime_nsec)]
    if any(valid & bit and nanoseconds >= NS for bit, nanoseconds in times):
        raise OSError(EINVAL, "more than a second of nanoseconds")


def _resize(fd: int, writable: bool, size: int) -> None:
    if writable:
        os.ftruncate(fd, size)  # an open file stays writable, whatever its mode is by now
    else:
        os.truncate(nodes.path(fd), size)


def _give(fd: int, status: os.stat_result, wanted: Attributes) -> None:
    """Set the owners that are to be others: to set the same again needs rights that nobody asked for."""
    uid = wanted.uid if wanted.valid & SET_UID and wanted.uid != status.st_uid else -1
    gid = wanted.gid if wanted.valid & SET_GID and wanted.gid != status.st_gid else -1
    if uid != -1 or gid != -1:
        os.chown(nodes.path(fd), uid, gid)


def _set_times(fd: int, status: os.stat_result, wanted: Attributes) -> None:
    valid = wanted.valid
    if valid & SET_SIZE and not valid & SET_MTIME_TO:
        valid &= ~SET_MTIME  # that has happened, and to ask for it is the owner's right alone
    if not valid & (SET_ATIME | SET_MTIME):
        return
    if valid & SET_TIMES == SET_ATIME | SET_MTIME:
        os.utime(nodes.path(fd))  # whoever may write it may do this
        return
    now = time.time_ns()

    def choose(bit: int, to: int, before: int, given: int) -> int:
        if not valid & bit:
            return before
        return given if valid & to else now

    atime = choose(SET_ATIME, SET_ATIME_TO, status.st_atime_ns, wanted.atime_sec * NS + wanted.atime_nsec)
    mtime = choose(SET_MTIME, SET_MTIME_TO, status.st_mtime_ns, wanted.mtime_sec * NS + wanted.mtime_nsec)
    os.utime(nodes.path(fd), ns=(atime, mtime))
