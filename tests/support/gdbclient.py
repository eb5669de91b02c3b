"""gdb's side of its remote protocol, in a few lines."""

import socket
from types import TracebackType
from typing import Self

from penglai.debug.packets import framed, unescaped
from tests.support.waiting import PATIENCE


class GdbClient:
    """Connected to a stub; every request waits for its answer."""

    def __init__(self, address: str) -> None:
        host, _, port = address.rpartition(":")
        unix = "/" in address
        self.socket = socket.socket(socket.AF_UNIX if unix else socket.AF_INET)
        self.socket.settimeout(PATIENCE)
        self.socket.connect(address if unix else (host, int(port)))
        self._rest = b""
        assert self.ask("QStartNoAckMode") == "OK"
        self._acknowledge = False

    _acknowledge = True

    def send(self, packet: bytes | str) -> None:
        self.socket.sendall(framed(packet.encode() if isinstance(packet, str) else packet))

    def receive(self) -> bytes:
        """The next packet, unescaped; b"" too if the stub has closed the connection."""
        while b"#" not in self._rest[:-2]:
            more = self.socket.recv(4096)
            if not more:
                return b""
            self._rest += more
        packet, _, rest = self._rest.partition(b"#")
        self._rest = rest[2:]
        if self._acknowledge:
            self.socket.sendall(b"+")
        return unescaped(packet.lstrip(b"+").removeprefix(b"$"))

    def ask(self, packet: bytes | str) -> str:
        self.send(packet)
        return self.receive().decode("latin-1")

    def register(self, number: int) -> int:
        return int.from_bytes(bytes.fromhex(self.ask(f"p{number:x}")), "little")

    @property
    def pc(self) -> int:
        return self.register(32)

    def memory(self, address: int, size: int) -> bytes:
        return bytes.fromhex(self.ask(f"m{address:x},{size:x}"))

    def interrupt(self) -> None:
        self.socket.sendall(b"\x03")

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.socket.close()
