"""A hostile guest and a shared directory: each way out that there might be, by name."""

import errno
import os
import stat
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from tests.support.ninep import (
    ATIME,
    ATIME_TO,
    CREAT,
    GID,
    MODE,
    MTIME,
    MTIME_TO,
    RDONLY,
    RDWR,
    REMOVEDIR,
    SIZE,
    TRUNC,
    UID,
    WRONLY,
    Client,
    held,
    outcome,
    refused,
)

from penglai.virt.devices.share.server import Server

SECRET = b"outside the share"


@pytest.fixture
def outside(tmp_path: Path) -> Path:
    """A directory beside the share, with a file in it."""
    directory = tmp_path / "outside"
    directory.mkdir()
    (directory / "secret").write_bytes(SECRET)
    return directory


def look(directory: Path) -> dict[str, tuple[object, ...]]:
    """All that can be told of what is in a directory, but times of access."""
    found: dict[str, tuple[object, ...]] = {}
    for path in (directory, *directory.rglob("*")):
        status = path.lstat()
        data = path.read_bytes() if stat.S_ISREG(status.st_mode) else b""
        found[str(path)] = (data, status.st_mode, status.st_uid, status.st_nlink, status.st_ctime_ns)
    return found


# ---- names -------------------------------------------------------------------------------------------

BAD_NAMES = [
    b"", b".", b"..", b"/", b"../outside/secret", b"/etc/passwd", b"d/f", b"d/", b"./f", b"f\0", b"\0g",
]  # fmt: skip

BY_NAME: dict[str, Callable[[Client, bytes], object]] = {
    "lcreate": lambda client, name: client.lcreate(client.at(), name, RDWR | CREAT),
    "mkdir": lambda client, name: client.mkdir(0, name),
    "mknod": lambda client, name: client.mknod(0, name, 0o644),
    "symlink": lambda client, name: client.symlink(0, name, b"x"),
    "link": lambda client, name: client.link(0, client.at("f"), name),
    "rename": lambda client, name: client.rename(client.at("f"), 0, name),
    "renameat from": lambda client, name: client.renameat(0, name, 0, b"new"),
    "renameat to": lambda client, name: client.renameat(0, b"f", 0, name),
    "unlinkat": lambda client, name: client.unlinkat(0, name),
    "rmdir": lambda client, name: client.unlinkat(0, name, REMOVEDIR),
}


@pytest.mark.parametrize("how", BY_NAME)
@pytest.mark.parametrize("name", BAD_NAMES)
def test_a_name_is_never_a_path(client: Client, share: Path, outside: Path, how: str, name: bytes):
    (share / "d").mkdir()
    (share / "d" / "f").touch()
    (share / "f").touch()
    before = look(share.parent)
    with refused(errno.EINVAL):
        BY_NAME[how](client, name)
    assert look(share.parent) == before


@pytest.mark.parametrize("name", [each for each in BAD_NAMES if each not in {b".", b".."}])
def test_a_walk_goes_by_names_and_not_by_paths(client: Client, share: Path, outside: Path, name: bytes):
    (share / "d").mkdir()
    (share / "d" / "f").touch()
    (share / "f").touch()
    with refused(errno.EINVAL):
        client.walk(0, 1, name)
    assert len(client.walk(0, 1, b"d", name)) == 1


def test_the_way_up_ends_at_the_share(client: Client, share: Path, outside: Path):
    (share / "d").mkdir()
    top = client.getattr(0).qid.path
    assert {qid.path for qid in client.walk(0, 1, *[b".."] * 16)} == {top}
    ups = client.walk(0, 2, b"d", *[b".."] * 15)
    assert {qid.path for qid in ups[1:]} == {top}
    assert len(client.walk(2, 3, b"..", b"outside")) == 1


# ---- symbolic links ----------------------------------------------------------------------------------


@pytest.fixture
def link(share: Path, outside: Path) -> str:
    """Links out of the share: absolute and relative, to a directory and to a file."""
    (share / "away").symlink_to(outside)
    (share / "up").symlink_to("../outside")
    (share / "file").symlink_to(outside / "secret")
    (share / "new").symlink_to(outside / "made by the guest")
    return "away"


@pytest.mark.parametrize("name", [b"away", b"up", b"file"])
def test_no_walk_follows_a_link(client: Client, share: Path, link: str, name: bytes):
    assert [qid.type for qid in client.walk(0, 1, name, b"secret")] == [2]
    assert len(client.walk(0, 1, name, b"..")) == 1
    assert len(client.walk(0, 1, name, b".")) == 1
    client.walk(0, 1, name)
    with refused(errno.ENOTDIR):
        client.walk(1, 2, b"secret")
    with refused(errno.ENOTDIR):
        client.walk(1, 2, b"..")


