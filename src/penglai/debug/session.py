"""A place where a gdb can connect, one after the other, until the enclave has ended."""

import contextlib
import os
import queue
import socket
import threading
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Self

from penglai.abi.errors import BadArgumentError, PenglaiError, StateError
from penglai.debug import packets
from penglai.debug.packets import ProtocolError, Reader, framed
from penglai.debug.probe import Debugger
from penglai.debug.stub import Debuggable, Stub
from penglai.debug.target import Signal, Target
from penglai.driver.task import Reason, Result
from penglai.machine.memory import PhysicalMemory
from penglai.monitor.enclave import Enclave

LOOPBACK = "127.0.0.1"
MOST_WAITING = 64
"""Requests that were read and not answered yet: who sends more waits."""

CLOSED = None
Event = packets.Request | Signal | str | None
"""A request of gdb's, a stop, the end in the protocol's words, or that gdb is gone."""


class Session:
    """Waits for gdb on a socket.

    A context manager; leaving it, or `close`, lets the target run on.
    """

    def __init__(
        self,
        target: Debuggable,
        lock: threading.Condition,
        kill: Callable[[], None],
        place: int | Path,
        *,
        attached: bool,
    ) -> None:
        """target: what is debugged, halted from now on.  kill: ends it.  place: a port, or a new file.

        attached: gdb lets it live when it quits.  Raises BadArgumentError for a place where nobody can wait.
        """
        self._target = target
        self._lock = lock
        self._kill = kill
        self._attached = attached
        self._events: queue.SimpleQueue[Event] = queue.SimpleQueue()
        self._end: bytes | None = None
        self._open = True
        self._listener, self.address = _listen(place)
        """The address is what gdb's `target remote` takes."""
        self._thread = threading.Thread(target=self._serve, name="penglai-gdb", daemon=True)

    def start(self) -> None:
        """Wait for gdb from now on."""
        self._thread.start()

    def let_go(self) -> None:
        """Nobody debugs it any more: it runs on."""
        raise NotImplementedError

    # ---- what others tell ------------------------------------------------------------------------

    def on_stop(self, signal: Signal) -> None:
        """For the target."""
        self._events.put(signal)

    def end(self, how: str) -> None:
        """It has ended.  how: as the protocol has it, W and the value or X and a signal."""
        self._events.put(how)
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)  # nobody more need come

    def wait(self, timeout: float | None = None) -> bool:
        """Wait until the target has ended and gdb knows, or until `close`; False after timeout seconds."""
        self._thread.join(timeout)
        return not self._thread.is_alive()

    def close(self) -> None:
        """Debug it no more: it runs on.  More than once does nothing."""
        self._open = False
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._events.put(CLOSED)  # behind what gdb has still to hear
        self.let_go()
        if threading.current_thread() is not self._thread:
            self._thread.join()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    # ---- connections -----------------------------------------------------------------------------

    def _serve(self) -> None:
        while self._open and self._end is None:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                break
            with connection:
                self._talk(connection)
        self.let_go()

    def _talk(self, connection: socket.socket) -> None:
        """One gdb, until it goes away or the target has ended."""
        room = threading.Semaphore(MOST_WAITING)
        reading = threading.Thread(target=self._read, args=(connection, room), daemon=True)
        said = [b""]

        def answer(packet: bytes) -> None:
            said[0] = framed(packet)
            with contextlib.suppress(OSError):
                connection.sendall(said[0])

        with self._lock:
            self._target.attended = True
            self._target.halt()
        stub = Stub(self._lock, self._target, answer, self._kill_it, attached=self._attached)
        reading.start()
        while not stub.over:
            event = self._events.get()
            if event is CLOSED:
                break
            if isinstance(event, Signal):
                stub.stopped(event)
            elif isinstance(event, str):
                self._end = event.encode()
                stub.ended(self._end)
            else:
                self._request(stub, event, connection, said[0])
                room.release()
        with contextlib.suppress(OSError):
            connection.shutdown(socket.SHUT_RDWR)
        room.release(MOST_WAITING)
        reading.join()
        self._forget_requests()
        self._run_on()

    def _request(self, stub: Stub, request: packets.Request, connection: socket.socket, last: bytes) -> None:
        with contextlib.suppress(OSError):
            if request is packets.Signal.INTERRUPT:
                stub.interrupt()
            elif request is packets.Signal.AGAIN:
                connection.sendall(last)
            elif request is packets.Signal.DAMAGED:
                connection.sendall(b"-")
            else:
                if stub.acknowledges:
                    connection.sendall(b"+")
                stub.request(request)

    def _read(self, connection: socket.socket, room: threading.Semaphore) -> None:
        reader = Reader()
        with contextlib.suppress(OSError, ProtocolError):
            while data := connection.recv(4096):
                for request in reader.feed(data):
                    room.acquire()
                    self._events.put(request)
        self._events.put(CLOSED)

    def _run_on(self) -> None:
        """gdb is gone: the target goes on without breakpoints, and another gdb may come."""
        with self._lock:
            self._target.attended = False
            self._target.breakpoints.clear()
            if self._target.halted and self._target.alive:
                self._target.resume(step=False, deliver=False)
                self._lock.notify_all()

    def _forget_requests(self) -> None:
        """What a gdb that is gone has said; not what has become of the target."""
        kept: list[Event] = []
        with contextlib.suppress(queue.Empty):
            while True:
                event = self._events.get_nowait()
                if isinstance(event, str):
                    kept.append(event)
        for event in kept:
            self._end = str(event).encode()

    def _kill_it(self) -> None:
        with contextlib.suppress(PenglaiError):  # it has ended meanwhile
            self._kill()


