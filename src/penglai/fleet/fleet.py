"""A fleet as a program holds it."""

import math
import os
import secrets
import signal
import time
import weakref
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from penglai.abi.errors import AttestationError, BadArgumentError, FleetError, PenglaiError, WaitTimeoutError
from penglai.abi.layout import DEFAULT_STACK_SIZE, NAME_BYTES
from penglai.abi.report import PUBLIC_KEY_BYTES
from penglai.abi.timeout import checked_timeout
from penglai.attestation.report import Report
from penglai.fleet import site
from penglai.fleet.rows import EnclaveRow, MachineRow, Made, Order, Size
from penglai.host.image import UNNAMED, Image, load
from penglai.machine.memory import check_size, parse_size
from penglai.offline import measure
from penglai.sdk.images import find_image
from penglai.toolchain.places import state_dir

HEAD = {"node:__internal_head__": 0.001}
"""What only the first node has, by which the keeper gets there."""
SLICE = 30.0
"""Seconds for which one question waits for an end; then it is asked again."""


class Fleet:
    """Machines on nodes of their own, and enclaves that are placed on them (docs/guides/fleet.md).

    Starts the nodes on this computer, each with one machine.  nodes: how many.  memory, harts: of each
    machine, as for penglai.Machine.  state: the directory of the device that the machines are; by default
    the user's own.  save_every: seconds between two snapshots of each enclave that allows clones, from which
    it goes on if its machine dies; None: there are none but those of `save`.  store: the directory of the
    snapshots; by default one that goes with the fleet.

    A context manager: leaving it ends the machines, their enclaves and the nodes; so does the end of the
    process, whichever way it comes.  A process can be in one fleet at a time.  Methods may be called from
    any thread.

    Raises FleetError without Ray, or if a node does not come up; BadArgumentError for sizes that make no
    machine; StateError if the process is in a fleet.
    """

    def __init__(
        self,
        nodes: int = 2,
        memory: int | str = "256M",
        harts: int = 2,
        *,
        state: str | os.PathLike[str] | None = None,
        save_every: float | None = None,
        store: str | os.PathLike[str] | None = None,
    ) -> None:
        saving = Saving.checked(save_every, store)
        self._enter(_started(nodes, _size(memory, harts), _state(state), saving), ends=True)

    @classmethod
    def connect(cls) -> Self:
        """The fleet that `penglai fleet up` has started.  Leaving it leaves the fleet as it is.

        Raises FleetError if none is up, StateError if the process is in a fleet.
        """
        with site.recorded() as path:
            here = site.found(path)
        from penglai.fleet import cluster  # noqa: PLC0415 - Ray, which is not in every installation

        if not here.address:
            raise FleetError("the fleet has not come up; end what is left of it with: penglai fleet down")
        cluster.connect(here.door)
        fleet = cls.__new__(cls)
        fleet._enter(here, ends=False)
        return fleet

    def _enter(self, here: site.Site, *, ends: bool) -> None:
        """The process is in the fleet of a site; ends: it ends when this is left."""
        from penglai.fleet import cluster  # noqa: PLC0415 - Ray, which is not in every installation
        from penglai.fleet.keeper import KEEPER  # noqa: PLC0415 - Ray, which is not in every installation

        self._site = here
        self._off = weakref.finalize(self, _leave, here if ends else None)
        self._keeper = cluster.find(KEEPER)

    # ---- enclaves ------------------------------------------------------------------------------

    def place(
        self,
        image: Image,
        *,
        name: str = "",
        servers: Mapping[str, Image] | None = None,
        stack_size: int = DEFAULT_STACK_SIZE,
        devices: Iterable[bytes] = (),
        machine: str = "",
    ) -> "FleetEnclave":
        """Make an enclave on a machine, check the machine's report of it, and let it run.

        It is the machine with the most free pages of those that may have it.  image, name, stack_size: as for
        penglai.Machine.create.  servers: names and images of servers that it calls; they are made on the same
        machine, unless they are there.  devices: public keys (64 bytes) of the devices on which it may run;
        empty: on any.  machine: the name of the one that it has to be.

        Raises FleetError if no machine may have it, NoMemoryError if none has room, AttestationError if the
        report does not prove that it is this enclave on a device that is allowed; it has then not run.
        """
        allowed = frozenset(devices)
        if any(len(key) != PUBLIC_KEY_BYTES for key in allowed):
            raise BadArgumentError(f"a device's public key has {PUBLIC_KEY_BYTES} bytes")
        data, what, _ = load(image, find_image)
        if not name and what != UNNAMED:
            name = _short(Path(what).name)
        companions = tuple((each, load(its, find_image)[0]) for each, its in (servers or {}).items())
        measurement = measure(data, stack_size=stack_size)
        nonce = secrets.randbits(64)
        made: Made = self._ask("make", Order(data, name, stack_size, companions, allowed), nonce, machine)
        enclave = FleetEnclave(self, made.number)
        try:
            _check(Report(made.report), measurement, nonce, allowed)
        except PenglaiError:
            enclave.destroy()
            raise
        self._ask("start", made.number)
        return enclave

    def enclave(self, number: int) -> "FleetEnclave":
        """The enclave of this number.  Raises NoSuchEnclaveError if none was placed."""
        found = FleetEnclave(self, number)
        self._ask("wait", number, 0)
        return found

    def enclaves(self) -> list[EnclaveRow]:
        """All that were ever placed, oldest first."""
        rows: list[EnclaveRow] = self._ask("enclaves")
        return rows

    # ---- machines ------------------------------------------------------------------------------

    def machines(self) -> list[MachineRow]:
        """Those that live."""
        rows: list[MachineRow] = self._ask("machines")
        return rows

    def join(
        self, memory: int | str = "256M", harts: int = 2, *, state: str | os.PathLike[str] | None = None
    ) -> str:
        """Add a node on this computer, with a machine of this size on it; its name.  Arguments as for Fleet.

        Raises FleetError if it does not come up.
        """
        size = _size(memory, harts)
        if self._site.tied:
            (name,) = self._site.add(1, size)
        else:
            with site.recorded() as path:
                self._site = site.found(path)
                (name,) = self._site.add(1, size)
        self._ask("add_machine", name, size, _state(state))
        return name

    def drain(self, machine: str) -> dict[int, str]:
        """Move the enclaves of a machine elsewhere, switch it off and end its node.

        Nothing more is placed there.  Returns numbers of enclaves that could not be moved, and why; the
        machine stays on for them.  Raises BadArgumentError for a name that no machine has.
        """
        failures: dict[int, str] = self._ask("drain", machine)
        if not failures:
            self._here().end_node(machine)
        return failures

    def save(self) -> None:
        """Save a snapshot of each enclave that allows clones, as is done every `save_every` seconds."""
        self._ask("save_all")

    def crash(self, machine: str) -> None:
        """Kill the processes of a machine's node, as a power cut would: to see what the fleet does then.

        Raises BadArgumentError for a name that no machine on this computer has.
        """
        session = self._here().sessions.get(machine)
        if session is None:
            raise BadArgumentError(f"no machine {machine!r} of the fleet is on this computer")
        session.signal(signal.SIGKILL)

    def _here(self) -> site.Site:
        """The nodes on this computer, as it is now: others may have added some."""
        if not self._site.tied:
            with site.recorded() as path:
                self._site = site.found(path)
        return self._site

    def down(self) -> None:
        """End the enclaves, the machines and the nodes on this computer.  More than once does nothing."""
        self._off()
        if not self._site.tied:
            end_recorded()

    def _ask(self, method: str, *arguments: object) -> Any:
        from penglai.fleet import cluster  # noqa: PLC0415 - Ray, which is not in every installation

        return cluster.answer(cluster.ask(self._keeper, method, *arguments))

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._off()

    def __repr__(self) -> str:
        return f"<Fleet at {self._site.address}>"


