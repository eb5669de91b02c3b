"""Enclaves that change machines, by a snapshot that is made there and restored here, also after one has died.

A snapshot that an enclave has moved into has its one life, which the devices watch over.  One that is saved
from time to time is for clones, which the enclave must allow; only then can it go on after its machine died.
"""

import asyncio
import secrets
from collections.abc import Awaitable
from pathlib import Path

from penglai.abi.errors import (
    BadArgumentError,
    ExistsError,
    FleetError,
    NoMemoryError,
    NoSuchEnclaveError,
    PenglaiError,
    SnapshotError,
    StateError,
)
from penglai.fleet.books import KEPT, Books, Entry, Place, Sealed
from penglai.fleet.choosing import choose
from penglai.fleet.rows import End, Status


class Mover:
    """Moves the enclaves of these books.  store: the directory of the snapshots, outside of Ray."""

    def __init__(self, books: Books, store: Path) -> None:
        self._books = books
        self._store = store
        self._fleet = secrets.token_hex(4)  # others may have used the store
        self._files = 0

    async def move(self, number: int, where: str = "") -> str:
        """Move an enclave to another machine of the same device; the machine's name.

        It runs there if it ran here.  Where no machine has room it stays, or comes back.  Raises FleetError,
        SnapshotError if it cannot be moved now, NoMemoryError.
        """
        entry = self._books.live(number)
        async with entry.busy:
            if self._is_somewhere(entry):
                self._check_target(entry, where)
                await self._depart(entry)
            try:
                return await self._arrive(entry, where)
            except PenglaiError as error:
                self._note(entry, error)
                raise

    async def save(self, number: int) -> None:
        """Write a snapshot from which the enclave can go on if its machine dies.

        Raises SnapshotError if its policy or what it is doing forbids that.
        """
        entry = self._books.live(number)
        async with entry.busy:
            if entry.place is None or entry.status not in (Status.RUNNING, Status.STOPPED):
                raise StateError(f"enclave {number} is {entry.status}: there is nothing to save")
            path = self._new_file(entry)
            try:
                written = await self._books.at(entry, "save", path)
            except PenglaiError as error:
                path.unlink(missing_ok=True)
                entry.unsaved = str(error)
                raise
            if entry.status.over:  # meanwhile
                path.unlink(missing_ok=True)
                return
            before, entry.saved = entry.saved, self._sealed(entry, path, written)
            entry.snapshots += 1
            entry.unsaved = ""
            if before is not None:
                before.path.unlink(missing_ok=True)

    async def save_all(self) -> None:
        """Save what runs, as far as it can be; the machines side by side."""

        async def of(place: Place) -> None:
            for entry in self._books.on(place):
                if entry.status is Status.RUNNING:
                    await _quietly(self.save(entry.number))

        await asyncio.gather(*map(of, self._books.machines()))

    async def drain(self, name: str) -> dict[int, str]:
        """Move all enclaves away from a machine, where nothing is placed any more; why some could not be."""
        place = self._books.places.get(name)
        if place is None:
            raise BadArgumentError(f"no machine {name!r} in the fleet")
        place.draining = True
        failures: dict[int, str] = {}
        for entry in self._books.on(place):
            try:
                await self.move(entry.number)
            except NoSuchEnclaveError:
                continue  # it has ended
            except PenglaiError as error:
                failures[entry.number] = str(error)
        return failures

    async def recover(self, entry: Entry) -> None:
        """Let an enclave go on whose machine has died, or say that it is lost."""
        async with entry.busy:
            if entry.status.over or self._is_somewhere(entry):
                return
            try:
                await self._arrive(entry)
            except PenglaiError as error:
                self._note(entry, error)

    async def settle(self) -> None:
        """There is a new machine, or more room: what waits in snapshots may find some."""
        for entry in list(self._books.entries.values()):
            if entry.status is Status.SEALED:
                await self.recover(entry)

    def _note(self, entry: Entry, error: PenglaiError) -> None:
        """It could not be restored: say what has become of it."""
        if entry.status.over or self._is_somewhere(entry):
            return
        if entry.sealed is None and entry.saved is None:
            name = entry.place.name if entry.place else "no node"
            why = entry.unsaved or "no snapshot was saved"
            entry.finish(End(Status.LOST, reason=f"its machine on {name} has died; {why}"))
        else:
            entry.status, entry.reason = Status.SEALED, str(error)

    def _is_somewhere(self, entry: Entry) -> bool:
        """Whether it is on a machine that lives, and in no snapshot."""
        return entry.sealed is None and entry.place is not None and self._is_live(entry.place)

    def _is_live(self, place: Place) -> bool:
        return self._books.places.get(place.name) is place

    def _check_target(self, entry: Entry, where: str) -> None:
        """Before it leaves: somebody must be there.  Raises FleetError, BadArgumentError."""
        assert entry.place is not None
        choose(self._books.machines(), frozenset([entry.place.device_key]), where, away=entry.place.name)

    async def _depart(self, entry: Entry) -> None:
        """Into a snapshot."""
        path = self._new_file(entry)
        sealed = self._sealed(entry, path, b"")
        try:
            written = await self._books.at(entry, "depart", path)
        except FleetError:  # the machine has died: it may be in the snapshot or not, and the device knows
            sealed.certain = False
            entry.sealed = sealed if path.exists() else None
            raise
        entry.sealed = self._sealed(entry, path, written)

    async def _arrive(self, entry: Entry, where: str = "") -> str:
        """Out of the snapshot that has it, on a machine that can open it; that one's name.

        While it may have moved into one, no other is taken.  A file that is refused stays: it may be all that
        is left of the enclave.
        """
        failure: PenglaiError = FleetError("there is no snapshot of it")
        while (sealed := entry.sealed or entry.saved) is not None:
            try:
                return await self._restore(entry, sealed, where)
            except SnapshotError as error:
                failure = error
                if sealed is entry.saved or sealed.certain or self._is_somewhere(entry):
                    break
                entry.sealed = None  # it is not in there, or no more
        raise failure

    async def _restore(self, entry: Entry, sealed: Sealed, where: str) -> str:
        """Out of this snapshot; the machine's name.

        One that nobody takes comes back to where it moved away from, if that lives.  Raises why it was not
        moved: SnapshotError if the last machine said that it is not in there.
        """
        home = entry.place if sealed is entry.sealed and entry.place and self._is_live(entry.place) else None
        failure: PenglaiError = FleetError("no machine lives")
        try:
            away = home.name if home else ""
            names = choose(self._books.machines(), frozenset([sealed.device]), where, away)
        except FleetError as error:
            failure, names = error, []
        for place in [*filter(None, map(self._books.places.get, names)), *([home] if home else [])]:
            try:
                await self._put(entry, sealed, place)
            except (NoMemoryError, ExistsError, SnapshotError, FleetError) as error:
                failure = error
                continue
            if place is home:
                raise failure
            entry.moves += 1
            return place.name
        raise failure

    async def _put(self, entry: Entry, sealed: Sealed, place: Place) -> None:
        """On this machine.  The books say so before, since it may have ended there when the answer comes."""
        before = entry.place, entry.written
        entry.place, entry.written = place, sealed.written
        try:
            arguments = (entry.number, entry.order, sealed.path, not entry.stopped)
            await self._books.call(place, "arrive", *arguments)
        except PenglaiError as error:
            entry.place, entry.written = before
            if isinstance(error, FleetError):  # it died, with the enclave or before
                sealed.certain = False
            raise
        if not entry.status.over:
            entry.status = Status.STOPPED if entry.stopped else Status.RUNNING
            entry.reason = ""
        if sealed is entry.sealed:
            sealed.path.unlink(missing_ok=True)
        entry.sealed = None

    def _sealed(self, entry: Entry, path: Path, written: bytes) -> Sealed:
        assert entry.place is not None
        return Sealed(path, entry.place.device_key, (entry.written + written)[-KEPT:])

    def _new_file(self, entry: Entry) -> Path:
        self._files += 1
        return self._store / f"{self._fleet}-{entry.number}-{self._files}.snapshot"


async def _quietly(saving: Awaitable[None]) -> None:
    """What cannot be saved now may be the next time; its entry says why."""
    try:
        await saving
    except PenglaiError:
        return
