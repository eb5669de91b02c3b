"""What of the file server's files outlives what, and what is noticed of changes of its disk."""

import json
import random
import struct
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.support.fileserver import (
    O_CREAT,
    O_RDWR,
    O_WRONLY,
    REGION,
    SECTOR,
    WRITE,
    Files,
    Recorder,
    Server,
    after,
    use,
)
from tests.support.waiting import PATIENCE, SOAK, until

pytestmark = pytest.mark.services

EIO, EBADF, EMFILE, ENOSPC = -5, -9, -24, -28

KILLS = 200 if SOAK else 5
FLIPS = 50 if SOAK else 1
"""In each sector."""
ROOT = Path(__file__).parents[2]


@dataclass
class Child:
    """A process with a machine, whose files are kept in a disk; it is killed in the middle of a request."""

    disk: Path

    def __enter__(self) -> Self:
        line = [sys.executable, "-m", "tests.support.filesprocess", str(self.disk)]
        self._process = subprocess.Popen(
            line, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        return self

    def __exit__(self, *_: object) -> None:
        self._process.kill()
        self._process.communicate(timeout=PATIENCE)

    def _send(self, asked: list[str]) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(asked) + "\n")
        self._process.stdin.flush()

    def _answer(self) -> Any:
        assert self._process.stdout is not None
        return json.loads(self._process.stdout.readline())

    def tree(self) -> dict[str, bytes]:
        self._send([])
        return {name: bytes.fromhex(content) for name, content in self._answer().items()}

    def put(self, name: str, content: bytes) -> None:
        self.begin(name, content)
        assert self._answer() == "made"

    def begin(self, name: str, content: bytes) -> None:
        """Ask for a file, and wait for nothing."""
        self._send([name, content.hex()])


Tree = dict[str, bytes | int | None]


@dataclass
class Stored:
    """What a disk had before, what it has now, what is read of it when all files are, and what they are."""

    server: Server
    tree: Tree
    old: dict[int, bytes]
    content: dict[int, bytes]
    read: frozenset[int]

    def check(self, content: dict[int, bytes], *, noticed: bool) -> None:
        """All files are right on a disk with this content; or there is an error, and none is wrong."""
        use(self.server.machine, Recorder(content))
        self.server.restart()
        files = Files(self.server.machine)
        found = files.tree()
        files.puppet.destroy()
        if not noticed:
            assert found == self.tree
            return
        values = [found] if isinstance(found, int) else list(found.values())
        assert EIO in values
        if isinstance(found, dict):
            assert all(self.tree[name] == value for name, value in found.items() if value != EIO)


class TestOutliving:
    def test_the_server(self, files: Files, server: Server):
        files.mkdir("/d")
        files.put("/d/a", b"kept")
        server.restart()
        assert files.tree() == {"/d": None, "/d/a": b"kept"}

    def test_a_caller_that_is_destroyed_in_the_middle(self, files: Files, server: Server, disk: Recorder):
        """Wherever the server is then: what it had answered stays, and so do the files of others."""
        files.put("/kept", b"kept")
        descriptor = files.open("/kept")
        for number in range(7):
            other = Files(server.machine)
            opened = other.open("/torn", O_WRONLY | O_CREAT)
            before = len(disk.writes)
            request = struct.pack("<ii", opened, 20000) + bytes(20000)
            other.puppet.begin(WRITE, request, 5 * REGION)
            until(lambda: len(disk.writes) > before + number)  # noqa: B023 - it is called now
            other.puppet.destroy()
            assert files.read(descriptor, 4) == b"kept"
            files.seek(descriptor, 0)
        assert files.content("/kept") == b"kept"
        torn = files.content("/torn")
        assert isinstance(torn, bytes)
        assert len(torn) in (0, 20000), "one request is whole or not there"

    def test_a_crash_between_any_two_sectors(self, files: Files, server: Server, disk: Recorder):
        """At each moment the disk has all that was answered, and of the next request all or nothing."""
        trees: list[tuple[int, object]] = [(0, {})]

        def done() -> None:
            trees.append((len(disk.writes), files.tree()))

        files.mkdir("/d")
        done()
        descriptor = files.open("/d/a", O_RDWR | O_CREAT)
        done()
        for size in (10, 3000, 9000):
            files.write(descriptor, bytes([size % 251]) * size)
            done()
        files.rename("/d/a", "/b")
        done()
        files.unlink("/d")
        done()
        writes = list(disk.writes)
        for count in range(len(writes) + 1):
            use(server.machine, Recorder(after(writes[:count])))
            server.restart()
            answered = max(n for n, (written, _) in enumerate(trees) if written <= count)
            possible = [tree for _, tree in trees[answered : answered + 2]]
            assert Files(server.machine).tree() in possible, count

    def test_a_disk_that_refuses(self, files: Files, disk: Recorder):
        """What cannot be stored is an error, and afterwards everything is as it was before."""
        files.put("/a", b"before")
        descriptor = files.open("/a", O_WRONLY)
        disk.refuses = True
        assert files.write(descriptor, b"after!") == EIO
        disk.refuses = False
        assert files.content("/a") == b"before"
        assert files.write(descriptor, b"after!") == 6
        assert files.content("/a") == b"after!"

    @pytest.mark.slow
    def test_a_disk_that_is_full_of_files(self, files: Files):
        descriptor = files.open("/large", O_WRONLY | O_CREAT)
        piece = bytes(61000)
        sizes = set()
        for _ in range(400):
            sizes.add(files.write(descriptor, piece))
            if min(sizes) < 0:
                break
        assert sizes == {len(piece), ENOSPC}
        files.close(descriptor)
        assert files.unlink("/large") == 0
        files.put("/small", b"there is room again")
        assert files.content("/small") == b"there is room again"


