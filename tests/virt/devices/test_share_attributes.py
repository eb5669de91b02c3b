"""A shared directory: attributes of files, and shares that are read-only."""

import errno
import os
import stat
import struct
from pathlib import Path

import pytest
from tests.support.ninep import (
    ATIME,
    ATIME_TO,
    CTIME,
    GID,
    MODE,
    MTIME,
    MTIME_TO,
    NO_FID,
    RDONLY,
    RDWR,
    REMOVEDIR,
    SIZE,
    TRUNC,
    UID,
    WRONLY,
    Client,
    Stat,
    refused,
    text,
)

from penglai.virt.devices.share.server import CALLS, Server

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
