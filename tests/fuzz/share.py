"""Messages to the server of the shared directory, from a client that has lost its mind."""

import functools
import os
import shutil
import tempfile
from pathlib import Path

from penglai.machine.devices.share import wire
from penglai.machine.devices.share.server import CALLS, VERSION, Server
from penglai.machine.devices.share.tree import NO_FID
from tests.fuzz.choices import Choices

TITLE = "messages to the share's file server"

NAMES = (b"a", b"b", b"d", b"link", b"..", b".", b"", b"a/b", b"../secret", b"\0", b"x" * 300, b"\xff", b"/")
TARGETS = (b"a", b"../secret", b"/etc/passwd", b"..", b"", b"d/../..", b"link")
FLAGS = (0, 1, 2, 0o100, 0o1000, 0o2000, 0o200000, 0o100 | 2, 0o4000, 0o400000, 0o20000000, 0xFFFFFFFF)
MODES = (0o644, 0o755, 0o4755, 0o40755, 0o100644, 0o20644, 0o120777, 0o140755, 0, 0xFFFFFFFF)
PLACES = (0, 1, 4096, 1 << 20)
FIDS = 4
MOST_CALLS = 24
SECRET = b"nobody in the guest reads this"


class Place:
    """A directory with a share in it, and a secret beside the share."""

    def __init__(self) -> None:
        self.top = Path(tempfile.mkdtemp(prefix="penglai-fuzz-"))
        self.directory = self.top / "share"
        self.secret = self.top / "secret"
        self.secret.write_bytes(SECRET)
        self.secret.chmod(0o600)
        self.before = self.secret.stat()

    def empty(self) -> None:
        """The share as it is in the beginning."""
        if self.directory.exists():
            for directory, _, _ in os.walk(self.directory):
                Path(directory).chmod(0o700)
            shutil.rmtree(self.directory)
        (self.directory / "d").mkdir(parents=True)
        (self.directory / "a").write_bytes(b"content of a")
        (self.directory / "out").symlink_to("../secret")
        (self.directory / "up").symlink_to("..")

    def check(self) -> None:
        """Outside the share nothing has changed."""
        assert {path.name for path in self.top.iterdir()} == {"secret", "share"}
        now = self.secret.stat()
        assert (now.st_mode, now.st_size, now.st_nlink, now.st_mtime_ns) == (
            self.before.st_mode,
            len(SECRET),
            1,
            self.before.st_mtime_ns,
        )

    def remove(self) -> None:
        self.empty()
        shutil.rmtree(self.top)


@functools.cache
def place() -> Place:
    """One for all cases."""
    return Place()


def fresh() -> None:
    if place.cache_info().currsize:
        place().remove()
        place.cache_clear()


def one(data: bytes) -> None:
    """Every message is answered, and nothing outside the directory is seen or changed."""
    choices = Choices(data)
    where = place()
    where.empty()
    server = Server(where.directory, read_only=not choices.below(8))
    descriptors = open_files()
    try:
        if choices.below(8):
            send(server, 100, wire.pack("ds", 1 << choices.pick((12, 13, 16, 19, 20)), VERSION))
            send(server, 104, wire.pack("ddssd", 0, NO_FID, b"", b"", 0))
        for _ in range(MOST_CALLS):
            if not choices.left:
                break
            call = choices.pick(CALLS)
            body = choices.text() if not choices.below(16) else fields(call.layout, choices)
            send(server, call.number if choices.below(32) else choices.number(1), body)
        server.reset()
        assert open_files() == descriptors, "a descriptor has leaked"
    finally:
        server.close()
    where.check()


def open_files() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


def send(server: Server, number: int, body: bytes) -> None:
    message = wire.message(number, 7, body)
    answer = server.answer(message)
    size, kind, tag = wire.HEADER.unpack_from(answer)
    assert size == len(answer)
    assert kind in (wire.RLERROR, number + 1)
    assert tag == 7
    assert SECRET not in answer


def fields(layout: str, choices: Choices) -> bytes:
    """A body of this layout, of numbers and names that may be good for something."""
    found = b""
    for letter in layout:
        if letter == "s":
            name = choices.pick((*NAMES, *TARGETS, choices.text()))
            found += wire.pack("s", name)
        elif letter == "W":
            names = [choices.pick(NAMES) for _ in range(choices.below(5))]
            found += wire.pack("h" + "s" * len(names), len(names), *names)
        elif letter == "D":
            found += wire.pack("D", choices.text())
        elif letter == "A":
            found += choices.number(1).to_bytes(4, "little") + choices.pick(MODES).to_bytes(4, "little")
            found += bytes(8) + choices.word(PLACES).to_bytes(8, "little")
            found += b"".join(choices.word((0, 10**9)).to_bytes(8, "little") for _ in range(4))
        elif letter == "q":
            found += choices.word(PLACES).to_bytes(8, "little")
        elif letter == "d":
            kind = choices.below(8)
            number = choices.below(FIDS) if kind < 5 else choices.pick((*FLAGS, *MODES, NO_FID))
            found += number.to_bytes(4, "little")
        else:
            found += choices.take(1 if letter == "b" else 2).ljust(1 if letter == "b" else 2, b"\0")
    return found
