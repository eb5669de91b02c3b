"""What is known by id or by name: enclaves, servers, regions on their way, regions that enclaves share."""

import itertools
import threading
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field

from penglai.abi.errors import ErrorCode
from penglai.abi.limits import Limits
from penglai.abi.sbi import EnclaveType
from penglai.abi.state import State
from penglai.machine.context import Trap
from penglai.machine.pages import Pages
from penglai.monitor.enclave import Enclave
from penglai.monitor.refusal import Refusal
from penglai.monitor.regions import Region

ID_BITS = 31
ID_LIMIT = 1 << ID_BITS


@dataclass(frozen=True)
class Parcel:
    """An asynchronous call on its way: a number, and a region or None.

    pages: the region's, which are the monitor's meanwhile.
    """

    argument: int
    region: Region | None
    pages: Pages


@dataclass
class SecureShm:
    """Pages that enclaves share.

    creator: an eid.  parts: its pages, of size bytes in all.  attached: eids of those that map it.
    doomed: nobody may attach it any more; it goes when the last one that maps it has let it go.
    """

    key: int
    creator: int
    parts: list[Pages]
    size: int
    attached: set[int] = field(default_factory=set)
    doomed: bool = False


class Registry:
    """The monitor's directory.  `lock` guards all of it, and is taken after an enclave's lock.

    A server's state is changed here alone, so that of two calls, or a call and a destroy, one wins.

    limits: of what the next enclaves can make grow.
    watch_calls: a tracer's, or None.  Called with the eid of the enclave at the bottom of a chain, that of a
    server, and the server's state from now on: BUSY when it begins.  It holds up the hart, and never raises.
    watch_faults: likewise, of who explains faults.  Called with the enclave at the bottom of a chain, while
    everything in the chain is still as it was, and with the trap that ends the innermost.
    watch_handlers: likewise, called with an enclave that has entered its handler of ecalls, or left it.
    """

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self._ids = itertools.count(1)
        self._enclaves: dict[int, Enclave] = {}
        self._servers: dict[str, Enclave | None] = {}
        self._instances: dict[Enclave, int] = {}
        self._retired: set[Enclave] = set()
        self.parcels: dict[str, deque[Parcel]] = {}
        self.shared: dict[int, SecureShm] = {}
        self.limits = Limits()
        self.watch_calls: Callable[[int, int, State], None] | None = None
        self.watch_faults: Callable[[Enclave, Trap], None] | None = None
        self.watch_handlers: Callable[[Enclave], None] | None = None

    def new_id(self) -> int:
        """An id that nothing of this boot ever had.  Raises Refusal (allocation) when there is none left."""
        number = next(self._ids)
        if number >= ID_LIMIT:
            raise Refusal(ErrorCode.ALLOCATION_FAILED, "no ids are left in this boot")
        return number

    # ---- enclaves ------------------------------------------------------------------------------

    def add(self, enclave: Enclave) -> None:
        """Note a new enclave."""
        with self.lock:
            self._enclaves[enclave.eid] = enclave
            if enclave.kind is EnclaveType.SERVER:
                self._servers[enclave.name] = enclave
            if enclave.template is not None:
                self._instances[enclave.template] += 1
            if enclave.kind is EnclaveType.SHADOW:
                self._instances[enclave] = 0

    def remove(self, enclave: Enclave) -> None:
        """Forget an enclave that has ended."""
        with self.lock:
            self._enclaves.pop(enclave.eid, None)
            if enclave.kind is EnclaveType.SERVER:
                self._servers.pop(enclave.name, None)

    def find(self, eid: int) -> Enclave | None:
        """The live enclave with this id."""
        return self._enclaves.get(eid)

    def enclaves(self) -> list[Enclave]:
        """All live enclaves."""
        with self.lock:
            return list(self._enclaves.values())

    def any_alive(self) -> bool:
        """True if there is a live enclave.  Under the lock."""
        return bool(self._enclaves)

    # ---- servers -------------------------------------------------------------------------------

    def reserve(self, name: str) -> None:
        """Keep a name for a server that is being made.  Raises Refusal: exists, or it is empty."""
        if not name:
            raise Refusal(ErrorCode.BAD_ARGUMENT, "a server needs a name")
        with self.lock:
            if name in self._servers:
                raise Refusal(ErrorCode.EXISTS, f"there is a server {name!r} already")
            self._servers[name] = None

    def unreserve(self, name: str) -> None:
        """The server came to nothing."""
        with self.lock:
            self._servers.pop(name, None)

    def server(self, name: str) -> Enclave | None:
        """The live server of this name."""
        return self._servers.get(name)

    def change_state(self, server: Enclave, before: State, after: State) -> bool:
        """Take a server from one state to another; False if it is not in that state."""
        with self.lock:
            if server.state is not before:
                return False
            server.state = after
            return True

    # ---- shadows -------------------------------------------------------------------------------

    def ghosts(self) -> list[Enclave]:
        """Shadows that were destroyed while instances live: their pages are still in use."""
        with self.lock:
            return list(self._retired)

    def retire(self, shadow: Enclave) -> bool:
        """A shadow is destroyed; True if it has no instances, so that its pages can go."""
        with self.lock:
            self._retired.add(shadow)
            return self._over(shadow)

    def end_instance(self, shadow: Enclave) -> bool:
        """An instance has ended; True if it was the last of a shadow that was destroyed."""
        with self.lock:
            self._instances[shadow] -= 1
            return self._over(shadow)

    def _over(self, shadow: Enclave) -> bool:
        over = shadow in self._retired and not self._instances[shadow]
        if over:
            del self._instances[shadow]
            self._retired.remove(shadow)
        return over
