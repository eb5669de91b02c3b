"""The guest's side of a shared directory: a client of 9P2000.L, and a queue that carries its messages.

`Client` packs its messages by itself, so that the layouts of both sides are compared.
"""

import errno
import gc
import os
import struct
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import NamedTuple

import pytest

from penglai.abi.riscv import PAGE_SIZE
from penglai.virt.devices.share import ShareFunction
from penglai.virt.devices.virtio import STATUS_NEEDS_RESET
from tests.support.virtqueue import NEXT, WRITE, Driver

NO_FID = 0xFFFF_FFFF
RDONLY, WRONLY, RDWR = 0, 1, 2
CREAT, EXCL, TRUNC, APPEND, DIRECTORY = 0o100, 0o200, 0o1000, 0o2000, 0o200000
MODE, UID, GID, SIZE, ATIME, MTIME, CTIME, ATIME_TO, MTIME_TO = (1 << n for n in range(9))
REMOVEDIR = 0x200


class Qid(NamedTuple):
    type: int
    version: int
    path: int


class Stat(NamedTuple):
    valid: int
    qid: Qid
    mode: int
    uid: int
    gid: int
    nlink: int
    rdev: int
    size: int
    blksize: int
    blocks: int
    atime_ns: int
    mtime_ns: int
    ctime_ns: int


class Entry(NamedTuple):
    qid: Qid
    following: int
    kind: int
    name: bytes


def text(value: bytes) -> bytes:
    return struct.pack("<H", len(value)) + value


def frame(number: int, body: bytes, tag: int = 1) -> bytes:
    return struct.pack("<IBH", 7 + len(body), number, tag) + body


class Client:
    """The guest's side.  What the server refuses raises OSError with the errno that it gave."""

    def __init__(self, exchange: Callable[[bytes], bytes]) -> None:
        self.exchange = exchange
        self.tag = 0
        self.fresh = 1

    @classmethod
    def mounted(cls, exchange: Callable[[bytes], bytes], msize: int = 131072) -> "Client":
        """A client whose fid 0 is the shared directory."""
        client = cls(exchange)
        client.version(msize)
        client.attach(0)
        return client

    def call(self, number: int, body: bytes) -> bytes:
        self.tag = (self.tag + 1) & 0xFFFF
        answer = self.exchange(frame(number, body, self.tag))
        size, kind, tag = struct.unpack_from("<IBH", answer)
        assert (size, tag) == (len(answer), self.tag)
        if kind == 7:
            (code,) = struct.unpack("<I", answer[7:])
            raise OSError(code, os.strerror(code))
        assert kind == number + 1
        return answer[7:]

    def ask(self, number: int, body: bytes, layout: str) -> tuple[int, ...]:
        return struct.unpack("<" + layout, self.call(number, body))

    # ---- one method for each message, in the order of their numbers ----------------------------

    def statfs(self, fid: int) -> tuple[int, ...]:
        return self.ask(8, struct.pack("<I", fid), "IIQQQQQQI")

    def lopen(self, fid: int, flags: int) -> tuple[Qid, int]:
        *qid, unit = self.ask(12, struct.pack("<II", fid, flags), "BIQI")
        return Qid(*qid), unit

    def lcreate(self, fid: int, name: bytes, flags: int = RDWR, mode: int = 0o644) -> tuple[Qid, int]:
        body = struct.pack("<I", fid) + text(name) + struct.pack("<III", flags, mode, 0)
        *qid, unit = self.ask(14, body, "BIQI")
        return Qid(*qid), unit

    def symlink(self, fid: int, name: bytes, target: bytes) -> Qid:
        body = struct.pack("<I", fid) + text(name) + text(target) + struct.pack("<I", 0)
        return Qid(*self.ask(16, body, "BIQ"))

    def mknod(self, fid: int, name: bytes, mode: int, major: int = 0, minor: int = 0) -> Qid:
        body = struct.pack("<I", fid) + text(name) + struct.pack("<IIII", mode, major, minor, 0)
        return Qid(*self.ask(18, body, "BIQ"))

    def rename(self, fid: int, into: int, name: bytes) -> None:
        assert self.call(20, struct.pack("<II", fid, into) + text(name)) == b""

    def readlink(self, fid: int) -> bytes:
        body = self.call(22, struct.pack("<I", fid))
        assert body[:2] == struct.pack("<H", len(body) - 2)
        return body[2:]

    def getattr(self, fid: int) -> Stat:
        valid, kind, version, path, *rest = self.ask(
            24, struct.pack("<IQ", fid, 0x7FF), "QBIQIIIQQQQQqQqQqQQQQQ"
        )
        plain, times, reserved = rest[:8], rest[8:14], rest[14:]
        assert reserved == [0, 0, 0, 0]
        in_ns = [times[n] * 10**9 + times[n + 1] for n in (0, 2, 4)]
        return Stat(valid, Qid(kind, version, path), *plain, *in_ns)

    def setattr(
        self, fid: int, valid: int, mode: int = 0, uid: int = 0, gid: int = 0, size: int = 0,
        atime: tuple[int, int] = (0, 0), mtime: tuple[int, int] = (0, 0),
    ) -> None:  # fmt: skip
        body = struct.pack("<IIIIIQqQqQ", fid, valid, mode, uid, gid, size, *atime, *mtime)
        assert self.call(26, body) == b""

    def readdir(self, fid: int, offset: int = 0, count: int = 1 << 30) -> list[Entry]:
        body = self.call(40, struct.pack("<IQI", fid, offset, count))
        (size,) = struct.unpack_from("<I", body)
        assert size == len(body) - 4 <= count
        found, place = [], 4
        while place < len(body):
            *qid, following, kind, length = struct.unpack_from("<BIQQBH", body, place)
            place += 24 + length
            found.append(Entry(Qid(*qid), following, kind, body[place - length : place]))
        assert place == len(body)
        return found

    def fsync(self, fid: int, data_only: int = 0) -> None:
        assert self.call(50, struct.pack("<II", fid, data_only)) == b""

    def link(self, directory: int, fid: int, name: bytes) -> None:
        assert self.call(70, struct.pack("<II", directory, fid) + text(name)) == b""

    def mkdir(self, fid: int, name: bytes, mode: int = 0o755) -> Qid:
        body = struct.pack("<I", fid) + text(name) + struct.pack("<II", mode, 0)
        return Qid(*self.ask(72, body, "BIQ"))

    def renameat(self, directory: int, name: bytes, into: int, new: bytes) -> None:
        body = struct.pack("<I", directory) + text(name) + struct.pack("<I", into) + text(new)
        assert self.call(74, body) == b""

    def unlinkat(self, fid: int, name: bytes, flags: int = 0) -> None:
        assert self.call(76, struct.pack("<I", fid) + text(name) + struct.pack("<I", flags)) == b""

    def version(self, msize: int, version: bytes = b"9P2000.L") -> tuple[int, bytes]:
        body = self.call(100, struct.pack("<I", msize) + text(version))
        assert body[4:6] == struct.pack("<H", len(body) - 6)
        return int.from_bytes(body[:4], "little"), body[6:]

    def attach(self, fid: int, auth: int = NO_FID, name: bytes = b"") -> Qid:
        body = struct.pack("<II", fid, auth) + text(b"root") + text(name) + struct.pack("<I", 0)
        return Qid(*self.ask(104, body, "BIQ"))

    def walk(self, fid: int, target: int, *names: bytes) -> list[Qid]:
        body = struct.pack("<IIH", fid, target, len(names)) + b"".join(map(text, names))
        answer = self.call(110, body)
        (count,) = struct.unpack_from("<H", answer)
        qids = [Qid(*each) for each in struct.iter_unpack("<BIQ", answer[2:])]
        assert count == len(qids)
        return qids

    def read(self, fid: int, offset: int, count: int) -> bytes:
        body = self.call(116, struct.pack("<IQI", fid, offset, count))
        assert body[:4] == struct.pack("<I", len(body) - 4)
        return body[4:]

    def write(self, fid: int, offset: int, data: bytes) -> int:
        return self.ask(118, struct.pack("<IQI", fid, offset, len(data)) + data, "I")[0]

    def clunk(self, fid: int) -> None:
        assert self.call(120, struct.pack("<I", fid)) == b""

    def remove(self, fid: int) -> None:
        assert self.call(122, struct.pack("<I", fid)) == b""

    # ---- what takes more than one --------------------------------------------------------------

    def at(self, path: str | bytes = "", base: int = 0) -> int:
        """A new fid on a path; as Linux does it, ENOENT if one of the names could not be reached."""
        names = [name for name in os.fsencode(path).split(b"/") if name]
        fid, self.fresh = self.fresh, self.fresh + 1
        if len(self.walk(base, fid, *names)) < len(names):
            raise OSError(errno.ENOENT, f"no {path!r}")
        return fid

    def opened(self, path: str | bytes, flags: int = RDONLY) -> int:
        fid = self.at(path)
        self.lopen(fid, flags)
        return fid

    def list(self, fid: int, count: int = 1 << 30) -> list[Entry]:
        """All that an open directory has."""
        found: list[Entry] = []
        while more := self.readdir(fid, found[-1].following if found else 0, count):
            found += more
        return found


