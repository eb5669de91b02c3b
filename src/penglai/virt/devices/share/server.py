"""The file server: takes a message, does what it asks for, and answers.  `CALLS` has every message.

One client at a time, one message at a time.  What is refused is answered with Rlerror and an errno.
Sources: diod's protocol.md; Linux's net/9p/client.c and fs/9p for what its client expects.
"""

import os
import stat
from collections.abc import Callable
from dataclasses import dataclass
from errno import EBADF, EBADMSG, EINVAL, EIO, EMSGSIZE, ENOENT, EOPNOTSUPP, EPROTO, EROFS
from pathlib import Path

from penglai.virt.devices.share import wire
from penglai.virt.devices.share.entries import Entry
from penglai.virt.devices.share.tree import DOTL_ACCESS, DOTL_TRUNC, NO_FID, Tree
from penglai.virt.devices.share.wire import Attributes, Qid

VERSION = b"9P2000.L"
UNKNOWN_VERSION = b"unknown"

MIN_MSIZE = 4096
"""Bytes that a client must be able to take: Linux does not mount with less either."""

MAX_MSIZE = 512 << 10
"""Bytes of the longest message."""

FILE_SYSTEM = 0x0102_1997
"""Linux's V9FS_MAGIC: what statfs calls the type."""

GETATTR_BASIC = 0x7FF
"""All that stat(2) tells."""

LOCK_SUCCESS = 0
LOCK_UNLOCKED = 2

PAGE = 4096

_QID_TYPES = {stat.S_IFDIR: wire.QID_DIRECTORY, stat.S_IFLNK: wire.QID_SYMLINK}

DEVICE_SHIFT = 48
"""Inodes of other file systems, mounted in the directory, get the number of theirs from this bit on."""


