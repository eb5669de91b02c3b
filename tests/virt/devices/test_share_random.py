"""A shared directory used at random: it is as if no guest were between, and there is never a way out."""

import os
import shutil
import stat
import struct
import tempfile
from collections.abc import Callable, Iterator
from errno import EBADF, EBADMSG, EINVAL
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule
from tests.support.examples import examples
from tests.support.ninep import (
    ATIME,
    ATIME_TO,
    CREAT,
    EXCL,
    MODE,
    MTIME,
    MTIME_TO,
    RDONLY,
    RDWR,
    REMOVEDIR,
    SIZE,
    TRUNC,
    WRONLY,
    Client,
    frame,
    held,
    outcome,
)

from penglai.virt.devices.share import wire
from penglai.virt.devices.share.server import CALLS, Server

NAMES = st.sampled_from(["a", "b", "c", "ä b"])
PICK = st.integers(0, 50)
MODES = st.sampled_from([0o644, 0o600, 0o755, 0o400])
PLACES = st.integers(0, 6000)
DATA = st.binary(min_size=1, max_size=40)


class Both:
    """A file that is open through the client and, its twin, through the system."""

    def __init__(self, fid: int, fd: int) -> None:
        self.fid, self.fd = fid, fd


class Twins(RuleBasedStateMachine):
    """Each rule does one thing through a client, and the same to a twin directory through the system."""

    def __init__(self) -> None:
        super().__init__()
        self.top = Path(tempfile.mkdtemp())
        self.share, self.twin = self.top / "share", self.top / "twin"
        self.share.mkdir()
        self.twin.mkdir()
        self.server = Server(self.share)
        self.client = Client.mounted(self.server.answer)
        self.files: list[Both] = []
        self.directories: list[Both] = []

    def teardown(self) -> None:
        for both in (*self.files, *self.directories):
            self.client.clunk(both.fid)
            os.close(both.fd)
        assert len(held(self.share)) == 2
        self.server.close()
        shutil.rmtree(self.top)

    # ---- picking what is there -----------------------------------------------------------------

    def pick(self, number: int, kinds: Callable[[int], bool]) -> str:
        """A path below the twin of something of a kind; "" is the directory itself."""
        found = [path for path in sorted([self.twin, *self.twin.rglob("*")]) if kinds(path.lstat().st_mode)]
        return str(found[number % len(found)].relative_to(self.twin)) if found else ""

    def directory(self, number: int) -> str:
        return self.pick(number, stat.S_ISDIR)

    def anything(self, number: int) -> str:
        return self.pick(number, lambda _: True)

    def both(self, ours: Callable[[], object], theirs: Callable[[], object]) -> bool:
        """Do it here and there; True if it could be done.  Refusals are the same."""
        expected = outcome(theirs)
        assert outcome(ours) == expected
        return not expected

    def fid(self, path: str) -> int:
        return self.client.at("" if path == "." else path)

    # ---- names ---------------------------------------------------------------------------------

    @rule(where=PICK, name=NAMES, mode=MODES)
    def mkdir(self, where: int, name: str, mode: int) -> None:
        path = self.directory(where)
        self.both(
            lambda: self.client.mkdir(self.fid(path), name.encode(), mode | 0o700),
            lambda: (self.twin / path / name).mkdir(mode | 0o700),
        )

    @rule(where=PICK, name=NAMES, to=st.sampled_from(["a", "../b", "/", "c/ä b"]))
    def symlink(self, where: int, name: str, to: str) -> None:
        path = self.directory(where)
        self.both(
            lambda: self.client.symlink(self.fid(path), name.encode(), to.encode()),
            lambda: (self.twin / path / name).symlink_to(to),
        )

    @rule(where=PICK, name=NAMES, mode=MODES)
    def mknod(self, where: int, name: str, mode: int) -> None:
        path = self.directory(where)
        self.both(
            lambda: self.client.mknod(self.fid(path), name.encode(), mode),
            lambda: os.mknod(self.twin / path / name, mode),
        )

    @rule(source=PICK, where=PICK, name=NAMES)
    def link(self, source: int, where: int, name: str) -> None:
        old = self.pick(source, lambda mode: not stat.S_ISDIR(mode))
        path = self.directory(where)
        if not old:
            return
        self.both(
            lambda: self.client.link(self.fid(path), self.fid(old), name.encode()),
            lambda: os.link(self.twin / old, self.twin / path / name, follow_symlinks=False),
        )

    @rule(where=PICK, name=NAMES, flags=st.sampled_from([0, REMOVEDIR]))
    def unlinkat(self, where: int, name: str, flags: int) -> None:
        path = self.directory(where)
        self.both(
            lambda: self.client.unlinkat(self.fid(path), name.encode(), flags),
            lambda: (os.rmdir if flags else os.unlink)(self.twin / path / name),
        )

    @rule(what=PICK)
    def remove(self, what: int) -> None:
        path = self.anything(what)
        if path == ".":
            return
        twin = self.twin / path
        self.both(
            lambda: self.client.remove(self.fid(path)),
            lambda: twin.rmdir() if stat.S_ISDIR(twin.lstat().st_mode) else twin.unlink(),
        )

    @rule(source=PICK, old=NAMES, where=PICK, new=NAMES)
    def renameat(self, source: int, old: str, where: int, new: str) -> None:
        before, after = self.directory(source), self.directory(where)
        self.both(
            lambda: self.client.renameat(self.fid(before), old.encode(), self.fid(after), new.encode()),
            lambda: (self.twin / before / old).rename(self.twin / after / new),
        )

    @rule(what=PICK, where=PICK, new=NAMES)
    def rename(self, what: int, where: int, new: str) -> None:
        path, after = self.anything(what), self.directory(where)
        if path == ".":
            return
        self.both(
            lambda: self.client.rename(self.fid(path), self.fid(after), new.encode()),
            lambda: (self.twin / path).rename(self.twin / after / new),
        )

    # ---- files ---------------------------------------------------------------------------------

    @precondition(lambda self: len(self.files) < 6)
    @rule(where=PICK, name=NAMES, mode=MODES, flags=st.sampled_from([CREAT, CREAT | EXCL, CREAT | TRUNC]))
    def create(self, where: int, name: str, mode: int, flags: int) -> None:
        path, file = self.directory(where), Both(0, -1)

        def ours() -> None:
            file.fid = self.fid(path)
            self.client.lcreate(file.fid, name.encode(), flags | RDWR, mode)

        def theirs() -> None:
            native = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW
            native |= (os.O_EXCL if flags & EXCL else 0) | (os.O_TRUNC if flags & TRUNC else 0)
            file.fd = os.open(self.twin / path / name, native, mode)

        if self.both(ours, theirs):
            self.files.append(file)

    @precondition(lambda self: len(self.files) < 6)
    @rule(what=PICK, flags=st.sampled_from([RDONLY, WRONLY, RDWR, RDWR | TRUNC]))
    def open(self, what: int, flags: int) -> None:
        path, file = self.anything(what), Both(0, -1)

        def ours() -> None:
            file.fid = self.fid(path)
            self.client.lopen(file.fid, flags)

        def theirs() -> None:
            native = (flags & 3) | os.O_NOFOLLOW | (os.O_TRUNC if flags & TRUNC else 0)
            file.fd = os.open(self.twin / path, native)

        if self.both(ours, theirs):
            is_directory = stat.S_ISDIR(os.fstat(file.fd).st_mode)
            (self.directories if is_directory else self.files).append(file)

    @precondition(lambda self: self.files)
    @rule(which=PICK, place=PLACES, data=DATA)
    def write(self, which: int, place: int, data: bytes) -> None:
        file = self.files[which % len(self.files)]
        self.both(
            lambda: self.client.write(file.fid, place, data),
            lambda: os.pwrite(file.fd, data, place),
        )

    @precondition(lambda self: self.files)
    @rule(which=PICK, place=PLACES, size=PLACES)
    def read(self, which: int, place: int, size: int) -> None:
        file, found = self.files[which % len(self.files)], []
        if self.both(
            lambda: found.append(self.client.read(file.fid, place, size)),
            lambda: found.append(os.pread(file.fd, size, place)),
        ):
            assert found[0] == found[1]

    @precondition(lambda self: self.files)
    @rule(which=PICK)
    def clunk(self, which: int) -> None:
        file = self.files.pop(which % len(self.files))
        self.client.clunk(file.fid)
        os.close(file.fd)

    @precondition(lambda self: self.directories)
    @rule(which=PICK, count=st.integers(300, 1000))
    def readdir(self, which: int, count: int) -> None:
        both, found = self.directories[which % len(self.directories)], []
        if self.both(
            lambda: found.append({os.fsdecode(entry.name) for entry in self.client.list(both.fid, count)}),
            lambda: found.append({".", "..", *os.listdir(both.fd)}),  # noqa: PTH208 - a descriptor
        ):
            assert found[0] == found[1]

    # ---- attributes ----------------------------------------------------------------------------

    @rule(what=PICK, mode=MODES)
    def chmod(self, what: int, mode: int) -> None:
        path = self.pick(what, lambda mode: not stat.S_ISLNK(mode))
        self.client.setattr(self.fid(path), MODE, mode=mode | 0o700)
        (self.twin / path).chmod(mode | 0o700)

    @rule(what=PICK, size=PLACES)
    def truncate(self, what: int, size: int) -> None:
        path = self.pick(what, lambda mode: not stat.S_ISLNK(mode))
        self.both(
            lambda: self.client.setattr(self.fid(path), SIZE, size=size),
            lambda: os.truncate(self.twin / path, size),
        )

    @rule(what=PICK, atime=st.integers(-(10**18), 10**18), mtime=st.integers(-(10**18), 10**18))
    def times(self, what: int, atime: int, mtime: int) -> None:
        path = self.anything(what)
        self.client.setattr(
            self.fid(path), ATIME | ATIME_TO | MTIME | MTIME_TO,
            atime=divmod(atime, 10**9), mtime=divmod(mtime, 10**9),
        )  # fmt: skip
        os.utime(self.twin / path, ns=(atime, mtime), follow_symlinks=False)
        found = self.client.getattr(self.fid(path))
        status = os.lstat(self.twin / path)
        assert (found.atime_ns, found.mtime_ns) == (status.st_atime_ns, status.st_mtime_ns)

    # ---- what is always so ---------------------------------------------------------------------

    @invariant()
    def they_are_alike(self) -> None:
        assert dict(self.seen(self.fid(""))) == dict(self.there())
        for file in self.files:
            found, status = self.client.getattr(file.fid), os.fstat(file.fd)
            assert (found.size, found.nlink) == (status.st_size, status.st_nlink)
        self.forget_all_but({both.fid for both in (*self.files, *self.directories)})

    def forget_all_but(self, kept: set[int]) -> None:
        """Clunk the fids of the rule before, as far as they have come to be."""
        for fid in set(range(1, self.client.fresh)) - kept:
            answer = self.server.answer(frame(120, struct.pack("<I", fid)))
            assert answer[4] == 121 or answer[7:] == struct.pack("<I", EBADF)
        self.client.fresh = max({0} | kept) + 1

    def seen(self, fid: int, path: str = "") -> Iterator[tuple[str, tuple[object, ...]]]:
        """What the client sees: mode, links, size, and what is inside."""
        status = self.client.getattr(fid)
        inside: object = None
        if stat.S_ISDIR(status.mode):
            self.client.lopen(fid, RDONLY)
            inside = sorted(entry.name for entry in self.client.list(fid) if entry.name not in {b".", b".."})
            for name in inside:
                yield from self.seen(self.client.at(name, fid), f"{path}/{os.fsdecode(name)}")
        elif stat.S_ISLNK(status.mode):
            inside = self.client.readlink(fid)
        else:
            self.client.lopen(fid, RDONLY)
            inside = self.client.read(fid, 0, 100_000)
        size = 0 if stat.S_ISDIR(status.mode) else status.size
        yield path, (status.mode, status.nlink, size, inside)
        self.client.clunk(fid)

    def there(self) -> Iterator[tuple[str, tuple[object, ...]]]:
        for path in (self.twin, *self.twin.rglob("*")):
            status = path.lstat()
            inside: object
            if stat.S_ISDIR(status.st_mode):
                inside = sorted(os.fsencode(child.name) for child in path.iterdir())
            elif stat.S_ISLNK(status.st_mode):
                inside = os.fsencode(path.readlink())
            else:
                inside = path.read_bytes()
            size = 0 if stat.S_ISDIR(status.st_mode) else status.st_size
            name = str(path)[len(str(self.twin)) :]
            yield name, (status.st_mode, status.st_nlink, size, inside)


