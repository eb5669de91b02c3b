"""A shared directory: every message of 9P2000.L, the virtio device that carries them, and their limits.

`Client` packs its messages by itself, so that the layouts of both sides are compared.
"""

import errno
import gc
import os
import resource
import socket
import stat
import struct
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import NamedTuple

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.support.virtqueue import NEXT, WRITE, Driver

from penglai.abi.errors import BadArgumentError
from penglai.abi.riscv import PAGE_SIZE
from penglai.machine.devices.share import ShareFunction, wire
from penglai.machine.devices.share.server import CALLS, MAX_MSIZE, MIN_MSIZE, Server
from penglai.machine.devices.share.tree import MAX_FIDS
from penglai.machine.devices.virtio import STATUS_NEEDS_RESET

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


@pytest.fixture
def share(tmp_path: Path) -> Path:
    directory = tmp_path / "share"
    directory.mkdir()
    return directory


@pytest.fixture
def server(share: Path) -> Iterator[Server]:
    server = Server(share)
    yield server
    server.close()


@pytest.fixture
def client(server: Server) -> Client:
    return Client.mounted(server.answer)


# ---- the connection ----------------------------------------------------------------------------------


def test_a_conversation_byte_by_byte(share: Path, server: Server):
    (share / "f").write_bytes(b"hello")
    inode = (share / "f").stat().st_ino.to_bytes(8, "little").hex()

    def say(sent: str) -> str:
        return server.answer(bytes.fromhex(sent)).hex()

    version = "0800" + b"9P2000.L".hex()
    assert say("15000000 64 ffff 00000200" + version) == "1500000065ffff00000200" + version
    assert say("17000000 68 0100 05000000 ffffffff 0000 0000 00000000")[:16] == "1400000069010080"
    walked = say("14000000 6e 0200 05000000 06000000 0100 0100 66")
    assert walked[:20] == "160000006f0200010000"
    assert walked[-16:] == inode
    assert say("0f000000 0c 0300 06000000 00000000")[:14] == "180000000d0300"
    assert say("17000000 74 0400 06000000 0100000000000000 03000000") == (
        "0e00000075040003000000" + b"ell".hex()
    )
    assert say("0b000000 78 0500 06000000") == "07000000790500"
    assert say("0b000000 78 0600 06000000") == "0b00000007060009000000", "EBADF"


@pytest.mark.parametrize(
    ("asked", "agreed"),
    [(MIN_MSIZE, MIN_MSIZE), (131072, 131072), (MAX_MSIZE + 1, MAX_MSIZE), (NO_FID, MAX_MSIZE)],
)
def test_the_size_of_messages_is_agreed_upon(server: Server, asked: int, agreed: int):
    assert Client(server.answer).version(asked) == (agreed, b"9P2000.L")


def test_messages_that_are_too_short_are_refused(server: Server):
    with refused(errno.EMSGSIZE):
        Client(server.answer).version(MIN_MSIZE - 1)


@pytest.mark.parametrize("version", [b"9P2000", b"9P2000.u", b"", b"9P2000.L2"])
def test_another_version_is_unknown_and_begins_nothing(server: Server, version: bytes):
    client = Client(server.answer)
    assert client.version(8192, version) == (8192, b"unknown")
    with refused(errno.EPROTO):
        client.attach(0)


@pytest.mark.parametrize("call", CALLS, ids=lambda call: call.name)
def test_nothing_comes_before_the_version(server: Server, call):
    if call.name == "version":
        return
    with refused(errno.EPROTO):
        Client(server.answer).call(call.number, bytes(64))


def test_a_new_version_forgets_all_fids(client: Client, share: Path):
    for _ in range(10):
        client.at()
    assert len(held(share)) == 12
    client.version(8192)
    assert held(share) == [str(share)]
    with refused(errno.EBADF):
        client.getattr(0)


def test_there_is_no_authentication(client: Client):
    with refused(errno.EOPNOTSUPP):
        client.call(102, struct.pack("<I", 5) + text(b"root") + text(b"") + struct.pack("<I", 0))
    with refused(errno.EBADF):
        client.attach(5, auth=3)


def test_one_directory_is_there_to_attach_to(client: Client, share: Path):
    assert client.attach(5) == client.attach(6, name=b"/") == client.getattr(0).qid
    assert client.getattr(5).qid.path == share.stat().st_ino
    with refused(errno.ENOENT):
        client.attach(7, name=b"/etc")


@pytest.mark.parametrize("fid", [0, NO_FID])
def test_a_fid_is_made_once(client: Client, fid: int):
    with refused(errno.EEXIST):
        client.attach(fid)
    client.at()
    with refused(errno.EEXIST):
        client.walk(1, fid)


def test_flush_has_nothing_to_wait_for(client: Client):
    assert client.call(108, struct.pack("<H", 77)) == b""


@pytest.mark.parametrize("number", [0, 6, 7, 9, 98, 106, 112, 114, 124, 126, 255])
def test_what_is_no_message_of_this_version_is_refused(client: Client, number: int):
    with refused(errno.EOPNOTSUPP):
        client.call(number, bytes(40))


