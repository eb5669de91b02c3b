"""Connections that the host makes for a Linux program in an enclave: TCP, and only where the user says.

The enclave is hostile to the host: it chooses ports, addresses and numbers.  Whatever it says, others connect
to it only by ports that are published, and it connects only to what is named.  Nothing that it sends or reads
is kept here: what the kernel does not take at once, the enclave keeps.
"""

import contextlib
import ctypes
import select
import socket
import threading
from collections.abc import Callable, Iterable, Mapping
from errno import EAGAIN, EBADF, EBUSY, EINPROGRESS, EINVAL, ENETUNREACH, ENOTCONN
from ipaddress import IPv4Address
from typing import ClassVar, Final, Self

from penglai.abi.errors import BadArgumentError
from penglai.abi.question import CONNECTIONS, Peer, Question, Told, What
from penglai.abi.riscv import PAGE_SIZE
from penglai.driver.task import Buffer

DONE = 1
BACKLOG = 128
HOST_ADDRESS: Final = IPv4Address("10.0.2.2")
"""By which a program means this computer; 127.0.0.1 is inside the enclave."""
EVENTS_MOST = PAGE_SIZE // ctypes.sizeof(Told)
BROKEN = select.EPOLLHUP | select.EPOLLERR
LOOPBACK = "127.0.0.1"
PORTS = 1 << 16

Place = tuple[str, int]
"""An IPv4 address and a port."""