Twins.TestCase.settings = settings(max_examples=examples(30), stateful_step_count=examples(40))
TestTwins = Twins.TestCase


# ---- random bytes ------------------------------------------------------------------------------------

SECRET = b"what no guest may read"


class Den:
    """A share with all that may tempt a guest, and a secret beside it."""

    def __init__(self, top: Path) -> None:
        self.top = top
        self.outside = top / "outside"
        self.outside.mkdir()
        self.secret = self.outside / "secret"
        self.secret.write_bytes(SECRET)
        self.status = self.secret.stat()
        self.shares = 0
        self.begin()

    def begin(self) -> None:
        """Another share, for another example; fids 0 to 8 are what is in it."""
        self.shares += 1
        share = self.top / f"share {self.shares}"
        (share / "d" / "e").mkdir(parents=True)
        (share / "f").write_bytes(b"data")
        (share / "l").symlink_to("../outside/secret")
        (share / "m").symlink_to(self.outside)
        os.mkfifo(share / "p")
        self.server = Server(share)  # the one before goes, with all that it holds
        client = Client.mounted(self.server.answer)
        for path in ("d", "d/e", "f", "l", "m", "p"):
            client.at(path)
        client.opened("f", RDWR)
        client.opened("d")

    def untouched(self) -> bool:
        """True if nothing outside has changed."""
        status = self.secret.stat()
        return (
            list(self.outside.iterdir()) == [self.secret]
            and self.secret.read_bytes() == SECRET
            and (status.st_ctime_ns, status.st_nlink) == (self.status.st_ctime_ns, self.status.st_nlink)
        )

    def send(self, number: int, body: bytes) -> None:
        """Whatever it is, there is an answer, and it tells nothing."""
        answer = self.server.answer(frame(number, body))
        size, kind, tag = struct.unpack_from("<IBH", answer)
        assert size == len(answer) <= 131072
        assert tag == 1
        assert kind in {7, number + 1}
        assert kind != 7 or size == 11
        assert SECRET not in answer


