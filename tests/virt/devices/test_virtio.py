"""The transport: registers, queues, and what a hostile driver puts into them."""

import struct

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.support.examples import examples
from tests.support.virtqueue import NEXT, QUEUE_SIZE, WRITE, Driver

from penglai.abi.riscv import PAGE_SIZE, RAM_BASE
from penglai.virt.devices.virtio import STATUS_NEEDS_RESET, VirtioDevice

NEEDS_RESET = STATUS_NEEDS_RESET


class Echo:
    """Answers each request with its own bytes, backwards."""

    device_id = 42
    features = 1 << 5
    queues = 2

    def __init__(self) -> None:
        self.seen: list[bytes] = []
        self.resets = 0

    def config(self) -> bytes:
        return b"configuration"

    def notified(self, device: VirtioDevice, queue: int) -> None:
        while (chain := device.pop(queue)) is not None:
            data = device.gather(chain)
            self.seen.append(data)
            device.answer(queue, chain, data[::-1][: chain.room])

    def poll(self, device: VirtioDevice) -> None:
        self.notified(device, 0)

    def reset(self) -> None:
        self.resets += 1


@pytest.fixture
def driver() -> Driver:
    return Driver(Echo())


def test_a_driver_finds_what_the_device_is(driver: Driver):
    load = driver.device.load
    assert [load(offset, 4) for offset in (0x00, 0x04, 0x08)] == [0x74726976, 2, 42]
    driver.device.store(0x14, 4, 0)
    assert load(0x10, 4) == 1 << 5
    driver.device.store(0x14, 4, 1)
    assert load(0x10, 4) == 1, "a device of virtio 1"
    driver.device.store(0x14, 4, 2)
    assert load(0x10, 4) == 0
    assert bytes(load(0x100 + n, 1) for n in range(14)) == b"configuration\0"
    assert load(0x102, 4) == int.from_bytes(b"nfig", "little")


def test_a_request_of_several_buffers_goes_there_and_back(driver: Driver):
    source, target = driver.page(), driver.page()
    driver.memory.write(source, b"hello, world")
    driver.describe(0, 0, source, 5, NEXT, 3)
    driver.describe(0, 3, source + 5, 7, NEXT, 1)
    driver.describe(0, 1, target, 4, NEXT | WRITE, 2)
    driver.describe(0, 2, target + 100, 50, WRITE)
    driver.post(0, 0)
    assert driver.used(0) == (0, 12)
    assert driver.memory.read(target, 4) + driver.memory.read(target + 100, 8) == b"dlrow ,olleh"
    assert driver.line[-1] is True
    assert driver.acknowledge() == 1
    assert driver.line[-1] is False
    assert (target, 4) in driver.written, "code that was translated from there is forgotten"


def test_a_queue_goes_round_its_ring_many_times(driver: Driver):
    for number in range(5 * QUEUE_SIZE):
        driver.send(1, b"%d" % number)
    assert driver.function.seen == [b"%d" % number for number in range(5 * QUEUE_SIZE)]


def test_a_reset_forgets_everything(driver: Driver):
    driver.send(0, b"x")
    driver.device.store(0x70, 4, 0)
    assert driver.function.resets == 2
    assert driver.device.load(0x70, 4) == 0
    assert driver.line[-1] is False
    driver.post(0, 0)
    assert driver.function.seen == [b"x"], "a device without a driver does nothing"
    driver.start()
    driver.send(0, b"y")
    assert driver.function.seen == [b"x", b"y"]