@pytest.mark.parametrize("name", ["away", "up", "file", "new"])
def test_no_link_is_opened(client: Client, outside: Path, link: str, name: str):
    before = look(outside)
    for flags in (RDONLY, WRONLY, RDWR, RDONLY | TRUNC):
        with refused(errno.ELOOP):
            client.lopen(client.at(name), flags)
        with refused(errno.ELOOP):
            client.lcreate(client.at(), name.encode(), flags | CREAT)
    assert look(outside) == before


def test_nothing_is_done_below_a_link(client: Client, outside: Path, link: str):
    before = look(outside)
    fid = client.at(link)
    for use in (
        lambda: client.lcreate(fid, b"secret", RDWR),
        lambda: client.lcreate(fid, b"new"),
        lambda: client.mkdir(fid, b"new"),
        lambda: client.mknod(fid, b"new", 0o644),
        lambda: client.symlink(fid, b"new", b"x"),
        lambda: client.link(fid, client.at("file"), b"new"),
        lambda: client.unlinkat(fid, b"secret"),
        lambda: client.renameat(fid, b"secret", 0, b"mine"),
        lambda: client.renameat(0, b"file", fid, b"new"),
        lambda: client.rename(client.at("file"), fid, b"new"),
    ):
        with refused(errno.ENOTDIR):
            use()
    with refused(errno.EBADF):
        client.readdir(fid)
    assert look(outside) == before


def test_a_link_is_changed_and_not_what_it_points_to(client: Client, share: Path, outside: Path, link: str):
    before = look(outside)
    for valid in (MODE, SIZE):
        with refused(errno.EOPNOTSUPP):
            client.setattr(client.at("file"), valid)
    client.setattr(client.at("file"), MTIME | MTIME_TO | ATIME | ATIME_TO)
    client.setattr(client.at("file"), MTIME | ATIME)
    if not os.geteuid():
        client.setattr(client.at("file"), UID | GID, uid=1, gid=1)
    client.link(0, client.at("file"), b"another")
    client.link(0, client.at("away"), b"another-away")
    client.remove(client.at("another"))
    client.unlinkat(0, b"another-away")
    client.renameat(0, b"up", 0, b"file")
    client.rename(client.at("away"), 0, b"file")
    assert (share / "file").readlink() == outside
    with refused(errno.ENOTDIR):
        client.unlinkat(0, b"file", REMOVEDIR)
    client.unlinkat(0, b"file")
    assert look(outside) == before


def test_a_link_that_the_guest_makes_is_followed_by_nobody_here(client: Client, outside: Path):
    client.symlink(0, b"l", os.fsencode(outside))
    assert len(client.walk(0, 1, b"l", b"secret")) == 1
    assert client.readlink(client.at("l")) == os.fsencode(outside), (
        "the guest may read it, and follow its own"
    )


def test_the_systems_own_links_out_are_not_followed():
    """Links in /proc lead to files and directories themselves, not to their names."""
    server = Server(Path("/proc"))
    client = Client.mounted(server.answer)
    me = str(os.getpid()).encode()
    for names in ((b"self", b"status"), (me, b"root", b"etc"), (me, b"cwd", b".."), (me, b"fd", b"0", b".")):
        assert len(client.walk(0, 1, *names)) < len(names)
    for path in (b"self", me + b"/root", me + b"/cwd", me + b"/exe", me + b"/fd/0"):
        with refused(errno.ELOOP):
            client.lopen(client.at(path), RDONLY)
    server.close()


# ---- what is neither file nor directory ----------------------------------------------------------------


def specials(share: Path) -> list[str]:
    os.mkfifo(share / "pipe", 0o666)
    if os.geteuid():
        return ["pipe"]
    os.mknod(share / "null", stat.S_IFCHR | 0o666, os.makedev(1, 3))
    os.mknod(share / "disk", stat.S_IFBLK | 0o666, os.makedev(7, 0))
    return ["pipe", "null", "disk"]


def test_pipes_and_devices_are_seen_but_not_touched(client: Client, share: Path):
    for name in specials(share):
        assert client.getattr(client.at(name)).mode == os.lstat(share / name).st_mode
        for flags in (RDONLY, WRONLY, RDWR, RDWR | TRUNC):
            with refused(errno.EPERM):
                client.lopen(client.at(name), flags)
            with refused(errno.EPERM):
                client.lcreate(client.at(), name.encode(), flags | CREAT)
        for valid in (MODE, SIZE, UID, MTIME):
            with refused(errno.EPERM):
                client.setattr(client.at(name), valid)
        with refused(errno.EPERM):
            client.link(0, client.at(name), b"another")
        client.renameat(0, name.encode(), 0, b"x")
        client.unlinkat(0, b"x")


