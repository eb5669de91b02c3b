"""The virtio console, on a port in memory."""

import struct

from tests.support.virtqueue import WRITE, Driver

from penglai.virt.devices.console import ConsoleFunction

RECEIVE, TRANSMIT = 0, 1


class Port:
    """A console that remembers."""

    def __init__(self) -> None:
        self.shown = bytearray()
        self.typed = bytearray()
        self.size = (80, 24)

    def write(self, data: bytes) -> None:
        self.shown += data

    def read(self, limit: int) -> bytes:
        data = bytes(self.typed[:limit])
        del self.typed[:limit]
        return data

    @property
    def waiting(self) -> bool:
        return bool(self.typed)


def make() -> tuple[Port, Driver]:
    port = Port()
    return port, Driver(ConsoleFunction(port))


def test_what_the_guest_writes_is_shown():
    port, driver = make()
    driver.send(TRANSMIT, b"hello ")
    driver.send(TRANSMIT, bytes(range(256)))
    assert port.shown == b"hello " + bytes(range(256))


def test_what_is_typed_waits_until_the_guest_has_a_buffer():
    port, driver = make()
    port.typed += b"abcdef"
    driver.device.poll()
    target = driver.page()
    driver.describe(RECEIVE, 0, target, 4, WRITE)
    driver.post(RECEIVE, 0)
    assert driver.used(RECEIVE) == (0, 4)
    assert driver.memory.read(target, 4) == b"abcd"
    driver.post(RECEIVE, 0)
    assert driver.used(RECEIVE) == (0, 2)
    assert driver.memory.read(target, 2) == b"ef"
    driver.post(RECEIVE, 0)
    assert driver.used(RECEIVE) is None, "nothing is typed: the buffer waits"
    port.typed += b"x"
    driver.device.poll()
    assert driver.used(RECEIVE) == (0, 1)


def test_nothing_is_lost_before_there_is_a_driver():
    port, driver = make()
    driver.device.store(0x70, 4, 0)
    port.typed += b"early"
    driver.device.poll()
    assert port.typed == b"early"


def test_the_guest_learns_of_the_terminals_size():
    port, driver = make()

    def size() -> tuple[int, int]:
        raw = bytes(driver.device.load(0x100 + n, 1) for n in range(4))
        columns, rows = struct.unpack("<HH", raw)
        return columns, rows

    assert size() == (80, 24)
    driver.device.poll()
    assert driver.acknowledge() == 2, "Linux asks only when it is told of a change"
    driver.device.poll()
    assert driver.acknowledge() == 0
    before = driver.device.load(0xFC, 4)
    port.size = (132, 50)
    driver.device.poll()
    assert size() == (132, 50)
    assert driver.device.load(0xFC, 4) != before
    assert driver.acknowledge() == 2
