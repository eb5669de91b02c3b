"""A shared directory: walking it."""

import errno
from pathlib import Path

from tests.support.ninep import (
    RDONLY,
    Client,
    held,
    refused,
)


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