class Server:
    """Serves a directory.  read_only: refuse whatever changes something.

    Raises OSError if the directory cannot be opened.
    """

    def __init__(self, directory: Path, read_only: bool = False) -> None:
        self._read_only = read_only
        self._msize = 0
        self._tree = Tree(directory)
        self._devices: dict[int, int] = {}

    def reset(self) -> None:
        """Forget the client."""
        self._msize = 0
        self._tree.clear()

    def close(self) -> None:
        """Give back all descriptors; more than once does nothing.  There is nothing more to serve."""
        self.reset()
        self._tree.close()

    def answer(self, message: bytes, room: int = MAX_MSIZE) -> bytes:
        """The answer to a message.  room: bytes that there are for it, wire.ERROR_SIZE or more.

        message: wire.HEADER.size bytes or more.
        """
        size, number, tag = wire.HEADER.unpack_from(message)
        try:
            if size != len(message):
                raise OSError(EBADMSG, f"a message of {len(message)} bytes says that it has {size}")
            body = self._serve(number, message)
            if wire.HEADER.size + len(body) > min(room, self._msize or MAX_MSIZE):
                raise OSError(EMSGSIZE, "the answer is too long")
        except OSError as error:
            return wire.message(wire.RLERROR, tag, wire.pack("d", error.errno or EIO))
        return wire.message(number + 1, tag, body)

    def _serve(self, number: int, message: bytes) -> bytes:
        call = _BY_NUMBER.get(number)
        if call is None:
            raise OSError(EOPNOTSUPP, f"there is no message {number}")
        if not self._msize and call.handler is not Server._version:
            raise OSError(EPROTO, "a client begins with its version")
        if len(message) > (self._msize or MAX_MSIZE):
            raise OSError(EMSGSIZE, f"a message of {len(message)} bytes")
        if call.changes and self._read_only:
            raise OSError(EROFS, f"{call.name} on a share that is read-only")
        fields = wire.unpack(call.layout, memoryview(message)[wire.HEADER.size :])
        return call.handler(self, *fields)

    # ---- the connection ------------------------------------------------------------------------

    def _version(self, msize: int, version: bytes) -> bytes:
        self.reset()
        if msize < MIN_MSIZE:
            raise OSError(EMSGSIZE, f"messages of {msize} bytes are too short")
        msize = min(msize, MAX_MSIZE)
        if version != VERSION:
            return wire.pack("ds", msize, UNKNOWN_VERSION)
        self._msize = msize
        return wire.pack("ds", msize, VERSION)

    def _attach(self, fid: int, auth: int, _user: bytes, name: bytes, _uid: int) -> bytes:
        if auth != NO_FID:
            raise OSError(EBADF, "there is no authentication")
        if name not in {b"", b"/"}:
            raise OSError(ENOENT, "there is one directory, without a name")
        return wire.pack("Q", self._qid(self._tree.attach(fid)))

    def _flush(self, _tag: int) -> bytes:
        return b""  # each message is answered before the next is looked at

    def _refuse(self, *_: object) -> bytes:
        raise OSError(EOPNOTSUPP, "there is no such thing here")

    # ---- handles -------------------------------------------------------------------------------

    def _walk(self, fid: int, target: int, names: list[bytes]) -> bytes:
        found = self._tree.walk(fid, target, names)
        return wire.pack("h" + "Q" * len(found), len(found), *map(self._qid, found))

    def _clunk(self, fid: int) -> bytes:
        self._tree.clunk(fid)
        return b""

    # ---- files ---------------------------------------------------------------------------------

    def _open(self, fid: int, flags: int) -> bytes:
        if self._read_only and flags & (DOTL_ACCESS | DOTL_TRUNC):
            raise OSError(EROFS, "writing to a share that is read-only")
        return self._opened(self._tree.open(fid, flags))

    def _create(self, fid: int, name: bytes, flags: int, mode: int, _gid: int) -> bytes:
        return self._opened(self._tree.create(fid, name, flags, mode))

    def _opened(self, status: os.stat_result) -> bytes:
        return wire.pack("Qd", self._qid(status), self._io_unit())

    def _read(self, fid: int, offset: int, count: int) -> bytes:
        return wire.pack("D", self._tree.read(fid, offset, min(count, self._room())))

    def _write(self, fid: int, offset: int, data: memoryview) -> bytes:
        return wire.pack("d", self._tree.write(fid, offset, data))

    def _fsync(self, fid: int, data_only: int) -> bytes:
        self._tree.sync(fid, bool(data_only))
        return b""

    def _lock(self, fid: int, *_: object) -> bytes:
        """One guest is the only client: its kernel knows all the locks that there are."""
        self._tree.check(fid)
        return wire.pack("b", LOCK_SUCCESS)

    def _getlock(self, fid: int, _kind: int, start: int, length: int, process: int, client: bytes) -> bytes:
        self._tree.check(fid)
        return wire.pack("bqqds", LOCK_UNLOCKED, start, length, process, client)

    # ---- directories ---------------------------------------------------------------------------

    def _readdir(self, fid: int, position: int, count: int) -> bytes:
        room, records, size = min(count, self._room()), [], 0
        device = self._device(self._tree.status(fid))
        for entry in self._tree.entries(fid, position):
            record = _record(entry, device)
            size += len(record)
            if size > room:
                break
            records.append(record)
        if size and not records:
            raise OSError(EINVAL, f"{room} bytes are too few for an entry")
        return wire.pack("D", b"".join(records))

    def _mkdir(self, fid: int, name: bytes, mode: int, _gid: int) -> bytes:
        return wire.pack("Q", self._qid(self._tree.make_directory(fid, name, mode)))

    def _mknod(self, fid: int, name: bytes, mode: int, *_device: int) -> bytes:
        return wire.pack("Q", self._qid(self._tree.make_node(fid, name, mode)))

    def _symlink(self, fid: int, name: bytes, target: bytes, _gid: int) -> bytes:
        return wire.pack("Q", self._qid(self._tree.make_symlink(fid, name, target)))

    def _link(self, directory: int, fid: int, name: bytes) -> bytes:
        self._tree.link(directory, fid, name)
        return b""

    def _unlinkat(self, fid: int, name: bytes, flags: int) -> bytes:
        self._tree.unlink(fid, name, flags)
        return b""

    def _remove(self, fid: int) -> bytes:
        if self._read_only:
            self._tree.clunk(fid)  # this message gives the handle back, whatever else comes of it
            raise OSError(EROFS, "removing from a share that is read-only")
        self._tree.remove(fid)
        return b""

    def _renameat(self, directory: int, name: bytes, into: int, new: bytes) -> bytes:
        self._tree.rename(directory, name, into, new)
        return b""

    def _rename(self, fid: int, into: int, new: bytes) -> bytes:
        self._tree.move(fid, into, new)
        return b""

    # ---- attributes ----------------------------------------------------------------------------

    def _getattr(self, fid: int, _wanted: int) -> bytes:
        status = self._tree.status(fid)
        times = (
            part
            for nanoseconds in (status.st_atime_ns, status.st_mtime_ns, status.st_ctime_ns)
            for part in divmod(nanoseconds, 10**9)
        )
        fields = (
            GETATTR_BASIC,
            self._qid(status),
            status.st_mode,
            status.st_uid,
            status.st_gid,
            status.st_nlink,
            status.st_rdev,
            status.st_size,
            self._io_unit(),  # what programs in the guest take for the best size of a read
            status.st_blocks,
            *(part & (1 << 64) - 1 for part in times),
        )
        return wire.pack("qQddd" + "q" * 11, *fields) + bytes(4 * 8)  # time of birth, generation, version

    def _setattr(self, fid: int, wanted: Attributes) -> bytes:
        self._tree.change(fid, wanted)
        return b""

    def _readlink(self, fid: int) -> bytes:
        return wire.pack("s", self._tree.target(fid))

    def _statfs(self, fid: int) -> bytes:
        space = self._tree.space(fid)
        return wire.pack(
            "ddqqqqqqd",
            FILE_SYSTEM,
            space.f_frsize,
            space.f_blocks,
            space.f_bfree,
            space.f_bavail,
            space.f_files,
            space.f_ffree,
            space.f_fsid & (1 << 64) - 1,
            space.f_namemax,
        )

    # ---- sizes and names of files --------------------------------------------------------------

    def _room(self) -> int:
        """Bytes of data that an answer can carry."""
        return self._msize - wire.HEADER.size - 4

    def _io_unit(self) -> int:
        """Bytes that are best read or written at once: whole pages, if a message holds one."""
        return max((self._msize - wire.IO_HEADER_SIZE) // PAGE, 1) * PAGE

    def _device(self, status: os.stat_result) -> int:
        """The number of a file system, in its place in a qid's path."""
        return (self._devices.setdefault(status.st_dev, len(self._devices)) & 0xFFFF) << DEVICE_SHIFT

    def _qid(self, status: os.stat_result) -> Qid:
        kind = _QID_TYPES.get(stat.S_IFMT(status.st_mode), 0)
        version = (status.st_mtime_ns ^ status.st_size << 8) & 0xFFFF_FFFF
        return Qid(kind, version, status.st_ino ^ self._device(status))


def _record(entry: Entry, device: int) -> bytes:
    """An entry as the client gets it: without a version, for which each file would have to be looked at."""
    qid = Qid(_QID_TYPES.get(entry.kind << 12, 0), 0, entry.inode ^ device)
    return wire.pack_entry(qid, entry.following, entry.kind, entry.name)


@dataclass(frozen=True)
class Call:
    """A message that there is.  number: of the request; the answer has the next one.

    layout: of the request's body.  changes: is refused on a share that is read-only.
    """

    number: int
    name: str
    layout: str
    handler: Callable[..., bytes]
    changes: bool = False


CALLS = (
    Call(8, "statfs", "d", Server._statfs),
    Call(12, "lopen", "dd", Server._open),
    Call(14, "lcreate", "dsddd", Server._create, changes=True),
    Call(16, "symlink", "dssd", Server._symlink, changes=True),
    Call(18, "mknod", "dsdddd", Server._mknod, changes=True),
    Call(20, "rename", "dds", Server._rename, changes=True),
    Call(22, "readlink", "d", Server._readlink),
    Call(24, "getattr", "dq", Server._getattr),
    Call(26, "setattr", "dA", Server._setattr, changes=True),
    Call(30, "xattrwalk", "dds", Server._refuse),
    Call(32, "xattrcreate", "dsqd", Server._refuse),
    Call(40, "readdir", "dqd", Server._readdir),
    Call(50, "fsync", "dd", Server._fsync),
    Call(52, "lock", "dbdqqds", Server._lock),
    Call(54, "getlock", "dbqqds", Server._getlock),
    Call(70, "link", "dds", Server._link, changes=True),
    Call(72, "mkdir", "dsdd", Server._mkdir, changes=True),
    Call(74, "renameat", "dsds", Server._renameat, changes=True),
    Call(76, "unlinkat", "dsd", Server._unlinkat, changes=True),
    Call(100, "version", "ds", Server._version),
    Call(102, "auth", "dssd", Server._refuse),
    Call(104, "attach", "ddssd", Server._attach),
    Call(108, "flush", "h", Server._flush),
    Call(110, "walk", "ddW", Server._walk),
    Call(116, "read", "dqd", Server._read),
    Call(118, "write", "dqD", Server._write, changes=True),
    Call(120, "clunk", "d", Server._clunk),
    Call(122, "remove", "d", Server._remove),
)
_BY_NUMBER = {call.number: call for call in CALLS}
