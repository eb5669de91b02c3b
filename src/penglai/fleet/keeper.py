"""The actor that keeps the fleet's books.

There is one, on the first node; with that node the fleet ends.  All of it runs in one event loop, so that
between two awaits nothing changes.
"""

import asyncio
from collections.abc import Coroutine
from pathlib import Path

from penglai.abi.errors import ExistsError, NoMemoryError, PenglaiError, StateError
from penglai.fleet import cluster
from penglai.fleet.books import Books, Entry, Place
from penglai.fleet.choosing import choose
from penglai.fleet.moving import Mover
from penglai.fleet.rows import EnclaveRow, End, MachineRow, Made, Order, Size, Status
from penglai.fleet.worker import Use, Worker

KEEPER = "keeper"
CALLS = 10_000
"""Of the keeper's, at once: most of them wait for the end of an enclave."""
WORKER_CALLS = 16
PAUSE = 0.2
"""Seconds between two questions to a machine that cannot be reached, until it is known to be dead."""


class Keeper:
    """See the module.  Its methods are calls of Fleet's, and of the machines'.

    store: the directory of snapshots.  every: seconds between two saves of all that can be saved, or None.
    """

    def __init__(self, store: Path, every: float | None) -> None:
        self._books = Books()
        self._mover = Mover(self._books, store)
        self._every = every
        self._numbers = self._machines = 0
        self._tasks: set[asyncio.Task[None]] = set()

    # ---- machines ------------------------------------------------------------------------------

    async def open(self) -> None:
        """Begin to save, if that is wanted."""
        if self._every is not None:
            self._begin(self._save_now_and_then(self._every))

    async def add_machine(self, node: str, size: Size, state: Path) -> None:
        """Switch a machine on that takes all that a node offers.  Raises what penglai.Machine does."""
        self._machines += 1
        resources = {"pages": float(size.pages), "harts": float(size.harts), node: 1.0}
        report = _Report(self._machines)
        handle = cluster.start(Worker, report, resources=resources, calls=WORKER_CALLS)
        place = Place(node, self._machines, handle, size, state)
        try:
            place.pid, place.device_key = await self._books.call(place, "switch_on", size, state)
        except PenglaiError:
            cluster.kill(handle)
            raise
        self._books.places[node] = place
        self._begin(self._watch(place))
        await self._mover.settle()

    async def machines(self) -> list[MachineRow]:
        """All that live, in the order of their names."""
        await self._look_everywhere()
        return [
            MachineRow(
                place.name,
                place.pid,
                place.device_key,
                place.size.pages,
                place.used,
                place.size.harts,
                len(self._books.on(place)),
            )
            for place in self._books.machines()
        ]

    async def drain(self, name: str) -> dict[int, str]:
        """Move all enclaves away from a machine and switch it off; if some could not be moved: why.

        It is not switched off then, and nothing more is placed there.
        """
        failures = await self._mover.drain(name)
        place = self._books.places.get(name)
        if place is not None and not failures and not self._books.on(place):
            del self._books.places[name]
            await self._books.call(place, "close")
            cluster.kill(place.handle)
        return failures

    async def _watch(self, place: Place) -> None:
        """Wait until a machine is no more; its enclaves then go on elsewhere, and another takes its place."""
        while True:
            try:
                await cluster.later(cluster.ask(place.handle, "live"))
                return  # it was switched off
            except cluster.MachineDied:
                break
            except cluster.Unreachable:
                await asyncio.sleep(PAUSE)
        if self._books.places.get(place.name) is not place:
            return
        left = self._books.on(place)
        del self._books.places[place.name]
        await asyncio.gather(*map(self._mover.recover, left))
        if place.name in cluster.live_nodes() and not place.draining:
            await self.add_machine(place.name, place.size, place.state)

    # ---- enclaves ------------------------------------------------------------------------------

    async def make(self, order: Order, nonce: int, where: str = "") -> Made:
        """Create an enclave on the machine with the most free pages that may have it; it does not run yet.

        Raises FleetError if no machine may, NoMemoryError if none has room; what penglai.Machine.create does.
        """
        self._numbers += 1
        number = self._numbers
        failure: PenglaiError | None = None
        for name in choose(self._books.machines(), order.devices, where):
            place = self._books.places.get(name)
            if place is None:
                continue  # it has died meanwhile
            try:
                report = await self._books.call(place, "make", number, order, nonce)
            except (NoMemoryError, ExistsError) as error:
                failure = error
                continue
            if self._books.places.get(name) is not place:
                continue  # it has died, with the enclave
            self._books.entries[number] = Entry(number, order, place)
            self._begin(self._look(place))
            return Made(number, name, report)
        raise NoMemoryError(f"no machine of the fleet has room for it: {failure or 'all have died'}")

    async def start(self, number: int) -> None:
        """Let it run."""
        await self._do(number, "start", Status.RUNNING)

    async def stop(self, number: int) -> None:
        """Stop it."""
        await self._do(number, "stop", Status.STOPPED)

    async def resume(self, number: int) -> None:
        """Let it go on."""
        await self._do(number, "resume", Status.RUNNING)

    async def destroy(self, number: int) -> None:
        """End it."""
        entry = self._books.live(number)
        async with entry.busy:
            if entry.status is not Status.SEALED:
                await self._books.at(entry, "destroy")
            entry.finish(End(Status.DESTROYED, run_time=entry.run_time))

    async def move(self, number: int, where: str = "") -> str:
        """Move it to another machine; see Mover."""
        return await self._mover.move(number, where)

    async def save(self, number: int) -> None:
        """Save a snapshot from which it goes on if its machine dies; see Mover."""
        await self._mover.save(number)

    async def save_all(self) -> None:
        """Save all that can be saved."""
        await self._mover.save_all()

    async def attest(self, number: int, nonce: int) -> bytes:
        """A report of it, with this nonce."""
        entry = self._books.live(number)
        async with entry.busy:
            report = await self._books.at(entry, "attest", nonce)
        assert isinstance(report, bytes)
        return report

    async def output(self, number: int) -> bytes:
        """What it has written, as far as that was kept."""
        entry = self._books.entry(number)
        async with entry.busy:
            if entry.status.over:
                return entry.written
            if entry.status is Status.SEALED:
                raise StateError(f"enclave {number} is on no machine: {entry.reason}")
            before, text = entry.written, await self._books.at(entry, "output")
        assert isinstance(text, bytes)
        return before + text

    async def wait(self, number: int, seconds: float) -> EnclaveRow | None:
        """How it ended; None if it has not when the time is over."""
        entry = self._books.entry(number)
        try:
            async with asyncio.timeout(seconds):
                await entry.over.wait()
        except TimeoutError:
            return None
        return entry.row()

    async def enclaves(self) -> list[EnclaveRow]:
        """All that were ever placed, oldest first."""
        await self._look_everywhere()
        return [entry.row() for entry in self._books.entries.values()]

    async def ended(self, number: int, end: End, machine: int) -> None:
        """A machine says that an enclave's run has ended.  Only the one where it is now is heard."""
        entry = self._books.entries.get(number)
        if entry is not None and entry.place is not None and entry.place.number == machine:
            entry.finish(end)
            self._begin(self._mover.settle())

    # ---- inside --------------------------------------------------------------------------------

    async def _do(self, number: int, method: str, after: Status) -> None:
        """A call of the machine's that leads to another status, unless the enclave ends meanwhile."""
        entry = self._books.live(number)
        async with entry.busy:
            await self._books.at(entry, method)
            if not entry.status.over:
                entry.status, entry.stopped = after, after is Status.STOPPED

    async def _save_now_and_then(self, every: float) -> None:
        while True:
            await asyncio.sleep(every)
            await self._mover.save_all()

    async def _look_everywhere(self) -> None:
        await asyncio.gather(*map(self._look, self._books.machines()))

    async def _look(self, place: Place) -> None:
        """Ask a machine what its enclaves use."""
        try:
            use = await self._books.call(place, "use")
        except PenglaiError:
            return  # it has died; who waits for that learns it
        assert isinstance(use, Use)
        place.used = use.pages
        for entry in self._books.on(place):
            if entry.number in use.enclaves:
                entry.pages, entry.run_time = use.enclaves[entry.number]

    def _begin(self, work: Coroutine[None, None, None]) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)


class _Report:
    """Tells the keeper of an end; made by the keeper, used by a machine.  machine: its number."""

    def __init__(self, machine: int) -> None:
        self._machine = machine

    def __call__(self, number: int, end: End) -> None:
        cluster.ask(cluster.find(KEEPER), "ended", number, end, self._machine)
