"""A shared directory as a virtio device: what the queue makes of the messages."""

import errno
import os
import struct
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.support.ninep import (
    Carrier,
    Client,
    frame,
    held,
    refused,
)
from tests.support.virtqueue import NEXT, WRITE, Driver

from penglai.abi.errors import BadArgumentError
from penglai.virt.devices.share import ShareFunction
from penglai.virt.devices.share.server import MAX_MSIZE


@pytest.fixture
def carrier(share: Path) -> Iterator[Carrier]:
    function = ShareFunction(share)
    yield Carrier(function)
    function.close()


def test_a_driver_finds_the_share_by_its_tag(share: Path):
    driver = Driver(ShareFunction(share, "my-files"))
    load = driver.device.load
    assert load(0x08, 4) == 9
    driver.device.store(0x14, 4, 0)
    assert load(0x10, 4) == 1
    assert load(0x100, 2) == 8
    assert bytes(load(0x102 + n, 1) for n in range(9)) == b"my-files\0"


@pytest.mark.parametrize("tag", ["", "x" * 256, "a\0b", "ä", "a\n"])
def test_a_tag_that_cannot_be_is_refused(share: Path, tag: str):
    with pytest.raises(BadArgumentError, match="is no tag"):
        ShareFunction(share, tag)


def test_what_is_no_directory_is_refused(tmp_path: Path):
    (tmp_path / "file").touch()
    for path in (tmp_path / "nothing", tmp_path / "file", Path("zero\0")):
        with pytest.raises(BadArgumentError, match="cannot share"):
            ShareFunction(path)


def test_files_go_through_the_queue_in_both_directions(carrier: Carrier, share: Path):
    client = Client.mounted(carrier)
    data = os.urandom(1 << 20)
    fid = client.at()
    _, unit = client.lcreate(fid, b"f")
    for place in range(0, len(data), unit):
        client.write(fid, place, data[place : place + unit])
    assert (share / "f").read_bytes() == data
    assert b"".join(client.read(fid, place, unit) for place in range(0, len(data), unit)) == data


def test_what_is_refused_fits_where_a_drivers_header_does(carrier: Carrier):
    Client.mounted(carrier)
    assert carrier(frame(116, struct.pack("<IQI", 77, 0, 4096)), room=11) == frame(
        7, struct.pack("<I", errno.EBADF)
    )


def test_an_answer_for_which_there_is_no_room_is_refused(carrier: Carrier):
    Client.mounted(carrier)
    assert carrier(frame(24, struct.pack("<IQ", 0, 0)), room=100) == frame(
        7, struct.pack("<I", errno.EMSGSIZE)
    )


@pytest.mark.parametrize(
    ("message", "room"),
    [(b"", 100), (frame(100, b"")[:6], 100), (frame(108, b"\0\0"), 10), (frame(108, b"\0\0"), 0)],
    ids=["nothing", "not even a header", "no room for an answer", "no room"],
)
def test_what_cannot_be_answered_breaks_the_queue(carrier: Carrier, message: bytes, room: int):
    assert carrier(message, room) == b""
    assert carrier.broken
    carrier.driver.start()
    Client.mounted(carrier)
    assert not carrier.broken


def test_a_message_longer_than_any_breaks_the_queue_unread(carrier: Carrier):
    carrier.driver.describe(0, 0, carrier.source, MAX_MSIZE + 1, NEXT, 1)
    carrier.driver.describe(0, 1, carrier.target, 100, WRITE)
    carrier.driver.post(0, 0)
    assert carrier.broken


def test_a_reset_closes_what_the_guest_had_open(carrier: Carrier, share: Path):
    client = Client.mounted(carrier)
    (share / "f").touch()
    for _ in range(5):
        client.opened("f")
    carrier.driver.device.store(0x70, 4, 0)
    assert held(share) == [str(share)]
    carrier.driver.start()
    with refused(errno.EPROTO):
        client.getattr(0)
    assert Client.mounted(carrier).getattr(0).nlink == share.stat().st_nlink


@pytest.mark.parametrize("how", ["closed", "forgotten"])
def test_nothing_stays_open_when_the_device_goes(share: Path, how: str):
    function = ShareFunction(share)
    carrier = Carrier(function)
    Client.mounted(carrier).at()
    assert len(held(share)) == 3
    if how == "closed":
        function.close()
        function.close()
        assert held(share) == []
        with refused(errno.EBADF):
            Client.mounted(carrier)
    del function, carrier
    assert held(share) == []