def test_there_are_no_extended_attributes(client: Client):
    with refused(errno.EOPNOTSUPP):
        client.call(30, struct.pack("<II", 0, 5) + text(b"user.x"))
    with refused(errno.EOPNOTSUPP):
        client.call(32, struct.pack("<I", 0) + text(b"user.x") + struct.pack("<QI", 1, 0))


# ---- walking -----------------------------------------------------------------------------------------


def test_a_walk_tells_each_file_on_its_way(client: Client, share: Path):
    (share / "a" / "b").mkdir(parents=True)
    (share / "a" / "b" / "f").touch()
    (share / "a" / "l").symlink_to("b")
    qids = client.walk(0, 1, b"a", b"b", b"f")
    assert [qid.path for qid in qids] == [
        (share / each).stat().st_ino for each in ("a", "a/b", "a/b/f")
    ]  # fmt: skip
    assert [qid.type for qid in qids] == [0x80, 0x80, 0]
    assert client.walk(0, 2, b"a", b"l")[-1].type == 2
    assert client.getattr(1).qid == qids[-1]


def test_a_walk_that_ends_early_makes_no_fid(client: Client, share: Path):
    (share / "a").mkdir()
    (share / "f").touch()
    assert len(client.walk(0, 1, b"a", b"nothing", b"f")) == 1
    assert len(client.walk(0, 1, b"f", b"x")) == 1, "a file has nothing below it"
    with refused(errno.EBADF):
        client.getattr(1)
    with refused(errno.ENOENT):
        client.walk(0, 1, b"nothing", b"a")
    assert held(share).count(str(share)) == 2, "nothing is left open"
    assert len(held(share)) == 2


def test_a_fid_can_go_itself_and_stays_if_it_cannot(client: Client, share: Path):
    (share / "a" / "b").mkdir(parents=True)
    fid = client.at("a")
    assert len(client.walk(fid, fid, b"b", b"nothing")) == 1
    assert client.getattr(fid).qid.path == (share / "a").stat().st_ino
    client.walk(fid, fid, b"b")
    assert client.getattr(fid).qid.path == (share / "a" / "b").stat().st_ino
    assert client.walk(fid, fid) == []
    assert len(held(share)) == 3


def test_the_way_up_and_the_way_nowhere(client: Client, share: Path):
    (share / "a" / "b" / "c").mkdir(parents=True)
    (share / "f").touch()
    where = client.walk(0, 1, b"a", b".", b"b", b"..", b"b", b"c", b"..", b"..", b"..")
    assert [qid.path for qid in where] == [
        (share / each).stat().st_ino for each in ("a", "a", "a/b", "a", "a/b", "a/b/c", "a/b", "a", "")
    ]  # fmt: skip
    for name in (b".", b".."):
        assert len(client.walk(0, 2, b"f", name)) == 1, "only a directory has these"


def test_a_fid_that_is_open_can_be_copied_but_not_go(client: Client, share: Path):
    (share / "d").mkdir()
    for name in "xyz":
        (share / "d" / name).touch()
    fid = client.opened("d")
    first = client.readdir(fid, 0, 30)
    copy = client.at(base=fid)
    with refused(errno.EBADF):
        client.readdir(copy)  # it is not open
    client.lopen(copy, RDONLY)
    assert len(client.list(copy)) == 5
    assert client.readdir(fid, first[-1].following), "each has its own place"
    with refused(errno.EBUSY):
        client.walk(fid, fid, b"x")
    with refused(errno.EBUSY):
        client.lopen(fid, RDONLY)
    with refused(errno.EBUSY):
        client.lcreate(fid, b"new")


# ---- files -------------------------------------------------------------------------------------------


def test_a_file_is_made_written_and_read(client: Client, share: Path):
    fid = client.at()
    qid, unit = client.lcreate(fid, b"new", RDWR | CREAT | EXCL, 0o640)
    assert qid == Qid(0, qid.version, (share / "new").stat().st_ino)
    assert unit == (131072 - 24) // 4096 * 4096
    assert client.write(fid, 0, b"hello, world") == 12
    assert client.write(fid, 5, b";") == 1
    assert client.read(fid, 0, 100) == b"hello; world"
    assert client.read(fid, 7, 3) == b"wor"
    assert client.read(fid, 12, 10) == b""
    assert client.read(fid, 1 << 40, 10) == b""
    client.fsync(fid)
    client.fsync(fid, 1)
    assert (share / "new").read_bytes() == b"hello; world"
    assert client.getattr(fid).qid.version != qid.version
    client.clunk(fid)
    assert len(held(share)) == 2


def test_a_hole_is_zeros(client: Client, share: Path):
    fid = client.at()
    client.lcreate(fid, b"f")
    client.write(fid, 1 << 40, b"end")
    assert client.getattr(fid).size == (1 << 40) + 3
    assert client.read(fid, (1 << 40) - 5, 100) == bytes(5) + b"end"


def test_a_name_that_is_there_is_opened_unless_it_must_be_new(client: Client, share: Path):
    (share / "f").write_bytes(b"old")
    fid = client.at()
    with refused(errno.EEXIST):
        client.lcreate(fid, b"f", RDWR | CREAT | EXCL)
    client.lcreate(fid, b"f", RDWR | CREAT)
    assert client.read(fid, 0, 9) == b"old"
    client.lcreate(client.at(), b"f", WRONLY | CREAT | TRUNC)
    assert (share / "f").read_bytes() == b""
    (share / "d").mkdir()
    with refused(errno.EISDIR):
        client.lcreate(client.at(), b"d", RDWR | CREAT)


