"""The nodes of a fleet on this computer, the directory that they share, and the file that tells of them."""

import contextlib
import fcntl
import json
import secrets
import shutil
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from penglai.abi.errors import ExistsError, FleetError
from penglai.fleet import nodes
from penglai.fleet.door import Door, Plan
from penglai.fleet.nodes import Session
from penglai.fleet.rows import Size
from penglai.toolchain.places import state_dir

RECORD = "fleet.json"
ATTEMPTS = 3
TOKEN = "token"  # noqa: S105 - the file's name
"""Name of the file with what everybody has to show who wants to be in the fleet."""


@dataclass
class Site:
    """directory: for Ray's files, below /tmp, since paths of sockets are short.  sessions: by names of nodes.

    tied: its nodes end with this process.  record: the file that tells of it, also while
    it comes up.  planned: how many nodes were begun.  started: those that this process has started.
    """

    directory: Path
    tied: bool = False
    record: Path | None = None
    address: str = ""
    sessions: dict[str, Session] = field(default_factory=dict)
    planned: int = 0
    started: list[nodes.Started] = field(default_factory=list, repr=False)

    @classmethod
    def new(cls, *, tied: bool, record: Path | None = None) -> "Site":
        """One without nodes.  Whoever has its token may do what this user may; nobody else can read it."""
        site = cls(Path(tempfile.mkdtemp(prefix="penglai-fleet-")), tied, record)
        site.snapshots.mkdir()
        token = site.directory / TOKEN
        token.touch(0o600)
        token.write_text(secrets.token_hex(32), encoding="ascii")
        return site

    @property
    def snapshots(self) -> Path:
        """The directory of snapshots, unless another one is named."""
        return self.directory / "snapshots"

    @property
    def door(self) -> Door:
        """How to get in."""
        return Door(self.address, self.directory / TOKEN)

    def add(self, count: int, size: Size) -> list[str]:
        """Start nodes that offer this much each; their names.

        One after the other, since Ray's choice of names for sockets is no good for two at once.  Raises
        FleetError if one does not come up; `end` ends the others.
        """
        return [self._start(size) for _ in range(count)]

    def _start(self, size: Size, attempts: int = ATTEMPTS) -> str:
        """One node.  If it does not come up it is tried again: Ray waits for no more than 30 seconds."""
        self.planned += 1
        name = f"node-{self.planned}"
        plan = Plan(name, str(self.directory), size.pages, size.harts, self.address, self.tied)
        started = nodes.start(plan, self.door.environment())
        self.sessions[name] = started.session
        self.keep()
        self.started.append(started)
        try:
            self.address = started.address()
        except FleetError:
            if attempts == 1 or not self.address:
                raise
            nodes.end([self.sessions.pop(name)])
            self.planned -= 1
            return self._start(size, attempts - 1)
        self.keep()
        return name

    def keep(self) -> None:
        """Bring the record up to date, whole or not at all, if there is one."""
        if self.record is None:
            return
        text = {
            "directory": str(self.directory),
            "address": self.address,
            "sessions": {name: [each.number, each.began] for name, each in self.sessions.items()},
        }
        beside = self.record.with_suffix(".new")
        beside.write_text(json.dumps(text), encoding="utf-8")
        beside.replace(self.record)

    def end_node(self, name: str) -> None:
        """End one node, if it is on this computer."""
        if session := self.sessions.get(name):
            nodes.end([session])

    def end(self) -> None:
        """End the nodes; nothing of them is left.  More than once does nothing."""
        nodes.end(reversed(self.sessions.values()))
        for started in self.started:
            started.close()
        shutil.rmtree(self.directory, ignore_errors=True)
        if self.record is not None:
            self.record.unlink(missing_ok=True)


@contextlib.contextmanager
def recorded() -> Iterator[Path]:
    """The path of the user's record, which may not be there; nobody else changes it meanwhile."""
    directory = state_dir()
    directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    with (directory / ".fleet.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield directory / RECORD


def found(path: Path) -> Site:
    """The user's fleet.  Raises FleetError if there is none."""
    try:
        text = path.read_text(encoding="utf-8")
        record = json.loads(text)
        sessions = {name: Session(*numbers) for name, numbers in record["sessions"].items()}
        return Site(
            Path(record["directory"]),
            address=record["address"],
            record=path,
            sessions=sessions,
            planned=len(sessions),
        )
    except FileNotFoundError:
        raise FleetError("no fleet is up; start one with: penglai fleet up") from None
    except (ValueError, KeyError, TypeError) as error:
        raise FleetError(f"{path} is damaged ({error}); remove it, and what runs of the fleet") from None


def check_free(path: Path) -> None:
    """Raises ExistsError if the user has a fleet."""
    if path.exists():
        raise ExistsError("a fleet is up already; end it with: penglai fleet down")
