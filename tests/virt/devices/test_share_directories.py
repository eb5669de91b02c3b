"""A shared directory: directories, names and links."""

import errno
import os
import stat
from pathlib import Path

import pytest
from tests.support.ninep import (
    REMOVEDIR,
    Client,
    refused,
)

from penglai.virt.devices.share.server import MIN_MSIZE, Server


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