@pytest.mark.parametrize(
    ("flags", "reads", "writes"), [(RDONLY, True, False), (WRONLY, False, True), (RDWR, True, True)]
)
def test_a_file_is_open_for_what_it_was_opened_for(client: Client, share: Path, flags, reads, writes):
    (share / "f").write_bytes(b"old")
    # none of these flags says anything to a server: create, no controlling terminal, append, non-blocking,
    # asynchronous, direct, large, not through links, no time of access, close on exec
    fid = client.opened("f", flags | 0o3466500 & ~EXCL & ~TRUNC & ~DIRECTORY)
    for allowed, use in (
        (reads, lambda: client.read(fid, 0, 1)),
        (writes, lambda: client.write(fid, 0, b"n")),
    ):
        if allowed:
            use()
        else:
            with refused(errno.EBADF):
                use()
    assert (share / "f").read_bytes() == (b"nld" if writes else b"old")


def test_each_write_goes_where_the_client_says(client: Client, share: Path):
    """A client that appends knows the end; it may write older pages of its cache through the same file."""
    (share / "f").write_bytes(b"0123")
    fid = client.opened("f", WRONLY | APPEND)
    client.write(fid, 4, b"45")
    client.write(fid, 0, b"x")
    assert (share / "f").read_bytes() == b"x12345"


def test_what_is_not_open_is_neither_read_nor_written_nor_listed(client: Client, share: Path):
    (share / "f").write_bytes(b"x")
    fid = client.at("f")
    for use in (
        lambda: client.read(fid, 0, 1),
        lambda: client.write(fid, 0, b"x"),
        lambda: client.fsync(fid),
        lambda: client.readdir(0),
    ):
        with refused(errno.EBADF):
            use()


def test_a_directory_is_listed_and_a_file_is_read(client: Client, share: Path):
    (share / "f").touch()
    directory, file = client.opened(""), client.opened("f")
    with refused(errno.EISDIR):
        client.read(directory, 0, 1)
    with refused(errno.EBADF):
        client.write(directory, 0, b"x")
    with refused(errno.ENOTDIR):
        client.readdir(file)
    for flags in (WRONLY, RDWR, RDONLY | TRUNC):
        with refused(errno.EISDIR):
            client.lopen(client.at(), flags)
    with refused(errno.ENOTDIR):
        client.lopen(client.at("f"), RDONLY | DIRECTORY)
    client.lopen(client.at(), RDONLY | DIRECTORY)
    client.fsync(directory)


def test_an_access_that_is_none_is_refused(client: Client):
    with refused(errno.EINVAL):
        client.lopen(client.at(), 3)


def test_a_file_lives_as_long_as_a_fid(client: Client, share: Path):
    (share / "f").write_bytes(b"data")
    fid = client.opened("f", RDWR)
    client.unlinkat(0, b"f")
    assert client.read(fid, 0, 9) == b"data"
    assert client.getattr(fid).nlink == 0
    client.setattr(fid, SIZE, size=2)
    assert client.read(fid, 0, 9) == b"da"
    with refused(errno.ENOENT):
        client.link(0, fid, b"again")


def test_a_big_file_goes_through_unchanged(client: Client, share: Path):
    data = os.urandom(1 << 20) * 10
    fid = client.at()
    _, unit = client.lcreate(fid, b"big")
    for place in range(0, len(data), unit):
        piece = data[place : place + unit]
        assert client.write(fid, place, piece) == len(piece)
    assert (share / "big").read_bytes() == data
    pieces = [client.read(fid, place, unit) for place in range(0, len(data), unit)]
    assert b"".join(pieces) == data


# ---- directories -------------------------------------------------------------------------------------


def test_a_directory_tells_name_kind_and_number_of_each(client: Client, share: Path):
    (share / "d" / "sub").mkdir(parents=True)
    (share / "d" / "file").touch()
    (share / "d" / "link").symlink_to("nowhere")
    os.mkfifo(share / "d" / "pipe")
    found = {entry.name: entry for entry in client.list(client.opened("d"))}
    assert {name: (entry.qid.type, entry.kind) for name, entry in found.items()} == {
        b".": (0x80, 4), b"..": (0x80, 4), b"sub": (0x80, 4),
        b"file": (0, 8), b"link": (2, 10), b"pipe": (0, 1),
    }  # fmt: skip
    for name in (b"sub", b"file", b"link", b"pipe", b"."):
        assert found[name].qid.path == os.lstat(share / "d" / os.fsdecode(name)).st_ino
    assert found[b".."].qid.path == share.stat().st_ino


def test_what_is_above_the_share_has_no_number(client: Client, share: Path):
    found = {entry.name: entry.qid.path for entry in client.list(client.opened(""))}
    assert found == {b".": share.stat().st_ino, b"..": share.stat().st_ino}


def test_a_large_directory_is_told_whole_and_once(client: Client, share: Path):
    many = {b"%d-" % number + b"n" * (number % 200) for number in range(3000)}
    for name in many:
        (share / os.fsdecode(name)).touch()
    for count in (300, 4096, 1 << 30):
        names = [entry.name for entry in client.list(client.opened(""), count)]
        assert len(names) == len(set(names))
        assert set(names) == {b".", b"..", *many}