@pytest.fixture
def den(tmp_path: Path) -> Iterator[Den]:
    den = Den(tmp_path)
    yield den
    assert den.untouched()
    den.server.close()
    assert held(tmp_path) == []


FIDS = st.one_of(st.integers(0, 12), st.integers(0, 0xFFFF_FFFF))
EDGES = (0, 1, 2, 3, 7, 0x1FF, 0x242, 0x41FF, 0x81A4, 0x2000, 4096, (1 << 31) - 1, 1 << 31, 0xFFFF_FFFF)
WIDE = (*EDGES, 1 << 32, (1 << 63) - 1, 1 << 63, (1 << 64) - 1)
TEMPTING = st.one_of(
    st.sampled_from(
        [b"d", b"e", b"f", b"l", b"m", b"p", b"new", b".", b"..", b"secret", b"/", b"../outside"]
    ),
    st.binary(max_size=20),
    st.just(b"n" * 300),
)


def prefixed(value: bytes) -> bytes:
    return struct.pack("<H", len(value)) + value


PIECES: dict[str, st.SearchStrategy[bytes]] = {
    "b": st.binary(min_size=1, max_size=1),
    "h": st.binary(min_size=2, max_size=2),
    "d": st.one_of(FIDS, st.sampled_from(EDGES)).map(lambda value: struct.pack("<I", value)),
    "q": st.one_of(st.integers(0, 5000), st.sampled_from(WIDE)).map(lambda value: struct.pack("<Q", value)),
    "s": TEMPTING.map(prefixed),
    "W": st.lists(TEMPTING, max_size=20).map(
        lambda names: struct.pack("<H", len(names)) + b"".join(map(prefixed, names))
    ),
    "D": st.binary(max_size=100).map(lambda data: struct.pack("<I", len(data)) + data),
    "A": st.tuples(
        st.sampled_from([MODE, SIZE, MODE | SIZE, 0x30, 0x1F0, 0x1F9, 0x3FF]),
        st.integers(0, 0xFFFF_FFFF),
        st.integers(0, 5000),
        st.tuples(*[st.sampled_from(WIDE)] * 4),
    ).map(lambda each: struct.pack("<IIIIQQQQQ", each[0], each[1], 0, 0, each[2], *each[3])),
}