@pytest.mark.parametrize(
    "kind", [stat.S_IFCHR, stat.S_IFBLK, stat.S_IFIFO, stat.S_IFSOCK, stat.S_IFLNK, stat.S_IFDIR, 0o170000]
)
def test_no_device_is_made(client: Client, share: Path, kind: int):
    with refused(errno.EPERM):
        client.mknod(0, b"new", kind | 0o666, 1, 3)
    assert list(share.iterdir()) == []


def test_no_mode_lends_the_rights_of_the_machines_user(client: Client, share: Path):
    (share / "f").touch()
    client.setattr(client.at("f"), MODE, mode=0o6755)
    client.lcreate(client.at(), b"g", RDWR, 0o6755)
    client.mknod(0, b"h", stat.S_IFREG | 0o6755)
    client.mkdir(0, b"d", 0o6755)
    assert not any(path.stat().st_mode & 0o6000 for path in share.iterdir())


# ---- somebody moves things meanwhile -------------------------------------------------------------------


def test_a_directory_that_was_moved_away_has_no_way_up(client: Client, share: Path, outside: Path):
    (share / "a" / "b").mkdir(parents=True)
    (share / "a" / "b" / "f").touch()
    directory, file = client.at("a/b"), client.at("a/b/f")
    (share / "a" / "b").rename(outside / "b")
    before = look(outside)
    for use in (
        lambda: client.walk(directory, 99, b".."),
        lambda: client.walk(directory, directory, b".."),
        lambda: client.rename(file, 0, b"back"),
        lambda: client.rename(directory, 0, b"back"),
        lambda: client.remove(file),
        lambda: client.remove(directory),
    ):
        with refused(errno.ENOENT):
            use()
    assert look(outside) == before


def test_a_directory_that_was_moved_within_has_its_way_up(client: Client, share: Path):
    (share / "a" / "b").mkdir(parents=True)
    (share / "c").mkdir()
    fid = client.at("a/b")
    (share / "a" / "b").rename(share / "c" / "b")
    assert client.walk(fid, 99, b"..")[0].path == (share / "c").stat().st_ino


def test_a_share_beside_another_with_a_longer_name_is_not_that(tmp_path: Path, share: Path, client: Client):
    (share / "d").mkdir()
    fid = client.at("d")
    (tmp_path / "share-of-somebody").mkdir()
    (share / "d").rename(tmp_path / "share-of-somebody" / "d")
    with refused(errno.ENOENT):
        client.walk(fid, 99, b"..")


def test_the_share_itself_may_be_moved(client: Client, share: Path, outside: Path):
    (share / "d").mkdir()
    fid = client.at("d")
    top = client.getattr(0).qid.path
    share.rename(outside / "moved")
    assert [qid.path for qid in client.walk(fid, 99, b"..", b"..", b"..")] == [top] * 3
    client.remove(fid)
    assert list((outside / "moved").iterdir()) == []


def test_a_share_of_everything_ends_at_the_root_of_everything(tmp_path: Path):
    (tmp_path / "d").mkdir()
    server = Server(Path("/"))
    client = Client.mounted(server.answer)
    assert client.walk(0, 99, b"..")[0].path == client.getattr(0).qid.path
    fid = client.at(os.fsencode(tmp_path / "d"))
    assert client.walk(fid, 98, b"..")[0].path == tmp_path.stat().st_ino
    client.remove(fid)
    assert list(tmp_path.iterdir()) == []
    server.close()


def test_a_link_put_where_a_directory_was_leads_nowhere(client: Client, share: Path, outside: Path):
    (share / "d").mkdir()
    (share / "d" / "secret").write_bytes(b"inside")
    directory = client.at("d")
    (share / "d").rename(share / "e")
    (share / "d").symlink_to(outside)
    client.lopen(client.at("secret", directory), RDONLY)
    assert client.read(client.fresh - 1, 0, 99) == b"inside", "a fid stands for the directory, not its name"
    assert len(client.walk(0, 98, b"d", b"secret")) == 1
    before = look(outside)
    client.unlinkat(directory, b"secret")
    client.lcreate(directory, b"new")
    assert look(outside) == before
    assert (share / "e" / "new").exists()


def test_a_link_put_where_a_file_was_is_not_opened(client: Client, share: Path, outside: Path):
    (share / "f").write_bytes(b"inside")
    fid = client.at("f")
    (share / "f").unlink()
    (share / "f").symlink_to(outside / "secret")
    before = look(outside)
    client.lopen(fid, RDWR | TRUNC)
    client.write(fid, 0, b"x")
    client.setattr(fid, SIZE | MODE, mode=0)
    assert look(outside) == before


def test_a_pipe_put_where_a_file_was_is_not_opened(client: Client, share: Path):
    (share / "f").write_bytes(b"inside")
    fid = client.at("f")
    (share / "f").unlink()
    os.mkfifo(share / "f")
    client.lopen(fid, RDONLY)
    assert client.read(fid, 0, 99) == b"inside"
    with refused(errno.EPERM):
        client.lopen(client.at("f"), RDONLY)