def test_a_place_in_a_directory_can_be_returned_to(client: Client, share: Path):
    for number in range(500):
        (share / f"{number}").touch()
    fid = client.opened("")
    everything = client.list(fid, 700)
    assert client.list(fid, 4096) == everything
    for index in (0, 1, 250, 499, 501):
        assert client.readdir(fid, everything[index].following) == everything[index + 1 :]


def test_a_directory_is_emptied_while_it_is_read(client: Client, share: Path):
    for number in range(2000):
        (share / f"{number}").touch()
    fid, place = client.opened(""), 0
    while found := client.readdir(fid, place, 2000):
        for entry in found:
            if entry.name not in {b".", b".."}:
                client.unlinkat(0, entry.name)
        place = found[-1].following
    assert list(share.iterdir()) == []


def test_a_name_is_as_long_as_the_system_allows(client: Client, share: Path):
    name = b"n" * 255
    client.mkdir(0, name)
    assert {entry.name for entry in client.list(client.opened(""), 24 + 255)} == {b".", b"..", name}
    with refused(errno.EINVAL):
        list(client.list(client.opened(""), 24 + 254))
    for use in (
        lambda: client.mkdir(0, name + b"n"),
        lambda: client.walk(0, 9, name + b"n"),
        lambda: client.mkdir(0, b"n" * 65535),
    ):
        with refused(errno.ENAMETOOLONG):
            use()


def test_names_are_bytes(client: Client, share: Path):
    name = bytes(each for each in range(1, 256) if each != ord("/"))
    client.mkdir(0, name[:200])
    client.lcreate(client.at(name[:200]), name[200:])
    (directory,) = share.iterdir()
    (file,) = directory.iterdir()
    assert (os.fsencode(directory.name), os.fsencode(file.name)) == (name[:200], name[200:])


def test_directories_and_links_are_made(client: Client, share: Path):
    assert client.mkdir(0, b"d", 0o750) == client.getattr(client.at("d")).qid
    assert stat.S_IMODE((share / "d").stat().st_mode) == 0o750
    assert client.symlink(0, b"l", b"/any/../where").path == os.lstat(share / "l").st_ino
    assert (share / "l").readlink() == Path("/any/../where")
    assert client.readlink(client.at("l")) == b"/any/../where"
    client.symlink(0, b"long", b"x" * 4095)
    assert client.readlink(client.at("long")) == b"x" * 4095
    with refused(errno.EINVAL):
        client.readlink(client.at("d"))
    with refused(errno.EINVAL):
        client.symlink(0, b"z", b"with\0zero")
    with refused(errno.ENOENT):
        client.symlink(0, b"z", b"")
    with refused(errno.EEXIST):
        client.mkdir(0, b"l")
    client.lcreate(client.at(), b"f")
    for use in (client.mkdir, client.lcreate, lambda fid, name: client.symlink(fid, name, b"x")):
        with refused(errno.ENOTDIR):
            use(client.at("f"), b"below")


def test_an_answer_that_does_not_fit_is_refused(server: Server, share: Path):
    client = Client.mounted(server.answer, MIN_MSIZE)
    (share / "long").symlink_to("x" * 4095)
    with refused(errno.EMSGSIZE):
        client.readlink(client.at("long"))


@pytest.mark.parametrize("mode", [0o640, stat.S_IFREG | 0o640])
def test_a_node_is_a_regular_file(client: Client, share: Path, mode: int):
    assert client.mknod(0, b"f", mode).path == (share / "f").stat().st_ino
    assert stat.S_ISREG((share / "f").stat().st_mode)


def test_a_file_has_several_names(client: Client, share: Path):
    (share / "d").mkdir()
    (share / "f").write_bytes(b"x")
    (share / "l").symlink_to("f")
    client.link(client.at("d"), client.at("f"), b"g")
    client.link(0, client.opened("f"), b"h")
    client.link(0, client.at("l"), b"m")
    assert (share / "f").stat().st_nlink == 3
    assert (share / "d" / "g").read_bytes() == b"x"
    assert (share / "m").readlink() == Path("f"), "the link itself has another name, not what it points to"
    with refused(errno.EPERM):
        client.link(0, client.at("d"), b"e")
    with refused(errno.EEXIST):
        client.link(0, client.at("f"), b"h")


def test_names_are_taken_away(client: Client, share: Path):
    (share / "d" / "full").mkdir(parents=True)
    (share / "f").touch()
    for code, name, flags in (
        (errno.ENOTEMPTY, b"d", REMOVEDIR),
        (errno.EISDIR, b"d", 0),
        (errno.ENOTDIR, b"f", REMOVEDIR),
        (errno.ENOENT, b"x", 0),
        (errno.EINVAL, b"f", 1),
    ):
        with refused(code):
            client.unlinkat(0, name, flags)
    client.unlinkat(client.at("d"), b"full", REMOVEDIR)
    client.unlinkat(0, b"d", REMOVEDIR)
    client.unlinkat(0, b"f")
    assert list(share.iterdir()) == []