@pytest.mark.soak
class TestKilled:
    def test_nothing_that_was_answered_is_lost(self, tmp_path: Path):
        """The process with the machine is killed (-9) at any moment, again and again."""
        chance = random.Random(5)
        model: dict[str, bytes] = {}
        name, unanswered = "/0", b""
        for _ in range(KILLS):
            with Child(tmp_path / "disk") as child:
                tree = child.tree()
                assert tree | {name: b""} == model | {name: b""}
                assert tree.get(name, b"") in (model.get(name, b""), b"", unanswered)
                model = tree
                for _ in range(chance.randrange(1, 6)):
                    name, content = f"/{chance.randrange(9)}", chance.randbytes(chance.randrange(9000))
                    child.put(name, content)
                    model[name] = content
                name, unanswered = f"/{chance.randrange(9)}", chance.randbytes(chance.randrange(60000))
                child.begin(name, unanswered)


class TestChanged:
    """Somebody changes the disk while the server is away."""

    @pytest.fixture
    def stored(self, files: Files, server: Server, disk: Recorder) -> Stored:
        chance = random.Random(3)
        for name, size in (("/small", 20), ("/middle", 3000), ("/large", 30000)):
            files.put(name, chance.randbytes(size))
        old = dict(disk.content)
        files.put("/small", chance.randbytes(21))
        files.put("/large", chance.randbytes(30000))
        disk.reads.clear()
        server.restart()
        tree = Files(server.machine).tree()
        return Stored(server, tree, old, dict(disk.content), frozenset(disk.reads))

    @pytest.mark.soak
    def test_any_flipped_bit_is_noticed(self, stored: Stored):
        """In all that the server reads; what it does not read changes nothing."""
        chance = random.Random(11)
        for sector in sorted(stored.content):
            for _ in range(FLIPS):
                data = bytearray(stored.content[sector])
                data[chance.randrange(SECTOR)] ^= 1 << chance.randrange(8)
                stored.check(stored.content | {sector: bytes(data)}, noticed=sector in stored.read)

    def test_swapped_blocks_are_noticed(self, stored: Stored):
        chance = random.Random(12)
        for _ in range(10):
            one, two = chance.sample(sorted(stored.read & stored.content.keys() - {0}), 2)  # 0 is as 1
            swapped = {one: stored.content[two], two: stored.content[one]}
            stored.check(stored.content | swapped, noticed=True)

    def test_old_blocks_are_noticed(self, stored: Stored):
        older = [n for n in stored.read if n in stored.old and stored.old[n] != stored.content[n]]
        assert len(older) > 3, "roots, map, and blocks"
        for sector in older:
            stored.check(stored.content | {sector: stored.old[sector]}, noticed=True)

    def test_lost_blocks_are_noticed(self, stored: Stored):
        for sector in sorted(stored.read & stored.content.keys()):
            stored.check(stored.content | {sector: bytes(SECTOR)}, noticed=True)

    def test_nothing_on_the_disk_can_be_read(self, files: Files, disk: Recorder):
        files.put("/a-name-to-be-found", b"a text to be found" * 500)
        on_disk = b"".join(disk.content.values())
        assert b"a text to be" not in on_disk
        assert b"a-name" not in on_disk
        del disk.content[0]  # the root is there twice
        assert len(set(disk.content.values())) == len(disk.content), "equal blocks do not look equal"

    def test_another_server_cannot_open_it(self, files: Files, server: Server):
        """The key is that of the program: one with another measurement has another one."""
        files.put("/a", b"a")
        server.restart(stack_size=128 << 10)
        assert Files(server.machine).list("/") == EIO