class Meddler:
    """Does something again and again on a thread of its own, until the end of the `with`."""

    def __init__(self, *steps: Callable[[], object]) -> None:
        self._steps = steps
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._meddle)
        self.rounds = 0

    def _meddle(self) -> None:
        while not self._done.is_set():
            for step in self._steps:
                step()
            self.rounds += 1

    @property
    def going(self) -> bool:
        return self._thread.is_alive()

    def __enter__(self) -> "Meddler":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._done.set()
        self._thread.join()


def until_both(meddler: Meddler, tries: Iterator[bool]) -> None:
    """Try until the meddler has been at it for a while, and it has gone both ways or not for long."""
    seen: set[bool] = set()
    for number, went_well in enumerate(tries):
        seen.add(went_well)
        assert meddler.going
        if number > 300 and meddler.rounds > 100 and (len(seen) == 2 or number > 3000):
            return


def test_a_link_swapped_in_during_a_walk_leads_nowhere(client: Client, share: Path, outside: Path):
    """The directory on the way is a link to the outside, and a directory again, all the time."""
    (share / "d" / "e").mkdir(parents=True)
    (share / "d" / "e" / "secret").write_bytes(b"inside")
    (outside / "e").mkdir()
    (outside / "e" / "secret").write_bytes(SECRET)
    (share / "link").symlink_to(outside)
    swap = [
        lambda: (share / "d").rename(share / "kept"),
        lambda: (share / "link").rename(share / "d"),
        lambda: (share / "d").rename(share / "link"),
        lambda: (share / "kept").rename(share / "d"),
    ]

    def tries() -> Iterator[bool]:
        while True:
            code = outcome(lambda: client.at("d/e/../e/secret"))
            assert code in {0, errno.ENOENT}
            if not code:
                fid = client.fresh - 1
                client.lopen(fid, RDONLY)
                assert client.read(fid, 0, 99) == b"inside"
                client.clunk(fid)
            yield not code

    with Meddler(*swap) as meddler:
        until_both(meddler, tries())


def test_a_directory_moved_away_during_a_walk_never_leads_up_and_out(
    client: Client, share: Path, outside: Path
):
    (share / "a" / "b").mkdir(parents=True)
    inside = {each.stat().st_ino for each in (share, share / "a", share / "a" / "b")}
    move = [
        lambda: (share / "a" / "b").rename(outside / "b"),
        lambda: (outside / "b").rename(share / "a" / "b"),
    ]

    def tries() -> Iterator[bool]:
        while True:
            qids = client.walk(0, 1, b"a", b"b", b"..", b"..", b"a", b"b", b"..")
            assert {qid.path for qid in qids} <= inside
            if len(qids) == 7:
                client.clunk(1)
            yield len(qids) == 7

    with Meddler(*move) as meddler:
        until_both(meddler, tries())


def test_a_file_removed_by_its_fid_while_its_directory_is_swapped_is_the_shares(
    client: Client, share: Path, outside: Path
):
    """What is outside under the same names stays, whatever the moment."""
    (share / "d").mkdir()
    (outside / "f").write_bytes(SECRET)
    (share / "link").symlink_to(outside)
    swap = [
        lambda: (share / "d").rename(share / "kept"),
        lambda: (share / "link").rename(share / "d"),
        lambda: (share / "d").rename(share / "link"),
        lambda: (share / "kept").rename(share / "d"),
    ]

    def tries() -> Iterator[bool]:
        directory = client.at("d")
        while True:
            fid = client.at("", directory)
            client.lcreate(fid, b"f", RDWR | CREAT)
            code = outcome(lambda fid=fid: client.remove(fid))
            assert code in {0, errno.ENOENT, errno.ENOTDIR}
            yield not code

    attempts = tries()
    next(attempts)
    before = look(outside)
    with Meddler(*swap) as meddler:
        until_both(meddler, attempts)
    assert look(outside) == before


def test_nothing_stays_open_after_what_was_refused(client: Client, share: Path, outside: Path, link: str):
    (share / "d").mkdir()
    os.mkfifo(share / "pipe")
    before = sorted(held(share))
    for use in (
        lambda: client.walk(0, 1, b"d", b"..", b"away", b"secret"),
        lambda: client.walk(0, 1, b"d", b"x"),
        lambda: client.walk(0, 1, b"x"),
        lambda: client.lcreate(0, b"pipe", RDWR),
        lambda: client.lcreate(0, b"away", RDWR),
        lambda: client.lopen(0, WRONLY),
        lambda: client.rename(0, 0, b"x"),
        lambda: client.mkdir(0, b"d"),
    ):
        outcome(use)
    assert sorted(held(share)) == before
    assert held(outside) == []