def test_a_fid_removes_its_file_wherever_that_is_by_now(client: Client, share: Path):
    (share / "a" / "b").mkdir(parents=True)
    (share / "a" / "b" / "f").touch()
    (share / "a" / "l").symlink_to("b")
    file, directory, link = client.at("a/b/f"), client.at("a/b"), client.at("a/l")
    client.renameat(0, b"a", 0, b"moved")
    with refused(errno.ENOTEMPTY):
        client.remove(directory)
    for fid in (file, client.at("moved/b"), link):
        client.remove(fid)
    assert list(share.rglob("*")) == [share / "moved"]
    for fid in (file, directory, link):
        with refused(errno.EBADF):
            client.clunk(fid)  # it is gone, whether the file was or not


def test_what_has_no_name_is_not_removed_and_neither_is_what_has_its_name(client: Client, share: Path):
    (share / "f").touch()
    fid = client.at("f")
    (share / "f").unlink()
    (share / "f (deleted)").touch()
    with refused(errno.ENOENT):
        client.remove(fid)
    with refused(errno.EBUSY):
        client.remove(client.at())
    assert [each.name for each in share.iterdir()] == ["f (deleted)"]


def test_names_are_changed(client: Client, share: Path):
    (share / "a").mkdir()
    (share / "b").mkdir()
    (share / "a" / "f").write_bytes(b"f")
    (share / "b" / "g").write_bytes(b"g")
    client.renameat(client.at("a"), b"f", client.at("b"), b"g")
    assert (share / "b" / "g").read_bytes() == b"f"
    fid = client.opened("b/g")
    client.rename(fid, client.at("a"), b"h")
    client.rename(fid, 0, b"i")
    assert (share / "i").read_bytes() == client.read(fid, 0, 9) == b"f"
    with refused(errno.EINVAL):
        client.renameat(0, b"a", client.at("a"), b"below itself")
    with refused(errno.EBUSY):
        client.rename(client.at(), client.at("a"), b"the share itself")
    with refused(errno.ENOENT):
        client.renameat(0, b"x", 0, b"y")
    client.unlinkat(0, b"i")
    with refused(errno.ENOENT):
        client.rename(fid, 0, b"j")


# ---- attributes --------------------------------------------------------------------------------------


def test_attributes_are_those_of_the_file(client: Client, share: Path):
    (share / "f").write_bytes(b"x" * 5000)
    (share / "l").symlink_to("f")
    os.utime(share / "f", ns=(-1_500_000_000, 1_234_567_890_123_456_789))
    for path in ("", "f", "l"):
        status = os.lstat(share / path)
        assert client.getattr(client.at(path)) == Stat(
            0x7FF,
            client.getattr(client.at(path)).qid,
            status.st_mode,
            status.st_uid,
            status.st_gid,
            status.st_nlink,
            status.st_rdev,
            status.st_size,
            (131072 - 24) // 4096 * 4096,
            status.st_blocks,
            status.st_atime_ns,
            status.st_mtime_ns,
            status.st_ctime_ns,
        )


@pytest.mark.parametrize("opened", [None, RDONLY, RDWR])
def test_a_file_gets_another_size(client: Client, share: Path, opened: int | None):
    (share / "f").write_bytes(b"12345678")
    fid = client.at("f") if opened is None else client.opened("f", opened)
    client.setattr(fid, SIZE | MTIME | CTIME, size=3)
    assert (share / "f").read_bytes() == b"123"
    client.setattr(fid, SIZE, size=5)
    assert (share / "f").read_bytes() == b"123\0\0"
    with refused(errno.EFBIG):
        client.setattr(fid, SIZE, size=1 << 63)
    with refused(errno.EISDIR):
        client.setattr(0, SIZE, size=0)


def test_times_are_set_or_become_now(client: Client, share: Path):
    (share / "f").touch()
    (share / "l").symlink_to("f")
    fid = client.at("f")

    def times(path: str) -> tuple[int, int]:
        status = os.lstat(share / path)
        return status.st_atime_ns, status.st_mtime_ns

    client.setattr(fid, ATIME | ATIME_TO | MTIME | MTIME_TO, atime=(5, 6), mtime=(-7, 8))
    assert times("f") == (5_000_000_006, -6_999_999_992)
    client.setattr(fid, MTIME | MTIME_TO, atime=(1, 1 << 63), mtime=(9, 0))
    assert times("f") == (5_000_000_006, 9_000_000_000), "what is not to be set may be anything"
    before = (share / "l").lstat().st_ctime_ns
    client.setattr(fid, ATIME)
    assert times("f")[0] >= before
    assert times("f")[1] == 9_000_000_000
    client.setattr(fid, ATIME | MTIME | CTIME)
    assert times("f")[1] >= before
    client.setattr(client.at("l"), ATIME | ATIME_TO | MTIME | MTIME_TO, atime=(1, 0), mtime=(2, 0))
    assert times("l") == (10**9, 2 * 10**9)
    assert times("f")[1] >= before, "the link, not what it points to"
    with refused(errno.EINVAL):
        client.setattr(fid, MTIME | MTIME_TO, mtime=(0, 10**9))


