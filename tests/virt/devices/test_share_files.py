"""A shared directory: files, and what can be done with them."""

import errno
import os
import socket
import stat
from pathlib import Path

import pytest
from tests.support.ninep import (
    APPEND,
    CREAT,
    DIRECTORY,
    EXCL,
    RDONLY,
    RDWR,
    SIZE,
    TRUNC,
    WRONLY,
    Client,
    Qid,
    held,
    refused,
)


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


def test_a_socket_is_there_and_no_more(client: Client, share: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(share)
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind("sock")
    assert stat.S_ISSOCK(client.getattr(client.at("sock")).mode)
    with refused(errno.EPERM):
        client.lopen(client.at("sock"), RDWR)
