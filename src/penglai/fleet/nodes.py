"""Starting the processes of nodes on this computer, and ending them: these and no others.

Each node is a session of the system's (setsid), which its processes never leave: so what belongs to it can be
named without looking at names of programs.
"""

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

from penglai.abi.errors import FleetError
from penglai.fleet.door import Plan

GRACE = 10.0
"""Seconds in which a node may end by itself before it is killed."""
POLL = 0.02


@dataclass(frozen=True)
class Session:
    """A node's processes.  number: of the session.  began: when its first one did, in ticks."""

    number: int
    began: int

    def processes(self) -> list[int]:
        """Those that live."""
        first = _stat(self.number)
        if first is not None and first.began != self.began:
            return []  # the number is somebody else's now
        found = ((int(path.name), _stat(int(path.name))) for path in Path("/proc").glob("[0-9]*"))
        return [pid for pid, stat in found if stat is not None and stat.session == self.number and stat.alive]

    def signal(self, number: int) -> None:
        """Send a signal to each."""
        for pid in self.processes():
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, number)

    def terminate(self) -> None:
        """Ask the first one to end all; it does if it lives."""
        stat = _stat(self.number)
        if stat is not None and stat.began == self.began:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.number, signal.SIGTERM)
        else:
            self.signal(signal.SIGKILL)


@dataclass(frozen=True)
class _Stat:
    session: int
    began: int
    alive: bool


def _stat(pid: int) -> _Stat | None:
    """What the system says of a process: man 5 proc_pid_stat."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return None
    fields = text.rpartition(")")[2].split()
    return _Stat(session=int(fields[3]), began=int(fields[19]), alive=fields[0] not in "ZX")


@dataclass
class Started:
    """A node that was started; `address` waits until it is there.  process: its first one."""

    process: "subprocess.Popen[str]"
    session: Session
    log: Path

    def close(self) -> None:
        """It has ended."""
        self.process.wait()
        for pipe in (self.process.stdin, self.process.stdout):
            assert pipe is not None
            with contextlib.suppress(BrokenPipeError):
                pipe.close()

    def address(self) -> str:
        """The cluster's.  Raises FleetError, with what the node has said, if it does not come up."""
        assert self.process.stdout is not None
        with self.process.stdout as lines:
            address = lines.readline().strip()
        if address:
            return address
        said = self.log.read_text(encoding="utf-8", errors="replace").strip().splitlines()
        raise FleetError(f"a node could not be started: {said[-1] if said else 'it ended'} (see {self.log})")


def start(plan: Plan, environment: Mapping[str, str]) -> Started:
    """Start a node.  One that is tied ends with this process, whose end closes its input."""
    log = Path(plan.directory, f"{plan.name}.log")
    with log.open("wb") as messages:
        process = subprocess.Popen(
            [sys.executable, "-m", "penglai.fleet.node"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=messages,
            text=True,
            env={**os.environ, **environment},
            start_new_session=True,
        )
    stat = _stat(process.pid)
    assert process.stdin is not None
    with contextlib.suppress(BrokenPipeError):
        process.stdin.write(json.dumps(asdict(plan)) + "\n")
        process.stdin.flush()
    return Started(process, Session(process.pid, stat.began if stat else 0), log)


def end(sessions: Iterable[Session]) -> None:
    """End nodes, and wait until none of their processes is left."""
    left = list(sessions)
    for session in left:
        session.terminate()
    give_up = time.monotonic() + GRACE
    while left := [session for session in left if session.processes()]:
        if time.monotonic() > give_up:
            for session in left:
                session.signal(signal.SIGKILL)
        time.sleep(POLL)