def test_modes_are_set_without_the_bits_that_lend_rights(client: Client, share: Path):
    (share / "f").touch()
    client.setattr(client.at("f"), MODE, mode=stat.S_IFREG | 0o7751)
    assert stat.S_IMODE((share / "f").stat().st_mode) == 0o1751
    client.lcreate(client.at(), b"made", RDWR, 0o7777)
    client.mkdir(0, b"d", 0o7777)
    client.mknod(0, b"node", stat.S_IFREG | 0o7777)
    for path in ("made", "d", "node"):
        assert not (share / path).stat().st_mode & (stat.S_ISUID | stat.S_ISGID)


def test_what_a_link_has_not_cannot_be_set(client: Client, share: Path):
    (share / "f").write_bytes(b"x")
    (share / "l").symlink_to("f")
    for valid in (MODE, SIZE, MODE | MTIME):
        with refused(errno.EOPNOTSUPP):
            client.setattr(client.at("l"), valid)
    assert (share / "f").read_bytes() == b"x"


def test_an_owner_stays_or_is_another_if_the_system_allows(client: Client, share: Path):
    (share / "f").touch()
    (share / "l").symlink_to("f")
    mine = (share / "f").stat()
    client.setattr(client.at("f"), UID | GID, uid=mine.st_uid, gid=mine.st_gid)
    with refused(errno.EINVAL):
        client.setattr(client.at("f"), UID, uid=NO_FID)
    if os.geteuid():
        with refused(errno.EPERM):
            client.setattr(client.at("f"), UID, uid=mine.st_uid + 1)
        return
    client.setattr(client.at("f"), GID, uid=NO_FID, gid=4242)
    client.setattr(client.at("l"), UID, uid=4343)
    assert (mine.st_uid, 4242) == ((share / "f").stat().st_uid, (share / "f").stat().st_gid)
    assert os.lstat(share / "l").st_uid == 4343, "the link, not what it points to"


def test_attributes_that_are_none_are_refused_before_anything_changes(client: Client, share: Path):
    (share / "f").write_bytes(b"x")
    for valid in (1 << 9, 1 << 31):
        with refused(errno.EINVAL):
            client.setattr(client.at("f"), SIZE | valid)
    with refused(errno.EINVAL):
        client.setattr(client.at("f"), SIZE | MTIME | MTIME_TO, mtime=(0, 1 << 40))
    assert (share / "f").read_bytes() == b"x"
    client.setattr(client.at("f"), CTIME)


def test_the_file_system_is_told(client: Client, share: Path):
    kind, bsize, blocks, _, _, files, _, _, length = client.statfs(0)
    space = os.statvfs(share)
    assert (kind, bsize, blocks, files, length) == (
        0x0102_1997, space.f_frsize, space.f_blocks, space.f_files, space.f_namemax,
    )  # fmt: skip


def test_locks_are_the_guests_own_affair(client: Client):
    body = struct.pack("<IBIQQI", 0, 1, 1, 5, 10, 77) + text(b"guest")
    assert client.call(52, body) == b"\0"
    body = struct.pack("<IBQQI", 0, 1, 5, 10, 77) + text(b"guest")
    assert client.call(54, body) == struct.pack("<BQQI", 2, 5, 10, 77) + text(b"guest")


def test_every_message_needs_its_fid(client: Client):
    bodies = {
        "lcreate": struct.pack("<I", 9) + text(b"x") + bytes(12),
        "symlink": struct.pack("<I", 9) + text(b"x") + text(b"y") + bytes(4),
        "mknod": struct.pack("<I", 9) + text(b"x") + bytes(16),
        "rename": struct.pack("<II", 9, 0) + text(b"x"),
        "setattr": struct.pack("<I", 9) + bytes(56),
        "readdir": struct.pack("<IQI", 9, 0, 100),
        "read": struct.pack("<IQI", 9, 0, 1),
        "write": struct.pack("<IQI", 9, 0, 0),
        "lock": struct.pack("<IBIQQI", 9, 0, 0, 0, 0, 0) + text(b""),
        "getlock": struct.pack("<IBQQI", 9, 0, 0, 0, 0) + text(b""),
        "link": struct.pack("<II", 0, 9) + text(b"x"),
        "mkdir": struct.pack("<I", 9) + text(b"x") + bytes(8),
        "renameat": struct.pack("<I", 0) + text(b"x") + struct.pack("<I", 9) + text(b"y"),
        "unlinkat": struct.pack("<I", 9) + text(b"x") + bytes(4),
        "walk": struct.pack("<IIH", 9, 10, 0),
        "getattr": struct.pack("<IQ", 9, 0),
        "lopen": struct.pack("<II", 9, 0),
        "fsync": struct.pack("<II", 9, 0),
        **{name: struct.pack("<I", 9) for name in ("statfs", "readlink", "clunk", "remove")},
    }
    without = {"version", "auth", "attach", "flush", "xattrwalk", "xattrcreate"}
    for call in CALLS:
        if call.name not in without:
            with refused(errno.EBADF):
                client.call(call.number, bodies[call.name])


# ---- read-only ---------------------------------------------------------------------------------------