BAD = {
    "a descriptor that is none": lambda d: d.post(0, QUEUE_SIZE),
    "a chain to nowhere": lambda d: (d.describe(0, 0, RAM_BASE, 1, NEXT, 999), d.post(0, 0)),
    "a loop": lambda d: (d.describe(0, 0, RAM_BASE, 1, NEXT, 0), d.post(0, 0)),
    "an indirect one": lambda d: (d.describe(0, 0, RAM_BASE, 16, 4), d.post(0, 0)),
    "too much": lambda d: (d.describe(0, 0, RAM_BASE, 0xFFFF_FFFF, 0), d.post(0, 0)),
    "nowhere": lambda d: (d.describe(0, 0, 0x1000, 16, 0), d.post(0, 0)),
    "beyond RAM": lambda d: (d.describe(0, 0, (1 << 64) - 8, 16, 0), d.post(0, 0)),
    "readable behind writable": lambda d: (
        d.describe(0, 0, RAM_BASE, 1, NEXT | WRITE, 1),
        d.describe(0, 1, RAM_BASE, 1, 0),
        d.post(0, 0),
    ),
}


@pytest.mark.parametrize("name", BAD)
def test_a_broken_queue_stops_the_device_until_it_is_reset(driver: Driver, name: str):
    BAD[name](driver)
    assert driver.device.load(0x70, 4) & NEEDS_RESET
    assert driver.acknowledge() & 2, "the driver is told"
    assert driver.function.seen == []
    driver.start()
    driver.send(0, b"well again")
    assert driver.function.seen == [b"well again"]


@pytest.mark.parametrize("size", [0, 3, 512])
def test_a_queue_has_a_power_of_two_of_entries(driver: Driver, size: int):
    driver.device.store(0x70, 4, 0)
    driver.device.store(0x30, 4, 0)
    driver.device.store(0x38, 4, size)
    driver.device.store(0x44, 4, 1)
    assert driver.device.load(0x44, 4) == 0
    assert driver.device.load(0x70, 4) & NEEDS_RESET


@pytest.mark.parametrize("part", ["source", "target", "desc", "avail", "used"])
def test_a_device_reaches_no_page_that_the_host_may_not_see(driver: Driver, part: str):
    """DMA is the host's: a driver that points the device at secure memory gets nothing out, nothing in."""
    source, target = driver.page(), driver.page()
    driver.memory.write(source, b"secret")
    driver.describe(0, 0, source, 6, NEXT, 1)
    driver.describe(0, 1, target, 6, WRITE)
    rings = driver.rings[0]
    hidden = {
        "source": source,
        "target": target,
        "desc": rings.desc,
        "avail": rings.avail,
        "used": rings.used,
    }
    before = driver.memory.read(hidden[part], PAGE_SIZE)
    driver.post(0, 0, bell=False)
    if part == "avail":
        before = driver.memory.read(hidden[part], PAGE_SIZE)
    with driver.memory.lock:
        driver.memory.show(np.array([driver.memory.page_of(hidden[part])]), visible=False)
    driver.device.store(0x50, 4, 0)
    assert driver.device.load(0x70, 4) & NEEDS_RESET
    assert driver.memory.read(hidden[part], PAGE_SIZE) == before
    assert driver.memory.read(target, 6) != b"terces" or part == "used"


@settings(max_examples=examples(200))
@given(
    st.lists(
        st.tuples(
            st.sampled_from([*range(0, 0x110, 4)]), st.sampled_from([1, 2, 4, 8]), st.integers(0, 1 << 32)
        ),
        max_size=40,
    ),
    st.binary(max_size=256),
)
def test_no_driver_can_make_it_fail(stores: list[tuple[int, int, int]], rings: bytes):
    driver = Driver(Echo())
    driver.memory.write(driver.rings[0].desc, rings)
    for offset, size, value in stores:
        driver.device.store(offset, size, value)
        driver.device.load(offset, size)
    driver.post(0, 0)
    driver.memory.close()


@pytest.mark.parametrize("ahead", [QUEUE_SIZE + 1, 40_000, 0xFFFF])
def test_a_queue_that_claims_more_requests_than_it_holds_is_broken(driver: Driver, ahead: int):
    """Not one of them is served: 65,535 of them would keep the machine busy for seconds."""
    place = driver.page()
    driver.describe(1, 0, place, 4, 0)
    driver.memory.write(driver.rings[1].avail + 2, struct.pack("<H", ahead))
    driver.device.store(0x50, 4, 1)
    assert driver.device.load(0x70, 4) & NEEDS_RESET
    assert driver.used(1) is None