@dataclass(frozen=True)
class FleetEnclave:
    """An enclave of a fleet, wherever it is.  number: by which the fleet names it, and never another one.

    Once it has ended, what needs it to live raises NoSuchEnclaveError.
    """

    fleet: Fleet = field(repr=False)
    number: int

    def stop(self) -> None:
        """Stop it: when this returns it executes no further instruction."""
        self.fleet._ask("stop", self.number)

    def resume(self) -> None:
        """Let it go on, exactly where it was stopped."""
        self.fleet._ask("resume", self.number)

    def destroy(self) -> None:
        """End it in any state."""
        self.fleet._ask("destroy", self.number)

    def move(self, machine: str = "") -> str:
        """Move it to another machine, where it goes on at the very next instruction; that one's name.

        machine: which one; by default the one with the most free pages of those on the same device.  Raises
        FleetError if there is none, NoMemoryError if none has room, SnapshotError if it cannot be moved now;
        then it goes on where it is.
        """
        name: str = self.fleet._ask("move", self.number, machine)
        return name

    def save(self) -> None:
        """Save a snapshot, from which it goes on if its machine dies.

        Raises SnapshotError if it does not allow clones, or is in the middle of what no snapshot can hold.
        """
        self.fleet._ask("save", self.number)

    def wait(self, timeout: float | None = None) -> EnclaveRow:
        """Wait for its end, and tell of it.  Raises WaitTimeoutError after timeout seconds; it goes on."""
        seconds = checked_timeout(timeout)
        until = math.inf if seconds is None else time.monotonic() + seconds
        while True:
            left = max(0.0, until - time.monotonic())
            row: EnclaveRow | None = self.fleet._ask("wait", self.number, min(SLICE, left))
            if row is not None:
                return row
            if left <= SLICE:
                raise WaitTimeoutError(f"enclave {self.number} is still alive after {timeout} seconds")

    @property
    def row(self) -> EnclaveRow:
        """What the fleet tells of it now."""
        return next(row for row in self.fleet.enclaves() if row.number == self.number)

    @property
    def output(self) -> bytes:
        """What it has written, as far as its machine has kept it.  Raises StateError if that has died."""
        text: bytes = self.fleet._ask("output", self.number)
        return text

    def verify(
        self,
        *,
        measurement: bytes,
        devices: Iterable[bytes] = (),
        nonce: int | None = None,
    ) -> Report:
        """Have its monitor report on it, and check what that proves; the report.

        One that runs is stopped for a moment.  measurement: what it has to be, 32 bytes; penglai.measure
        computes it.  devices: public keys of the devices on which it may be; empty: any.  nonce: 64 bits; a
        random one by default.

        Raises AttestationError if the report does not prove it.
        """
        number = secrets.randbits(64) if nonce is None else nonce
        report = Report(self.fleet._ask("attest", self.number, number))
        _check(report, measurement, number, frozenset(devices))
        return report