@dataclass
class Held:
    """A descriptor of the model.  name: of its file, or None if that was removed."""

    descriptor: int
    name: str | None
    offset: int = 0


class Model:
    """What files should have, beside the server that has them; each operation is done with both."""

    def __init__(self, server: Server) -> None:
        self.server = server
        self.files = Files(server.machine)
        self.content: dict[str, bytes] = {}
        self.held: list[Held] = []

    def check(self) -> None:
        """The server has what the model has."""
        assert self.files.tree() == self.content

    def put(self, name: str, data: bytes) -> None:
        self.files.put(name, data)
        self.content[name] = data

    def restart(self, _name: str, _data: bytes) -> None:
        self.server.restart()
        self.held.clear()

    def unlink(self, name: str, _data: bytes) -> None:
        assert (self.files.unlink(name) == 0) == (self.content.pop(name, None) is not None)
        self._rename_held(name, None)

    def rename(self, name: str, data: bytes) -> None:
        new = f"/{len(data) % NAMES}"
        there = name in self.content
        assert (self.files.rename(name, new) == 0) == there
        if there and new != name:
            self.content[new] = self.content.pop(name)
            self._rename_held(new, None)
            self._rename_held(name, new)

    def hold(self, name: str, _data: bytes) -> None:
        """Open it, and keep it open."""
        descriptor = self.files.open(name, O_RDWR | O_CREAT)
        if len(self.held) == MOST_HELD:
            assert descriptor == EMFILE
            return
        assert descriptor >= 3
        self.content.setdefault(name, b"")
        self.held.append(Held(descriptor, name))

    def write(self, name: str, data: bytes) -> None:
        """By one of the descriptors, where it is."""
        if held := self._choose(name):
            done = self.files.write(held.descriptor, data)
            if held.name is None:
                assert done == EBADF
                return
            assert done == len(data)
            before, end = self.content[held.name], held.offset + len(data)
            if data:
                filled = before[: held.offset].ljust(held.offset, b"\0")
                self.content[held.name] = filled + data + before[end:]
            held.offset = end

    def read(self, name: str, data: bytes) -> None:
        if held := self._choose(name):
            found = self.files.read(held.descriptor, len(data))
            if held.name is None:
                assert found == EBADF
                return
            assert found == self.content[held.name][held.offset :][: len(data)]
            held.offset += len(found) if isinstance(found, bytes) else 0

    def seek(self, name: str, data: bytes) -> None:
        held = self._choose(name)
        if held and held.name is not None:
            assert self.files.seek(held.descriptor, len(data)) == len(data)
            held.offset = len(data)

    def resize(self, name: str, data: bytes) -> None:
        held = self._choose(name)
        if held and held.name is not None:
            assert self.files.resize(held.descriptor, len(data)) == 0
            self.content[held.name] = self.content[held.name][: len(data)].ljust(len(data), b"\0")

    def close(self, name: str, _data: bytes) -> None:
        if held := self._choose(name):
            assert self.files.close(held.descriptor) == 0
            self.held.remove(held)

    def _choose(self, name: str) -> Held | None:
        return self.held[int(name[1:]) % len(self.held)] if self.held else None

    def _rename_held(self, old: str, new: str | None) -> None:
        for held in self.held:
            if held.name == old:
                held.name = new


NAMES = 5
MOST_HELD = 100
OPERATIONS = (
    Model.put,
    Model.unlink,
    Model.rename,
    Model.hold,
    Model.write,
    Model.read,
    Model.seek,
    Model.resize,
    Model.close,
    Model.restart,
)


SCRIPTS = 1000 if SOAK else 15
LEAST = 10
"""Operations in a script: with `make soak` 10,000 are done at least, and counted."""


@pytest.mark.soak
def test_random_operations(server: Server):
    done = 0

    @settings(max_examples=SCRIPTS)
    @given(
        st.lists(
            st.tuples(
                st.sampled_from(OPERATIONS),
                st.integers(0, NAMES - 1),
                st.binary(max_size=9),
                st.sampled_from((1, 1, 70, 900)),
            ),
            min_size=LEAST,
            max_size=40,
        )
    )
    def play(script: list[tuple[Callable[..., None], int, bytes, int]]) -> None:
        nonlocal done
        use(server.machine, Recorder())
        server.restart()
        model = Model(server)
        for operation, number, data, times in script:
            operation(model, f"/{number}", data * times)
            model.check()
            done += 1
        model.restart("", b"")
        model.check()
        model.files.puppet.destroy()

    play()
    assert done >= SCRIPTS * LEAST
