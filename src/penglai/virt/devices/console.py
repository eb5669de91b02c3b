"""The virtio console: text in both directions, and the size of the terminal.

Source: Virtual I/O Device specification 1.2, section 5.3.
"""

import struct

from penglai.virt.devices.virtio import VirtioDevice
from penglai.virt.services import ConsolePort

RECEIVE = 0
TRANSMIT = 1
FEATURE_SIZE = 1

MAX_INPUT = 4096
"""Bytes that one buffer of the guest gets at most."""


class ConsoleFunction:
    """port: where text goes to, and where what was typed comes from."""

    device_id = 3
    features = FEATURE_SIZE
    queues = 2

    def __init__(self, port: ConsolePort) -> None:
        self._port = port
        self._size: tuple[int, int] | None = None

    def config(self) -> bytes:
        columns, rows = self._size or self._port.size
        return struct.pack("<HHII", columns, rows, 1, 0)

    def notified(self, device: VirtioDevice, queue: int) -> None:
        if queue == RECEIVE:
            self.poll(device)
            return
        while (chain := device.pop(TRANSMIT)) is not None:
            self._port.write(device.gather(chain))
            device.answer(TRANSMIT, chain)

    def poll(self, device: VirtioDevice) -> None:
        """See Function.  Linux looks at the size only when it has changed: so it has, at the beginning."""
        self._type(device)
        if self._port.size != self._size:
            self._size = self._port.size
            device.config_changed()

    def _type(self, device: VirtioDevice) -> None:
        """Hand on what was typed, as far as the guest has room for it."""
        while self._port.waiting and (chain := device.pop(RECEIVE)) is not None:
            device.answer(RECEIVE, chain, self._port.read(min(chain.room, MAX_INPUT)))

    def reset(self) -> None:
        self._size = None