class Network:
    """What a run of a Linux program has of the network.

    publish: the port of this computer, by the port on which the program listens, on every address
    (0.0.0.0).  A number is one of 127.0.0.1; 0 takes one that is free, see `port`.  "ADDRESS:PORT" is one
    of that address.
    connect: "HOST:PORT" of each peer to which the program may connect, by its IPv4 address; this computer is
    10.0.2.2 for it.  Names of hosts are looked up here, now.

    For one run at a time.  Nothing of it is measured, and none of it is trusted: what comes in is as hostile
    as any network, and the host sees what goes out.  Raises BadArgumentError.
    """

    def __init__(self, publish: Mapping[int, int | str] | None = None, connect: Iterable[str] = ()) -> None:
        self._lock = threading.Lock()
        self._events = select.epoll()
        self._wanted: dict[int, int] = {}
        """Events that are waited for, by descriptor."""
        self._told: dict[int, tuple[int, bool]] = {}
        """Number and whether it is a port, by descriptor."""
        self._connections: dict[int, socket.socket] = {}
        self._ports: dict[int, socket.socket] = {}
        self._taken = False
        try:
            self._peers = dict(_peer(text) for text in connect)
            for port, place in (publish or {}).items():
                self._ports[_checked_port(port)] = _bound(place)
        except BaseException:
            self.close()
            raise

    def port(self, inside: int) -> int:
        """The port of this computer that leads to the program's.  Raises BadArgumentError if none does."""
        if inside not in self._ports:
            raise BadArgumentError(f"port {inside} is not published")
        return int(self._ports[inside].getsockname()[1])

    def close(self) -> None:
        """Give the ports back, and end all connections.  More than once does nothing."""
        if self._events.closed:
            return
        self.ended()
        for listener in self._ports.values():
            listener.close()
        self._ports.clear()
        self._events.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    # ---- the desk's ----------------------------------------------------------------------------

    def take(self) -> None:
        """Begin to serve a run.  Raises BadArgumentError if it serves one already."""
        with self._lock:
            if self._taken:
                raise BadArgumentError("this network serves another run: make one for each")
            self._taken = True

    def ended(self) -> None:
        """The run is over: nobody is connected any more, and nobody can connect."""
        with self._lock:
            for number in list(self._connections):
                self._drop(number)
            for listener in self._ports.values():
                self._forget(listener)
                _stop_listening(listener)
            self._taken = False

    def fileno(self) -> int:
        """A descriptor that can be read when READY has something to tell."""
        return self._events.fileno()

    def answer(self, question: int, argument: int, buffer: Buffer) -> int:
        """Answer a question about connections; see penglai.abi.question.Question."""
        with self._lock:
            try:
                return self._HANDLERS[question](self, argument, buffer)
            except OSError as error:
                return -(error.errno or EINVAL)

    def _listen(self, argument: int, _: Buffer) -> int:
        listener = self._listener(argument >> 1)
        if argument & 1:
            listener.listen(BACKLOG)
            self._want(listener, select.EPOLLIN, argument >> 1, is_port=True)
        else:
            self._forget(listener)
            _stop_listening(listener)
        return DONE

    def _accept(self, argument: int, buffer: Buffer) -> int:
        number, port = argument >> 16, argument & 0xFFFF
        listener = self._listener(port)
        self._check_free(number)
        try:
            connection, (address, peer_port) = listener.accept()
        except BlockingIOError:
            self._want(listener, select.EPOLLIN, port, is_port=True)
            raise
        self._keep(number, connection)
        buffer.write(bytes(Peer(int(IPv4Address(address)), peer_port)))
        return DONE

    def _connect(self, argument: int, _: Buffer) -> int:
        number, address, port = argument >> 48, argument >> 16 & 0xFFFF_FFFF, argument & 0xFFFF
        self._check_free(number)
        peer = self._peers.get((str(IPv4Address(address)), port))
        if peer is None:
            raise OSError(ENETUNREACH, "not among those to which it may connect")
        connection = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        self._keep(number, connection)
        error = connection.connect_ex(peer)
        if error not in (0, EINPROGRESS):
            self._drop(number)
            return -error
        self._want(connection, select.EPOLLOUT, number)
        return DONE

    def _connected(self, number: int, _: Buffer) -> int:
        connection = self._connection(number)
        error = connection.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
        if error:
            return -error
        try:
            connection.getpeername()
        except OSError as unconnected:
            if unconnected.errno != ENOTCONN:
                raise
            self._want(connection, select.EPOLLOUT, number)
            raise BlockingIOError(EAGAIN, "not yet") from unconnected
        return DONE

    def _ready(self, _argument: int, buffer: Buffer) -> int:
        told = bytearray()
        events = self._events.poll(0, EVENTS_MOST)
        for descriptor, found in events:
            wanted = self._wanted[descriptor]
            came = wanted if found & BROKEN else wanted & found
            number, is_port = self._told[descriptor]
            what = What.READABLE if came & select.EPOLLIN else What(0)
            what |= What.WRITABLE if came & select.EPOLLOUT else What(0)
            told += bytes(Told(number, What.OF_PORT if is_port else what))
            self._set(descriptor, wanted & ~came)
        buffer.write(bytes(told))
        return len(events)

    def _receive(self, argument: int, buffer: Buffer) -> int:
        number, most = argument >> 32, min(argument & 0xFFFF_FFFF, PAGE_SIZE)
        connection = self._connection(number)
        try:
            data = connection.recv(most)
        except BlockingIOError:
            self._want(connection, select.EPOLLIN, number)
            raise
        if 0 < len(data) < most:
            self._want(connection, select.EPOLLIN, number)
        buffer.write(data)
        return len(data)

    def _send(self, argument: int, buffer: Buffer) -> int:
        number, size = argument >> 32, min(argument & 0xFFFF_FFFF, PAGE_SIZE)
        connection = self._connection(number)
        try:
            sent = connection.send(buffer.read()[:size], socket.MSG_NOSIGNAL)
        except BlockingIOError:
            self._want(connection, select.EPOLLOUT, number)
            raise
        if sent < size:
            self._want(connection, select.EPOLLOUT, number)
        return sent

    def _shut(self, argument: int, _: Buffer) -> int:
        number = argument >> 32
        connection = self._connection(number)
        if argument & 1:
            connection.shutdown(socket.SHUT_WR)
        else:
            self._drop(number)
        return DONE

    _HANDLERS: ClassVar[Mapping[int, Callable[["Network", int, Buffer], int]]] = {
        Question.LISTEN: _listen,
        Question.ACCEPT: _accept,
        Question.CONNECT: _connect,
        Question.CONNECTED: _connected,
        Question.READY: _ready,
        Question.RECEIVE: _receive,
        Question.SEND: _send,
        Question.SHUT: _shut,
    }

    # ---- what is open --------------------------------------------------------------------------

    def _listener(self, port: int) -> socket.socket:
        if port not in self._ports:
            raise OSError(EINVAL, "no port that is published")
        return self._ports[port]

    def _connection(self, number: int) -> socket.socket:
        if number not in self._connections:
            raise OSError(EBADF, "no connection")
        return self._connections[number]

    def _check_free(self, number: int) -> None:
        if number in self._connections or number >= CONNECTIONS:
            raise OSError(EBUSY, "no number for a connection")

    def _keep(self, number: int, connection: socket.socket) -> None:
        connection.setblocking(False)
        with contextlib.suppress(OSError):
            connection.setsockopt(
                socket.IPPROTO_TCP, socket.TCP_NODELAY, 1
            )  # the enclave has put it together
        self._connections[number] = connection

    def _drop(self, number: int) -> None:
        connection = self._connections.pop(number)
        self._forget(connection)
        connection.close()

    # ---- what is waited for --------------------------------------------------------------------

    def _want(self, file: socket.socket, events: int, number: int, *, is_port: bool = False) -> None:
        descriptor = file.fileno()
        self._told[descriptor] = number, is_port
        self._set(descriptor, self._wanted.get(descriptor, 0) | events)

    def _set(self, descriptor: int, events: int) -> None:
        """Wait for these, and for nothing that is told already: else a wait would never be one."""
        before = self._wanted.pop(descriptor, 0)
        if events:
            (self._events.modify if before else self._events.register)(descriptor, events)
            self._wanted[descriptor] = events
        elif before:
            self._events.unregister(descriptor)

    def _forget(self, file: socket.socket) -> None:
        self._set(file.fileno(), 0)
        self._told.pop(file.fileno(), None)