@dataclass(frozen=True)
class Saving:
    """every: seconds between two snapshots, or None.  store: their directory; None: the fleet's own."""

    every: float | None = None
    store: Path | None = None

    @classmethod
    def checked(cls, every: float | None, store: str | os.PathLike[str] | None) -> Self:
        """The same of what a user gives.  Raises BadArgumentError."""
        seconds = checked_timeout(every)
        if seconds == 0:
            raise BadArgumentError("snapshots every 0 seconds: leave some time between two")
        return cls(seconds, None if store is None else Path(store).absolute())


def start_recorded(
    nodes: int, memory: int | str, harts: int, state: Path | None, saving: Saving | None = None
) -> Fleet:
    """The user's fleet, which outlives this process and which Fleet.connect finds.

    Raises ExistsError if there is one, and as Fleet does.
    """
    size = _size(memory, harts)
    with site.recorded() as path:
        site.check_free(path)
        here = _started(nodes, size, _state(state), saving or Saving(), record=path)
    fleet = Fleet.__new__(Fleet)
    fleet._enter(here, ends=False)
    return fleet


def end_recorded() -> int:
    """End what is left of the user's fleet; how many nodes it had.  Raises FleetError if there is none."""
    with site.recorded() as path:
        here = site.found(path)
        here.end()
    return len(here.sessions)


def _started(nodes: int, size: Size, state: Path, saving: Saving, record: Path | None = None) -> site.Site:
    """Nodes, the keeper and the machines; this process is in the fleet.  After an error nothing is left.

    record: of a fleet that outlives this process.
    """
    from penglai.fleet import cluster  # noqa: PLC0415 - Ray, which is not in every installation
    from penglai.fleet.keeper import CALLS, KEEPER, Keeper  # noqa: PLC0415 - Ray, which is not in every installation

    if nodes < 1:
        raise BadArgumentError(f"a fleet of {nodes} nodes: it has at least one")
    cluster.check_outside()
    here = site.Site.new(tied=record is None, record=record)
    try:
        (first,) = here.add(1, size)
        cluster.connect(here.door)
        store = saving.store or here.snapshots
        store.mkdir(parents=True, exist_ok=True)
        keeper = cluster.start(Keeper, store, saving.every, resources=HEAD, calls=CALLS, name=KEEPER)
        cluster.answer(cluster.ask(keeper, "open"))
        adding = [cluster.ask(keeper, "add_machine", first, size, state)]
        for _ in range(nodes - 1):  # meanwhile
            (name,) = here.add(1, size)
            adding.append(cluster.ask(keeper, "add_machine", name, size, state))
        for each in adding:
            cluster.answer(each)
    except BaseException:
        _leave(here)
        raise
    return here


def _leave(ended: site.Site | None) -> None:
    from penglai.fleet import cluster  # noqa: PLC0415 - Ray, which is not in every installation

    cluster.disconnect()
    if ended is not None:
        ended.end()


def _size(memory: int | str, harts: int) -> Size:
    return Size(check_size(parse_size(memory)), harts)


def _state(state: str | os.PathLike[str] | None) -> Path:
    return (state_dir() if state is None else Path(state)).absolute()


def _check(report: Report, measurement: bytes, nonce: int, devices: frozenset[bytes]) -> None:
    """Raises AttestationError unless it is of this enclave, and on one of these devices if any are given."""
    if devices and report.device_key not in devices:
        raise AttestationError("the report is of a device that is not allowed")
    report.verify(measurement=measurement, nonce=nonce, device_key=report.device_key)


def _short(name: str) -> str:
    """As much of a file's name, whole characters, as an enclave's name can have."""
    while len(os.fsencode(name)) >= NAME_BYTES:
        name = name[:-1]
    return name
