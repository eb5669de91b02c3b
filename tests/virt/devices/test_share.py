"""A shared directory: the connection, every message of 9P2000.L, its layouts and limits."""

import errno
import resource
import struct
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.support.ninep import (
    NO_FID,
    RDWR,
    SIZE,
    Client,
    frame,
    held,
    refused,
    text,
)

from penglai.virt.devices.share import wire
from penglai.virt.devices.share.server import CALLS, MAX_MSIZE, MIN_MSIZE, Server
from penglai.virt.devices.share.tree import MAX_FIDS

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
