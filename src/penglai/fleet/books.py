"""The fleet's books: which machines there are, which enclaves, and where each is."""

import asyncio
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from penglai.abi.errors import NoSuchEnclaveError, StateError
from penglai.fleet import cluster
from penglai.fleet.rows import EnclaveRow, End, Order, Size, Status

KEPT = 1 << 16
"""Bytes of what an enclave has written that outlive its machine: the last ones."""


@dataclass
class Place:
    """A machine.  name: of its node.  number: of no other one, ever.  used: pages, as it said last."""

    name: str
    number: int
    handle: cluster.Handle = field(repr=False)
    size: Size
    state: Path
    pid: int = 0
    device_key: bytes = b""
    used: int = 0
    draining: bool = False

    @property
    def free(self) -> int:
        """Pages that no enclave has."""
        return self.size.pages - self.used


@dataclass(eq=False)
class Sealed:
    """A snapshot of an enclave.  device: key of the one that can open it.  written: what it had written.

    certain: nobody can have restored it, and its making was finished, as far as it was to move into it.
    """

    path: Path
    device: bytes
    written: bytes
    certain: bool = True


@dataclass
class Entry:
    """An enclave.

    place: the machine where it is, or was last.  written: what it wrote before it came there.  sealed: the
    snapshot into which it has moved, while it is nowhere else.  saved: the last one for clones, from which it
    goes on if its machine dies.  unsaved: why there is none.  busy: held while it is moved, stopped and the
    like, one after the other.  stopped: it was, and stays so where it goes.  over: set when it has ended.
    """

    number: int
    order: Order
    place: Place | None = None
    status: Status = Status.FRESH
    pages: int = 0
    run_time: int = 0
    value: int | None = None
    reason: str = ""
    moves: int = 0
    written: bytes = b""
    sealed: Sealed | None = None
    saved: Sealed | None = None
    snapshots: int = 0
    unsaved: str = ""
    stopped: bool = False
    busy: asyncio.Lock = field(default_factory=asyncio.Lock, repr=False)
    over: asyncio.Event = field(default_factory=asyncio.Event, repr=False)

    def row(self) -> EnclaveRow:
        """As others see it."""
        return EnclaveRow(
            number=self.number,
            name=self.order.name,
            machine="" if self.place is None else self.place.name,
            status=self.status,
            pages=self.pages,
            run_time=self.run_time,
            value=self.value,
            reason=self.reason,
            moves=self.moves,
            snapshots=self.snapshots,
        )

    def finish(self, end: End) -> None:
        """It has ended; the first news of it counts."""
        if self.status.over:
            return
        self.status, self.value, self.reason = end.status, end.value, end.reason
        self.run_time = max(self.run_time, end.run_time)
        self.written = (self.written + end.written)[-KEPT:]
        for snapshot in (self.sealed, self.saved):
            if snapshot is not None:
                snapshot.path.unlink(missing_ok=True)
        self.sealed = self.saved = None
        self.order = replace(self.order, image=b"", servers=())  # nobody needs them any more
        self.over.set()


class Books:
    """All of it, and calls of the machines.  places: by their nodes' names."""

    def __init__(self) -> None:
        self.places: dict[str, Place] = {}
        self.entries: dict[int, Entry] = {}

    def machines(self) -> list[Place]:
        """Those that live, in the order of their names."""
        return sorted(self.places.values(), key=lambda place: place.name)

    def on(self, place: Place) -> list[Entry]:
        """The live enclaves of a machine."""
        return [entry for entry in self.entries.values() if entry.place is place and not entry.status.over]

    def entry(self, number: int) -> Entry:
        """The enclave of a number.  Raises NoSuchEnclaveError."""
        entry = self.entries.get(number)
        if entry is None:
            raise NoSuchEnclaveError(f"no enclave {number} was placed in this fleet")
        return entry

    def live(self, number: int) -> Entry:
        """The live enclave of a number.  Raises NoSuchEnclaveError."""
        entry = self.entry(number)
        if entry.status.over:
            raise NoSuchEnclaveError(f"enclave {number} has ended: {entry.status}")
        return entry

    async def at(self, entry: Entry, method: str, *arguments: object) -> Any:
        """Call an enclave's machine.  Raises StateError if it is on none, and what the call raises."""
        if entry.place is None or self.places.get(entry.place.name) is not entry.place:
            raise StateError(f"enclave {entry.number} is on no machine: {entry.reason or entry.status}")
        return await self.call(entry.place, method, entry.number, *arguments)

    async def call(self, place: Place, method: str, *arguments: object) -> Any:
        """Call a machine.  Raises FleetError if it does not answer, and what the call raises."""
        try:
            return await cluster.later(cluster.ask(place.handle, method, *arguments))
        except cluster.Unreachable as error:
            raise cluster.failed(f"the machine on {place.name}", error) from None
