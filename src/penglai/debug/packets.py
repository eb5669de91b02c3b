"""Packets of gdb's remote protocol ("Debugging with GDB", appendix E): bytes to requests, and back.

Whatever comes is hostile: nothing here grows beyond one packet.
"""

from enum import Enum
from typing import Final

MOST_BYTES: Final = 4096
"""Of one packet between $ and #, in either direction."""

ESCAPE: Final = 0x7D
"""Before a byte that has another meaning, and is then sent with this bit changed:"""
ESCAPED: Final = 0x20


class Signal(Enum):
    """What is no packet."""

    INTERRUPT = "interrupt"
    """Ctrl-C in gdb."""
    AGAIN = "again"
    """The answer was damaged on its way."""
    DAMAGED = "damaged"
    """A packet came whose sum is wrong."""


class ProtocolError(Exception):
    """What comes is not the protocol: there is no point in going on."""


Request = bytes | Signal


class Reader:
    """Takes bytes as they come, and gives requests."""

    def __init__(self) -> None:
        self._packet: bytearray | None = None
        self._sum: bytes | None = None

    def feed(self, data: bytes) -> list[Request]:
        """The requests that are complete with this.  Raises ProtocolError for a packet that is too long."""
        found = []
        for byte in data:
            request = self._one(byte)
            if request is not None:
                found.append(request)
        return found

    def _one(self, byte: int) -> Request | None:
        if self._sum is not None:
            return self._in_sum(byte)
        if self._packet is not None:
            self._in_packet(byte)
            return None
        if byte == ord("$"):
            self._packet = bytearray()
        return {0x03: Signal.INTERRUPT, ord("-"): Signal.AGAIN}.get(byte)

    def _in_packet(self, byte: int) -> None:
        assert self._packet is not None
        if byte == ord("#"):
            self._sum = b""
        elif byte == ord("$"):  # the last one was cut off
            self._packet.clear()
        else:
            self._packet.append(byte)
            if len(self._packet) > MOST_BYTES:
                raise ProtocolError(f"a packet of more than {MOST_BYTES} bytes")

    def _in_sum(self, byte: int) -> Request | None:
        assert self._packet is not None
        assert self._sum is not None
        self._sum += bytes([byte])
        if len(self._sum) < 2:
            return None
        packet, given = bytes(self._packet), self._sum
        self._packet = self._sum = None
        return packet if given.lower() == checksum(packet) else Signal.DAMAGED


def checksum(packet: bytes) -> bytes:
    """The two digits behind a packet."""
    return b"%02x" % (sum(packet) & 0xFF)


def framed(answer: bytes) -> bytes:
    """An answer as it is sent."""
    return b"$" + answer + b"#" + checksum(answer)


def escaped(data: bytes) -> bytes:
    """Bytes of any kind, as answers have them."""
    out = bytearray()
    for byte in data:
        if byte in b"$#}*":
            out += bytes([ESCAPE, byte ^ ESCAPED])
        else:
            out.append(byte)
    return bytes(out)


def unescaped(data: bytes) -> bytes:
    """The bytes that a packet has."""
    out, turned = bytearray(), 0
    for byte in data:
        if byte == ESCAPE and not turned:
            turned = ESCAPED
        else:
            out.append(byte ^ turned)
            turned = 0
    return bytes(out)
