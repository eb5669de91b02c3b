"""The actor that keeps the fleet's books: which machines there are, what is where, and how it ended.

There is one, on the first node; with that node the fleet ends.  All of it runs in one event loop, so that
between two awaits nothing changes.
"""

import asyncio
from collections.abc import Coroutine
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from penglai.abi.errors import ExistsError, NoMemoryError, NoSuchEnclaveError, PenglaiError, StateError
from penglai.fleet import cluster
from penglai.fleet.choosing import choose
from penglai.fleet.rows import EnclaveRow, End, MachineRow, Made, Order, Size, Status
from penglai.fleet.worker import Use, Worker

KEEPER = "keeper"
CALLS = 10_000
"""Of the keeper's, at once: most of them wait for the end of an enclave."""
WORKER_CALLS = 16
PAUSE = 0.2
"""Seconds between two questions to a machine that cannot be reached, until it is known to be dead."""


@dataclass
class Place:
    """A machine.  on: the name of its node.  used: pages of its enclaves, as it said last."""

    name: str
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


@dataclass
class Entry:
    """An enclave.  place: where it is, or was last.  over: set when it has ended."""

    number: int
    order: Order
    place: str = ""
    status: Status = Status.FRESH
    pages: int = 0
    run_time: int = 0
    value: int | None = None
    reason: str = ""
    over: asyncio.Event = field(default_factory=asyncio.Event, repr=False)

    def row(self) -> EnclaveRow:
        """As others see it."""
        return EnclaveRow(
            self.number,
            self.order.name,
            self.place,
            self.status,
            self.pages,
            self.run_time,
            self.value,
            self.reason,
        )