class DebugSession(Session):
    """Debugs an enclave; made by `Machine.debug`.

    A context manager; leaving it, or `close`, lets the enclave run on.
    """

    def __init__(
        self,
        debugger: Debugger,
        enclave: Enclave,
        memory: PhysicalMemory,
        kill: Callable[[], None],
        place: int | Path,
        *,
        attached: bool,
    ) -> None:
        """enclave: the monitor's record, halted from now on.  Besides see Session.

        Raises BadArgumentError for a place where nobody can wait, StateError if it is being debugged already.
        """
        self._debugger = debugger
        self._enclave_target = Target(enclave, memory, self.on_stop)
        super().__init__(self._enclave_target, debugger.lock, kill, place, attached=attached)
        if not debugger.add(self._enclave_target):
            self._listener.close()
            raise StateError(f"enclave {enclave.eid} is being debugged already; close that session first")
        self.start()

    def let_go(self) -> None:
        self._debugger.remove(self._enclave_target)

    def on_end(self, result: Result | None) -> None:
        """The run is over; None if there never was one."""
        value = (result.value or 0) & 0xFF if result is not None else 0
        reason = Reason.DESTROYED if result is None else result.reason
        ends = {Reason.EXITED: f"W{value:02x}", Reason.FAULTED: f"X{Signal.SEGV:02x}"}
        self.end(ends.get(reason, f"X{Signal.KILL:02x}"))


def _listen(place: int | Path) -> tuple[socket.socket, str]:
    """A socket of this machine's alone: a port of the loopback, or a file that only the user may open."""
    listener = socket.socket(socket.AF_UNIX if isinstance(place, Path) else socket.AF_INET)
    try:
        address = _bind_file(listener, place) if isinstance(place, Path) else _bind_port(listener, place)
        listener.listen(1)
    except (OSError, OverflowError) as error:
        listener.close()
        raise BadArgumentError(f"gdb cannot be waited for at {place}: {error}") from error
    return listener, address


def _bind_file(listener: socket.socket, place: Path) -> str:
    mask = os.umask(0o177)
    try:
        listener.bind(str(place))
    finally:
        os.umask(mask)
    return str(place)


def _bind_port(listener: socket.socket, port: int) -> str:
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listener.bind((LOOPBACK, port))
    return f"{LOOPBACK}:{listener.getsockname()[1]}"