def body(layout: str) -> st.SearchStrategy[bytes]:
    fields = [PIECES[letter] for letter in layout]
    if layout[0] == "d":
        fields[0] = FIDS.map(lambda value: struct.pack("<I", value))
    return st.tuples(*fields).map(b"".join)


LIKELY = st.one_of(
    *(st.tuples(st.just(call.number), body(call.layout)) for call in CALLS if call.name != "version")
)

LOOSE = settings(suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture])


@settings(LOOSE, max_examples=examples(150))
@given(messages=st.lists(LIKELY, max_size=40))
def test_no_message_that_could_be_one_gets_out_or_fails(den: Den, messages: list[tuple[int, bytes]]):
    den.begin()
    for number, content in messages:
        den.send(number, content)


@settings(LOOSE, max_examples=examples(200))
@given(
    number=st.one_of(st.sampled_from([call.number for call in CALLS]), st.integers(0, 255)),
    content=st.binary(max_size=80),
)
def test_no_bytes_are_without_an_answer(den: Den, number: int, content: bytes):
    den.begin()
    den.send(number & 0xFE, content)


@settings(LOOSE, max_examples=examples(200))
@given(st.binary(max_size=100))
def test_no_layout_takes_more_than_there_is(data: bytes):
    for call in CALLS:
        assert outcome(lambda layout=call.layout: wire.unpack(layout, memoryview(data))) in {
            0,
            EBADMSG,
            EINVAL,
        }


@settings(LOOSE, max_examples=examples(100))
@given(st.binary(min_size=7, max_size=100), st.integers(11, 200))
def test_no_answer_is_longer_than_its_room(den: Den, message: bytes, room: int):
    den.begin()
    assert len(den.server.answer(message, room)) <= room
