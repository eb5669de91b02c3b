"""Finisher, clock, and the bus in front of all devices."""

import pytest

from penglai.virt.devices.bus import Bus
from penglai.virt.devices.finisher import Finish, Finisher
from penglai.virt.devices.rtc import Rtc


@pytest.mark.parametrize(
    ("size", "value", "finish"),
    [
        (4, 0x5555, Finish(0)),
        (4, 7 << 16 | 0x3333, Finish(7)),
        (4, 0xFFFF_3333, Finish(0xFFFF)),
        (2, 0x3333, Finish(0)),
        (4, 0x7777, Finish(0, again=True)),
        (4, 0x1234, None),
        (1, 0x55, None),
    ],
)
def test_the_finisher_tells_how_it_ended(size: int, value: int, finish: Finish | None):
    device = Finisher()
    device.store(0, size, value)
    assert device.finish == finish
    assert device.load(0, 4) == 0


def test_the_finisher_has_one_register():
    device = Finisher()
    device.store(4, 4, 0x5555)
    assert device.finish is None


def test_the_time_of_day_is_read_in_two_halves_that_belong_together():
    times = iter([0x1_FFFF_FFFF, 0x2_0000_0000])
    device = Rtc(lambda: next(times))
    low = device.load(0, 4)
    assert device.load(4, 4) << 32 | low == 0x1_FFFF_FFFF
    assert device.load(0, 4) == 0
    assert device.load(4, 4) == 2
    assert device.load(8, 4) == 0


def test_an_address_finds_its_device_or_none():
    bus, first, second = Bus(), Finisher(), Finisher()
    bus.add(0x2000, 0x1000, second)
    bus.add(0x1000, 0x10, first)
    assert [bus.find(at, 4) for at in (0xFFF, 0x1010, 0x3000)] == [None] * 3
    found = bus.find(0x100C, 4)
    assert found is not None
    assert found.device is first
    assert bus.find(0x100E, 4) is None, "not half an access"
    found = bus.find(0x2FF8, 8)
    assert found is not None
    assert found.device is second
