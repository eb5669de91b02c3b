"""Messages to the server of the shared directory, from a client that has lost its mind."""

import functools
import os
import shutil
import struct
import tempfile
from pathlib import Path

from penglai.virt.devices.share import wire
from penglai.virt.devices.share.server import CALLS, VERSION, Call, Server
from penglai.virt.devices.share.tree import NO_FID
from tests.fuzz.choices import Choices

TITLE = "messages to the share's file server"

NAMES = (
    b"out",
    b"up",
    b"a",
    b"b",
    b"d",
    b"link",
    b"..",
    b".",
    b"",
    b"a/b",
    b"../secret",
    b"\0",
    b"x" * 300,
    b"\xff",
    b"/",
)
TARGETS = (b"a", b"../secret", b"/dev/null", b"..", b"", b"d/../..", b"link")
FLAGS = (0, 1, 2, 0o100, 0o1000, 0o2000, 0o200000, 0o100 | 2, 0o4000, 0o400000, 0o20000000, 0xFFFFFFFF)
MODES = (0o644, 0o755, 0o4755, 0o40755, 0o100644, 0o20644, 0o120777, 0o140755, 0, 0xFFFFFFFF)
PLACES = (0, 1, 4096, 1 << 20)
FIDS = 4
MOST_CALLS = 24
SECRET = b"nobody in the guest reads this"


class Place:
    """A directory with a share in it, and a secret beside the share.

    It lies so deep that whoever finds a way out of the share does no harm to the machine on which this runs.
    """

    def __init__(self) -> None:
        self.top = Path(tempfile.mkdtemp(prefix="penglai-fuzz-"))
        above = self.top / "above" / "it"
        above.mkdir(parents=True)
        self.directory, self.secret = above / "share", above / "secret"
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
        outside = {path.name for depth in ("*", "*/*", "*/*/*") for path in self.top.glob(depth)}
        assert outside == {"above", "it", "secret", "share"}
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
    server = Server(where.directory, read_only=choices.rarely(8))
    descriptors = open_files()
    try:
        if not choices.rarely(8):
            send(server, 100, wire.pack("ds", 1 << choices.pick((12, 13, 16, 19, 20)), VERSION))
            send(server, 104, wire.pack("ddssd", 0, NO_FID, b"", b"", 0))
        for _ in range(MOST_CALLS):
            if not choices.left:
                break
            call = choices.pick(CALLS)
            body = choices.text() if choices.rarely(16) else fields(call, choices)
            send(server, choices.number(1) if choices.rarely(32) else call.number, body)
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


ROLES = {
    "lopen": "fo",
    "lcreate": "f.omz",
    "mknod": "f.mzzz",
    "mkdir": "f.mz",
    "walk": "ff.",
    "link": "ff.",
    "rename": "ff.",
    "renameat": "f.f.",
    "unlinkat": "f.u",
    "readdir": "f.n",
    "read": "f.n",
    "version": "n.",
}
"""What numbers of 4 bytes in a message mean: f a handle, o flags, m a mode, u flags of unlink, n bytes."""


def fields(call: Call, choices: Choices) -> bytes:
    """A body of the call's layout, of numbers and names that may be good for something."""
    roles = ROLES.get(call.name, "f").ljust(len(call.layout), "z")
    return b"".join(_field(letter, role, choices) for letter, role in zip(call.layout, roles, strict=True))


def _field(letter: str, role: str, choices: Choices) -> bytes:
    if letter in "bh":
        size = 1 if letter == "b" else 2
        return choices.take(size).ljust(size, b"\0")
    if letter == "d":
        return wire.pack("d", choices.number(4) if choices.rarely(16) else _number(role, choices))
    return _FIELDS[letter](choices)


def _names(choices: Choices) -> bytes:
    names = [choices.pick(NAMES) for _ in range(choices.below(4))]
    return wire.pack("h" + "s" * len(names), len(names), *names)


def _attributes(choices: Choices) -> bytes:
    head = struct.pack("<IIII", choices.number(1), choices.pick(MODES), 0, 0)
    return head + b"".join(wire.pack("q", choices.word(good)) for good in (PLACES, *[(0, 10**9)] * 4))


def _name(choices: Choices) -> bytes:
    return wire.pack("s", choices.text() if choices.rarely(8) else choices.pick((*NAMES, *TARGETS)))


_FIELDS = {
    "s": _name,
    "W": _names,
    "A": _attributes,
    "D": lambda choices: wire.pack("D", choices.text()),
    "q": lambda choices: wire.pack("q", choices.word(PLACES)),
}


def _number(role: str, choices: Choices) -> int:
    if role == "f":
        return choices.below(FIDS)
    numbers = {"o": FLAGS, "m": MODES, "u": (0, 0x200, 1), "n": (4096, 8192, 24, 0, 1 << 31)}
    return choices.pick(numbers.get(role, (0, 1, NO_FID)))
