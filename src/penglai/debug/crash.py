"""A fault as it was seen: copies of what a backtrace is made from, taken before the enclave is gone.

The copies are taken on the hart, under the enclave's lock, and are short; reading programs waits until
somebody asks.
"""

import functools
import logging
import threading
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from penglai.debug.checks import meaning
from penglai.debug.copies import snapshot
from penglai.debug.images import Images
from penglai.debug.stack import Snapshot
from penglai.debug.surroundings import describe
from penglai.driver.fault import Fault, Frame
from penglai.machine.context import X_NAMES, Trap
from penglai.machine.memory import PhysicalMemory
from penglai.monitor.enclave import Enclave

log = logging.getLogger(__name__)

STACK_BYTES = 64 << 10
"""Of a stack, from the stack pointer on, so much is copied."""

MOST_ENCLAVES = 8
"""Of a chain of calls, the innermost."""

KEPT = 32
"""Faults that a machine remembers."""


@dataclass(frozen=True)
class Crash:
    """A fault, and all that was copied of it.

    run: eid of the enclave at the bottom of the chain.  enclaves: the chain, the innermost first, which
    faulted.  images: where the programs are found.
    """

    run: int
    trap: Trap
    lay: str
    enclaves: tuple[Snapshot, ...]
    images: Images

    @property
    def address(self) -> int:
        """What a host would be told of it."""
        return self.trap.tval if self.lay else self.trap.epc

    @property
    def enclave(self) -> str:
        return self.enclaves[0].label

    @property
    def registers(self) -> dict[str, int]:
        inner = self.enclaves[0]
        return {"pc": inner.pc, **dict(zip(X_NAMES[1:], inner.registers[1:], strict=True))}

    @functools.cached_property
    def backtrace(self) -> tuple[Frame, ...]:
        from penglai.debug.backtrace import frames  # noqa: PLC0415 - reading ELFs takes long to import

        return tuple(frame for seen in self.enclaves for frame in frames(seen, self.images.find(seen.eid)))

    @functools.cached_property
    def where(self) -> str:
        from penglai.debug.backtrace import variable  # noqa: PLC0415 - as above

        if not self.lay:
            return next((meaning(frame.function) for frame in self.backtrace), "")
        near = variable(self.images.find(self.enclaves[0].eid), self.trap.tval)
        return f"{self.lay} ({near})" if near else self.lay


class Crashes:
    """The latest faults of a machine.  Plain copies: nothing here leads into the machine."""

    def __init__(self, images: Images) -> None:
        self.images = images
        self._lock = threading.Lock()
        self._kept: deque[Crash] = deque(maxlen=KEPT)
        self._seen: deque[Crash] = deque(maxlen=KEPT)

    def note(self, crash: Crash) -> None:
        """Keep one."""
        with self._lock:
            self._kept.append(crash)
            self._seen.append(crash)

    def made(self, eid: int, origin: Path | bytes) -> None:
        """See host.enclave.Witness."""
        self.images.note(eid, origin)

    def explain(self, eid: int, fault: Fault) -> Fault:
        """A fault that ended a run, with what was seen of it."""
        with self._lock:
            seen = [crash for crash in self._kept if crash.run == eid and crash.trap.cause == fault.cause]
            if not seen:
                return fault
            self._kept.remove(seen[-1])  # it is the fault's now
        return Fault(fault.cause, fault.address, seen[-1])

    def latest(self) -> list[Fault]:
        """The latest faults, the oldest first."""
        with self._lock:
            seen = list(self._seen)
        return [Fault(crash.trap.cause, crash.address, crash) for crash in seen]

    def of_servers(self, eid: int) -> list[Fault]:
        """Faults of servers that this enclave had called, which are gone while it went on."""
        with self._lock:
            seen = [crash for crash in self._kept if crash.run == eid and len(crash.enclaves) > 1]
        return [Fault(crash.trap.cause, crash.address, crash) for crash in seen]


def watcher(memory: PhysicalMemory, crashes: Crashes) -> Callable[[Enclave, Trap], None]:
    """What the monitor calls at a fault.  Whatever goes wrong, the monitor is not to know."""

    def watch(run: Enclave, trap: Trap) -> None:
        try:
            chain = [frame.server for frame in reversed(run.frames)][: MOST_ENCLAVES - 1]
            lay = describe(run.active, trap.cause, trap.tval)
            seen = tuple(snapshot(memory, each, STACK_BYTES) for each in (*chain, run))
            crashes.note(Crash(run.eid, trap, lay, seen, crashes.images))
        except Exception:
            log.exception("a fault of %r could not be looked at", run)

    return watch