class Keeper:
    """See the module.  Its methods are calls of Fleet's, and of the machines'."""

    def __init__(self) -> None:
        self._places: dict[str, Place] = {}
        self._entries: dict[int, Entry] = {}
        self._numbers = 0
        self._tasks: set[asyncio.Task[None]] = set()

    # ---- machines ------------------------------------------------------------------------------

    async def add_machine(self, node: str, size: Size, state: Path) -> None:
        """Switch a machine on that takes all that a node offers.  Raises what penglai.Machine does."""
        resources = {"pages": float(size.pages), "harts": float(size.harts), node: 1.0}
        handle = cluster.start(Worker, _Report(node), resources=resources, calls=WORKER_CALLS)
        place = Place(node, handle, size, state)
        try:
            place.pid, place.device_key = await self._call(place, "switch_on", size, state)
        except PenglaiError:
            cluster.kill(handle)
            raise
        self._places[node] = place
        self._begin(self._watch(place))

    async def machines(self) -> list[MachineRow]:
        """All that live, in the order of their names."""
        await asyncio.gather(*map(self._look, self._live_places()))
        return [
            MachineRow(
                place.name,
                place.pid,
                place.device_key,
                place.size.pages,
                place.used,
                place.size.harts,
                sum(entry.place == place.name and not entry.status.over for entry in self._entries.values()),
            )
            for place in self._live_places()
        ]

    async def _watch(self, place: Place) -> None:
        """Wait until a machine is no more."""
        while True:
            try:
                await cluster.later(cluster.ask(place.handle, "live"))
                return  # it was switched off
            except cluster.MachineDied:
                break
            except cluster.Unreachable:
                await asyncio.sleep(PAUSE)
        await self._died(place)

    async def _died(self, place: Place) -> None:
        """What was on it is lost.  If its node lives, another machine takes its place."""
        if self._places.get(place.name) is place:
            del self._places[place.name]
        for entry in self._entries.values():
            if entry.place == place.name and not entry.status.over:
                _finish(entry, End(Status.LOST, reason=f"its machine on {place.name} has died"))
        if place.name in cluster.live_nodes():
            await self.add_machine(place.name, place.size, place.state)

    def _live_places(self) -> list[Place]:
        return sorted(self._places.values(), key=lambda place: place.name)

    # ---- enclaves ------------------------------------------------------------------------------

    async def make(self, order: Order, nonce: int, where: str = "") -> Made:
        """Create an enclave on the machine with the most free pages that may have it; it does not run yet.

        Raises FleetError if no machine may, NoMemoryError if none has room; what penglai.Machine.create does.
        """
        self._numbers += 1
        number = self._numbers
        failure: PenglaiError | None = None
        for name in choose(self._live_places(), order.devices, where):
            place = self._places.get(name)
            if place is None:
                continue  # it has died meanwhile
            try:
                report = await self._call(place, "make", number, order, nonce)
            except (NoMemoryError, ExistsError) as error:
                failure = error
                continue
            self._entries[number] = Entry(number, order, name)
            self._begin(self._look(place))
            return Made(number, name, report)
        raise NoMemoryError(f"no machine of the fleet has room for it: {failure or 'all have died'}")

    async def start(self, number: int) -> None:
        """Let it run."""
        entry = self._live(number)
        await self._at(entry, "start")
        if not entry.status.over:
            entry.status = Status.RUNNING

    async def stop(self, number: int) -> None:
        """Stop it."""
        entry = self._live(number)
        await self._at(entry, "stop")
        if not entry.status.over:
            entry.status = Status.STOPPED

    async def resume(self, number: int) -> None:
        """Let it go on."""
        entry = self._live(number)
        await self._at(entry, "resume")
        if not entry.status.over:
            entry.status = Status.RUNNING

    async def destroy(self, number: int) -> None:
        """End it."""
        entry = self._live(number)
        await self._at(entry, "destroy")
        _finish(entry, End(Status.DESTROYED, run_time=entry.run_time))

    async def attest(self, number: int, nonce: int) -> bytes:
        """A report of it, with this nonce."""
        report = await self._at(self._live(number), "attest", nonce)
        assert isinstance(report, bytes)
        return report

    async def output(self, number: int) -> bytes:
        """What it has written, as far as its machine has kept it.  Raises StateError if that has died."""
        entry = self._entry(number)
        text = await self._at(entry, "output")
        assert isinstance(text, bytes)
        return text

    async def wait(self, number: int, seconds: float) -> EnclaveRow | None:
        """How it ended; None if it has not when the time is over."""
        entry = self._entry(number)
        try:
            async with asyncio.timeout(seconds):
                await entry.over.wait()
        except TimeoutError:
            return None
        return entry.row()

    async def enclaves(self) -> list[EnclaveRow]:
        """All that were ever placed, oldest first."""
        await asyncio.gather(*map(self._look, self._live_places()))
        return [entry.row() for entry in self._entries.values()]

    async def ended(self, number: int, end: End, place: str) -> None:
        """A machine says that an enclave's run has ended."""
        entry = self._entries.get(number)
        if entry is not None and entry.place == place:
            _finish(entry, end)

    # ---- inside --------------------------------------------------------------------------------

    async def _look(self, place: Place) -> None:
        """Ask a machine what its enclaves use."""
        try:
            use = await self._call(place, "use")
        except PenglaiError:
            return  # it has died; who waits for that learns it
        assert isinstance(use, Use)
        place.used = use.pages
        for number, (status, pages, run_time) in use.enclaves.items():
            entry = self._entries.get(number)
            if entry is not None and entry.place == place.name and not entry.status.over:
                entry.pages, entry.run_time = pages, run_time
                if not status.over:
                    entry.status = status

    async def _at(self, entry: Entry, method: str, *arguments: object) -> object:
        """Call the machine on which an enclave is."""
        place = self._places.get(entry.place)
        if place is None:
            raise StateError(f"the machine of enclave {entry.number} has died")
        return await self._call(place, method, entry.number, *arguments)

    async def _call(self, place: Place, method: str, *arguments: object) -> Any:
        try:
            return await cluster.later(cluster.ask(place.handle, method, *arguments))
        except cluster.Unreachable as error:
            raise cluster.failed(f"the machine on {place.name}", error) from None

    def _entry(self, number: int) -> Entry:
        entry = self._entries.get(number)
        if entry is None:
            raise NoSuchEnclaveError(f"no enclave {number} was placed in this fleet")
        return entry

    def _live(self, number: int) -> Entry:
        entry = self._entry(number)
        if entry.status.over:
            raise NoSuchEnclaveError(f"enclave {number} has ended: {entry.status}")
        return entry

    def _begin(self, work: Coroutine[None, None, None]) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)


class _Report:
    """Tells the keeper of an end; made by the keeper, used by a machine."""

    def __init__(self, place: str) -> None:
        self._place = place

    def __call__(self, number: int, end: End) -> None:
        cluster.ask(cluster.find(KEEPER), "ended", number, end, self._place)


def _finish(entry: Entry, end: End) -> None:
    """An enclave has ended; the first news of it counts."""
    if entry.status.over:
        return
    entry.status, entry.value, entry.reason = end.status, end.value, end.reason
    entry.run_time = max(entry.run_time, end.run_time)
    entry.over.set()