class Carrier:
    """Brings a client's messages to a function as a driver does: the header apart from the data."""

    MESSAGE, ANSWER = 64, 11
    ROOM = 64 * PAGE_SIZE

    def __init__(self, function: ShareFunction) -> None:
        self.driver = Driver(function)
        self.source, self.target = self.driver.page(64), self.driver.page(65)

    def __call__(self, message: bytes, room: int = ROOM) -> bytes:
        driver, target = self.driver, self.target + PAGE_SIZE - self.ANSWER
        driver.memory.write(self.source, message)
        head = min(self.MESSAGE, len(message))
        driver.describe(0, 0, self.source, head, NEXT, 1)
        driver.describe(0, 1, self.source + head, len(message) - head, NEXT, 2)
        driver.describe(0, 2, target, min(self.ANSWER, room), NEXT | WRITE, 3)
        driver.describe(0, 3, target + self.ANSWER, max(room - self.ANSWER, 0), WRITE)
        driver.post(0, 0)
        done = driver.used(0)
        if done is None:
            return b""
        assert done[0] == 0
        return driver.memory.read(target, done[1])

    @property
    def broken(self) -> bool:
        return bool(self.driver.device.load(0x70, 4) & STATUS_NEEDS_RESET)


@contextmanager
def refused(*codes: int) -> Iterator[None]:
    """What is inside is refused, with one of these errnos."""
    with pytest.raises(OSError) as caught:  # noqa: PT011 - its errno is looked at
        yield
    assert caught.value.errno in codes


def outcome(do: Callable[[], object]) -> int:
    """0 if it could be done, or else its errno."""
    try:
        do()
    except OSError as error:
        return error.errno or -1
    return 0


def held(directory: Path) -> list[str]:
    """Files at or below a directory of which this process has descriptors."""
    gc.collect()
    found = []
    for fd in Path("/proc/self/fd").iterdir():
        with suppress(FileNotFoundError):  # that is the listing itself
            found.append(str(fd.readlink()))
    return [path for path in found if path == str(directory) or path.startswith(f"{directory}/")]
