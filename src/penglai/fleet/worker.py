"""The actor that is a machine: a process with one penglai.Machine, and the enclaves placed there."""

import contextlib
import hashlib
import os
import queue
import threading
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from penglai.abi.errors import ExistsError, NoSuchEnclaveError
from penglai.abi.state import State
from penglai.embedded import Machine
from penglai.fleet.books import KEPT
from penglai.fleet.rows import End, Order, Size, Status
from penglai.host.enclave import Enclave, Run

Tell = Callable[[int, End], object]
"""Is told that an enclave of this number has ended, and how."""

REMEMBERED = 100
"""Enclaves that have ended, of which the machine still tells."""
ENDED = (State.EXITED, State.DESTROYED)


@dataclass
class Server:
    """A server and the numbers of the enclaves for which it is here.  digest: SHA-256 of its image."""

    enclave: Enclave
    digest: bytes
    clients: set[int] = field(default_factory=set)


@dataclass(frozen=True)
class Use:
    """What a machine's enclaves use: pages of all, and (pages, ns on harts) of each by its number."""

    pages: int
    enclaves: dict[int, tuple[int, int]]


class Worker:
    """Holds the machine.  Every method is a call of the keeper's, and several are under way at once.

    tell: see Tell; it is called on a thread of its own.
    """

    _machine: Machine

    def __init__(self, tell: Tell) -> None:
        self._enclaves: dict[int, Enclave] = {}
        self._servers: dict[str, Server] = {}
        self._making = threading.Lock()
        self._over = threading.Event()
        self._ended: queue.SimpleQueue[tuple[int, Run]] = queue.SimpleQueue()
        threading.Thread(target=self._tell_ends, args=(tell,), name="penglai-ends", daemon=True).start()

    def switch_on(self, size: Size, state: Path) -> tuple[int, bytes]:
        """The first call; number of this process, and the device's public key.  Raises as Machine does.

        state: the directory of the machine's device.
        """
        self._machine = Machine(size.memory, size.harts, state=state)
        return os.getpid(), self._machine.device_key

    def live(self) -> None:
        """Does not return while the machine is on: who waits for it learns that it is not."""
        self._over.wait()

    def make(self, number: int, order: Order, nonce: int) -> bytes:
        """Create an enclave, with its servers; a report of it with this nonce.  Raises as create does."""
        with self._making:
            made = self._make_servers(number, order)
            try:
                enclave = self._machine.create(order.image, name=order.name, stack_size=order.stack_size)
            except BaseException:
                self._leave_servers(number, made)
                raise
            self._enclaves[number] = enclave
        return bytes(enclave.attest(nonce))

    def start(self, number: int) -> None:
        """Let it run."""
        self._watch(number, self._of(number).start())

    def stop(self, number: int) -> None:
        """Stop it."""
        self._of(number).stop()

    def resume(self, number: int) -> None:
        """Let it go on."""
        self._of(number).resume()

    def destroy(self, number: int) -> None:
        """End it."""
        self._of(number).destroy()
        self._forget_servers(number)

    def attest(self, number: int, nonce: int) -> bytes:
        """A report of it.  One that runs is stopped for it, and goes on."""
        enclave = self._of(number)
        with _still(enclave):
            return bytes(enclave.attest(nonce))

    def save(self, number: int, path: Path) -> bytes:
        """Write a snapshot for clones; what it has written so far.  Raises as Enclave.snapshot does."""
        enclave = self._of(number)
        with _still(enclave):
            enclave.snapshot(path, clone=True)
            return enclave.output.getvalue()[-KEPT:]

    def depart(self, number: int, path: Path) -> bytes:
        """Let it move into a snapshot; what it has written here.  Raises as Enclave.snapshot does."""
        enclave = self._of(number)
        with _still(enclave):
            enclave.snapshot(path)
        del self._enclaves[number]
        self._forget_servers(number)
        return enclave.output.getvalue()[-KEPT:]

    def arrive(self, number: int, order: Order, path: Path, goes_on: bool) -> None:
        """Restore it from a snapshot, with its servers; goes_on: it runs.  Raises as Machine.restore does."""
        with self._making:
            made = self._make_servers(number, order)
            try:
                enclave = self._machine.restore(path)
            except BaseException:
                self._leave_servers(number, made)
                raise
            self._enclaves[number] = enclave
        if enclave.state is State.FRESH:
            if goes_on:
                self._watch(number, enclave.start())
            return
        self._watch(number, enclave.last_run)
        if goes_on:
            enclave.resume()

    def output(self, number: int) -> bytes:
        """What it has written, as far as the machine keeps it."""
        return self._of(number).output.getvalue()

    def use(self) -> Use:
        """What is used."""
        found = {number: enclave.info() for number, enclave in list(self._enclaves.items())}
        servers = [server.enclave.info() for server in list(self._servers.values())]
        rows = {number: (info.pages, info.run_time) for number, info in found.items()}
        live = [info.pages for info in found.values() if info.state not in ENDED]
        return Use(sum(live) + sum(info.pages for info in servers), rows)

    def close(self) -> None:
        """Destroy all, and switch the machine off."""
        self._machine.close()
        self._over.set()

    def _of(self, number: int) -> Enclave:
        try:
            return self._enclaves[number]
        except KeyError:
            raise NoSuchEnclaveError(f"no enclave {number} on this machine") from None

    def _make_servers(self, number: int, order: Order) -> list[str]:
        """The servers of an order, each made unless it is there; the names of all."""
        names: list[str] = []
        try:
            for name, image in order.servers:
                self._serve(name, image, order.stack_size).clients.add(number)
                names.append(name)
        except BaseException:
            self._leave_servers(number, names)
            raise
        return names

    def _serve(self, name: str, image: bytes, stack_size: int) -> Server:
        digest = hashlib.sha256(image).digest()
        server = self._servers.get(name)
        if server is None:
            enclave = self._machine.create(image, name=name, kind="server", stack_size=stack_size)
            server = self._servers[name] = Server(enclave, digest)
        elif server.digest != digest:
            raise ExistsError(f"the machine has another server {name!r}")
        return server

    def _forget_servers(self, number: int) -> None:
        with self._making:
            self._leave_servers(number, list(self._servers))

    def _leave_servers(self, number: int, names: list[str]) -> None:
        """Destroy those that are here for nobody else."""
        for name in names:
            server = self._servers[name]
            server.clients.discard(number)
            if not server.clients:
                del self._servers[name]
                server.enclave.destroy()

    def _watch(self, number: int, run: Run) -> None:
        run.add_done_callback(lambda _: self._ended.put((number, run)))

    def _tell_ends(self, tell: Tell) -> None:
        """On a thread of its own, since a hart's is not to wait."""
        over: deque[int] = deque()
        while True:
            number, run = self._ended.get()
            if _moved(run):
                continue
            self._forget_servers(number)
            tell(number, _end(run))
            over.append(number)
            if len(over) > REMEMBERED:  # the keeper has heard of it, and has the last of what it wrote
                self._enclaves.pop(over.popleft(), None)


def _end(run: Run) -> End:
    time, written = run.enclave.info().run_time, run.enclave.output.getvalue()[-KEPT:]
    failure = run.exception()
    if failure is not None:
        return End(Status.LOST, reason=str(failure), run_time=time, written=written)
    result = run.result()
    if result.reason.name not in list(Status):  # it gave relay pages back, which it never had
        run.enclave.destroy()
        return End(Status.DESTROYED, reason="it waited for relay pages", run_time=time, written=written)
    return End(Status[result.reason.name], result.value, str(result.fault or ""), time, written)


def _moved(run: Run) -> bool:
    return run.exception() is None and run.result().reason.name == "MOVED"


@contextlib.contextmanager
def _still(enclave: Enclave) -> Iterator[None]:
    """It is stopped meanwhile, or has not begun; what ran goes on afterwards, unless it is here no more."""
    ran = enclave.state not in (State.FRESH, State.STOPPED)
    if ran:
        enclave.stop()
    try:
        yield
    finally:
        if ran and enclave.state not in ENDED:
            enclave.resume()