def test_a_share_that_is_read_only_is_read_and_nothing_else(share: Path):
    (share / "d").mkdir()
    (share / "f").write_bytes(b"x")
    (share / "l").symlink_to("f")
    before = {path: (os.lstat(path).st_mtime_ns, os.lstat(path).st_ctime_ns) for path in share.rglob("*")}
    server = Server(share, read_only=True)
    client = Client.mounted(server.answer)
    fid = client.opened("f")
    assert client.read(fid, 0, 9) == b"x"
    assert client.readlink(client.at("l")) == b"f"
    assert len(client.list(client.opened(""))) == 5
    removed = client.at("f")
    for use in (
        lambda: client.lopen(client.at("f"), WRONLY),
        lambda: client.lopen(client.at("f"), RDWR),
        lambda: client.lopen(client.at("f"), RDONLY | TRUNC),
        lambda: client.write(fid, 0, b"y"),
        lambda: client.lcreate(client.at(), b"new"),
        lambda: client.lcreate(client.at(), b"f", RDONLY),
        lambda: client.mkdir(0, b"new"),
        lambda: client.mknod(0, b"new", 0o644),
        lambda: client.symlink(0, b"new", b"f"),
        lambda: client.link(0, fid, b"new"),
        lambda: client.unlinkat(0, b"f"),
        lambda: client.unlinkat(0, b"d", REMOVEDIR),
        lambda: client.remove(removed),
        lambda: client.rename(fid, 0, b"new"),
        lambda: client.renameat(0, b"f", 0, b"new"),
        lambda: client.setattr(fid, MODE, mode=0o600),
        lambda: client.setattr(fid, ATIME),
    ):
        with refused(errno.EROFS):
            use()
    with refused(errno.EBADF):
        client.clunk(removed)
    after = {path: (os.lstat(path).st_mtime_ns, os.lstat(path).st_ctime_ns) for path in share.rglob("*")}
    assert after == before
    server.close()


# ---- limits ------------------------------------------------------------------------------------------