def _checked_port(port: int) -> int:
    if not 0 < port < PORTS:
        raise BadArgumentError(f"{port} is no port: they are 1 to {PORTS - 1}")
    return port


def _place(text: str) -> tuple[str, int]:
    host, separator, port = text.rpartition(":")
    if not separator or not host or not port.isdecimal() or int(port) >= PORTS:
        raise BadArgumentError(f"{text}: write it like HOST:PORT")
    return host, int(port)


def _bound(place: int | str) -> socket.socket:
    """A socket that has a port, and does not listen yet."""
    host, port = _place(place if isinstance(place, str) else f"{LOOPBACK}:{place}")
    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.setblocking(False)
        if port == 0:
            with socket.socket() as free:
                free.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                free.bind((host, 0))
                listener.bind(free.getsockname())  # by its number: so it stays bound when it stops listening
        else:
            listener.bind((host, port))
    except OSError as error:
        listener.close()
        raise BadArgumentError(f"cannot publish on {host}:{port}: {error.strerror or error}") from error
    return listener


def _stop_listening(listener: socket.socket) -> None:
    with contextlib.suppress(OSError):  # it does not listen
        listener.shutdown(socket.SHUT_RD)


def _peer(text: str) -> tuple[Place, Place]:
    """How the program calls a peer, and where it is."""
    host, port = _place(text)
    try:
        found = socket.getaddrinfo(host, port, socket.AF_INET, socket.SOCK_STREAM)
    except OSError as error:
        raise BadArgumentError(f"cannot connect to {text}: {error.strerror or error}") from error
    address = str(found[0][4][0])
    inside = str(HOST_ADDRESS) if IPv4Address(address).is_loopback else address
    return (inside, port), (address, port)