def test_fids_are_limited(client: Client, share: Path):
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    limit = min(MAX_FIDS, soft // 2)
    for _ in range(limit - 1):
        client.at()
    for use in (client.at, lambda: client.attach(NO_FID - 1)):
        with refused(errno.EMFILE):
            use()
    assert len(held(share)) == limit + 1
    client.clunk(1)
    client.at()


def test_fids_leave_the_process_half_of_its_descriptors(share: Path):
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    half = len(list(Path("/proc/self/fd").iterdir())) + 60
    resource.setrlimit(resource.RLIMIT_NOFILE, (2 * half, hard))
    try:
        server = Server(share)
        client = Client.mounted(server.answer)
        for _ in range(half - 1):
            client.at()
        with refused(errno.EMFILE):
            client.at()
        server.close()
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def test_a_walk_has_sixteen_names_and_no_more(client: Client):
    assert len(client.walk(0, 1, *[b"."] * 16)) == 16
    with refused(errno.EINVAL):
        client.walk(0, 2, *[b"."] * 17)


@pytest.mark.parametrize("offset", [(1 << 63) - 1, 1 << 63, (1 << 64) - 1])
def test_no_offset_is_too_large_to_be_refused(client: Client, share: Path, offset: int):
    (share / "f").touch()
    fid, directory = client.opened("f", RDWR), client.opened("")
    with refused(errno.EFBIG, errno.EINVAL):
        client.read(fid, offset, 1)
    with refused(errno.EFBIG, errno.EINVAL):
        client.write(fid, offset, b"x")
    with refused(errno.EFBIG, errno.EINVAL):
        client.read(fid, offset, NO_FID)
    with suppress(OSError):  # the last of them is one that some file systems have
        assert client.readdir(directory, offset) == []
    if offset >> 63:
        with refused(errno.EFBIG):
            client.setattr(fid, SIZE, size=offset)
    assert (share / "f").stat().st_size == 0


def test_no_answer_is_longer_than_was_agreed(server: Server, share: Path):
    client = Client.mounted(server.answer, 8192)
    (share / "f").write_bytes(bytes(100_000))
    for number in range(500):
        (share / f"{number}").touch()
    fid = client.opened("f")
    assert len(client.read(fid, 0, NO_FID)) == 8192 - 11
    assert client.getattr(fid).blksize == 4096
    assert 7000 < sum(24 + len(entry.name) for entry in client.readdir(client.opened(""))) <= 8192 - 11


def test_no_message_is_longer_than_was_agreed(server: Server, share: Path):
    client = Client.mounted(server.answer, 8192)
    fid = client.at()
    client.lcreate(fid, b"f")
    assert client.write(fid, 0, bytes(8192 - 23)) == 8192 - 23
    with refused(errno.EMSGSIZE):
        client.write(fid, 0, b"x" * (8192 - 22))
    assert (share / "f").read_bytes() == bytes(8192 - 23)


@pytest.mark.parametrize("call", CALLS, ids=lambda call: call.name)
def test_a_message_is_as_long_as_its_fields(client: Client, call):
    size = {"b": 1, "h": 2, "d": 4, "q": 8, "s": 2, "W": 2, "D": 4, "A": 56}
    whole = sum(size[letter] for letter in call.layout)
    for length in (*range(whole), whole + 1):
        with refused(errno.EBADMSG):
            client.call(call.number, bytes(length))


def test_a_message_says_its_own_size(client: Client, server: Server):
    good = frame(24, struct.pack("<IQ", 0, 0))
    for size in (0, 6, len(good) - 1, len(good) + 1, NO_FID):
        answer = server.answer(struct.pack("<I", size) + good[4:])
        assert answer == frame(7, struct.pack("<I", errno.EBADMSG))


# ---- the virtio device -------------------------------------------------------------------------------


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


@pytest.fixture
def carrier(share: Path) -> Iterator[Carrier]:
    function = ShareFunction(share)
    yield Carrier(function)
    function.close()


def test_a_driver_finds_the_share_by_its_tag(share: Path):
    driver = Driver(ShareFunction(share, "my-files"))
    load = driver.device.load
    assert load(0x08, 4) == 9
    driver.device.store(0x14, 4, 0)
    assert load(0x10, 4) == 1
    assert load(0x100, 2) == 8
    assert bytes(load(0x102 + n, 1) for n in range(9)) == b"my-files\0"


@pytest.mark.parametrize("tag", ["", "x" * 256, "a\0b", "ä", "a\n"])
def test_a_tag_that_cannot_be_is_refused(share: Path, tag: str):
    with pytest.raises(BadArgumentError, match="is no tag"):
        ShareFunction(share, tag)


def test_what_is_no_directory_is_refused(tmp_path: Path):
    (tmp_path / "file").touch()
    for path in (tmp_path / "nothing", tmp_path / "file", Path("zero\0")):
        with pytest.raises(BadArgumentError, match="cannot share"):
            ShareFunction(path)


def test_files_go_through_the_queue_in_both_directions(carrier: Carrier, share: Path):
    client = Client.mounted(carrier)
    data = os.urandom(1 << 20)
    fid = client.at()
    _, unit = client.lcreate(fid, b"f")
    for place in range(0, len(data), unit):
        client.write(fid, place, data[place : place + unit])
    assert (share / "f").read_bytes() == data
    assert b"".join(client.read(fid, place, unit) for place in range(0, len(data), unit)) == data


def test_what_is_refused_fits_where_a_drivers_header_does(carrier: Carrier):
    Client.mounted(carrier)
    assert carrier(frame(116, struct.pack("<IQI", 77, 0, 4096)), room=11) == frame(
        7, struct.pack("<I", errno.EBADF)
    )


def test_an_answer_for_which_there_is_no_room_is_refused(carrier: Carrier):
    Client.mounted(carrier)
    assert carrier(frame(24, struct.pack("<IQ", 0, 0)), room=100) == frame(
        7, struct.pack("<I", errno.EMSGSIZE)
    )


@pytest.mark.parametrize(
    ("message", "room"),
    [(b"", 100), (frame(100, b"")[:6], 100), (frame(108, b"\0\0"), 10), (frame(108, b"\0\0"), 0)],
    ids=["nothing", "not even a header", "no room for an answer", "no room"],
)
def test_what_cannot_be_answered_breaks_the_queue(carrier: Carrier, message: bytes, room: int):
    assert carrier(message, room) == b""
    assert carrier.broken
    carrier.driver.start()
    Client.mounted(carrier)
    assert not carrier.broken


def test_a_message_longer_than_any_breaks_the_queue_unread(carrier: Carrier):
    carrier.driver.describe(0, 0, carrier.source, MAX_MSIZE + 1, NEXT, 1)
    carrier.driver.describe(0, 1, carrier.target, 100, WRITE)
    carrier.driver.post(0, 0)
    assert carrier.broken


def test_a_reset_closes_what_the_guest_had_open(carrier: Carrier, share: Path):
    client = Client.mounted(carrier)
    (share / "f").touch()
    for _ in range(5):
        client.opened("f")
    carrier.driver.device.store(0x70, 4, 0)
    assert held(share) == [str(share)]
    carrier.driver.start()
    with refused(errno.EPROTO):
        client.getattr(0)
    assert Client.mounted(carrier).getattr(0).nlink == share.stat().st_nlink


@pytest.mark.parametrize("how", ["closed", "forgotten"])
def test_nothing_stays_open_when_the_device_goes(share: Path, how: str):
    function = ShareFunction(share)
    carrier = Carrier(function)
    Client.mounted(carrier).at()
    assert len(held(share)) == 3
    if how == "closed":
        function.close()
        function.close()
        assert held(share) == []
        with refused(errno.EBADF):
            Client.mounted(carrier)
    del function, carrier
    assert held(share) == []


# ---- layouts -----------------------------------------------------------------------------------------

NUMBERS = {"b": 8, "h": 16, "d": 32, "q": 64}
FIELDS = {
    **{letter: st.integers(0, (1 << bits) - 1) for letter, bits in NUMBERS.items()},
    "s": st.binary(max_size=300),
    "D": st.binary(max_size=300),
}


@given(st.text(alphabet="bhdqsD", max_size=6).flatmap(
    lambda layout: st.tuples(st.just(layout), st.tuples(*(FIELDS[letter] for letter in layout)))
))  # fmt: skip
def test_what_is_packed_is_unpacked(case: tuple[str, tuple[int | bytes, ...]]):
    layout, fields = case
    assert tuple(wire.unpack(layout, memoryview(wire.pack(layout, *fields)))) == fields


def test_a_socket_is_there_and_no_more(client: Client, share: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(share)
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind("sock")
    assert stat.S_ISSOCK(client.getattr(client.at("sock")).mode)
    with refused(errno.EPERM):
        client.lopen(client.at("sock"), RDWR)
