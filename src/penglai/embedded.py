"""The embedded host: machine, monitor and driver put together in this process.

The one place, beside the command, where the untrusted and the trusted side are seen together; nothing but
their sockets is passed across (docs/decisions/0002-rooms.md).
"""

import os
import warnings
import weakref
from collections.abc import Callable
from pathlib import Path

from penglai.abi.errors import MachineError, StateError
from penglai.driver.disk import BufferDisk, FileDisk, MemoryDisk
from penglai.driver.driver import Driver
from penglai.driver.shared import SharedMemory
from penglai.driver.shield import Shield
from penglai.host.console import Console
from penglai.host.program import HostProgram
from penglai.machine.board import Board
from penglai.machine.clock import Clock
from penglai.machine.memory import parse_size
from penglai.machine.store import Store, default_state_dir
from penglai.monitor.monitor import Monitor
from penglai.sdk.build import find_image
from penglai.tracing.trace import Trace

DISK = "disk.img"


class Machine(HostProgram):
    """A RISC-V machine with the secure monitor and a host, in this process.

    memory: bytes, or text like "256M"; a multiple of 2 MiB.  harts: how many enclaves run at once.
    on_output: called as on_output(eid, text) for each write of an enclave, on a thread of its own; the
    enclave waits until it returns.  clock: another clock, for tests.  state: the directory of what outlives
    a restart, the device's keys and its disk; by default the user's own ($PENGLAI_STATE, or
    ~/.local/state/penglai); None: nothing outlives this machine.

    A context manager; leaving it destroys all enclaves and switches the machine off.  The machine is
    itself a host program; `program` makes others.

    Raises BadArgumentError for sizes that make no machine, ToolchainError if the engine cannot be built.
    """

    def __init__(
        self,
        memory: int | str = "256M",
        harts: int = 2,
        *,
        on_output: Callable[[int, bytes], None] | None = None,
        clock: Clock | None = None,
        state: str | os.PathLike[str] | None = "",
    ) -> None:
        self.console = Console(on_output)
        directory = default_state_dir() if state == "" else None if state is None else Path(state)
        self._board = Board(parse_size(memory), harts, clock, Store(directory))
        self._monitor = Monitor(self._board)
        disk = MemoryDisk() if directory is None else FileDisk(directory / DISK)
        self._driver = Driver(self._board.host_memory(), self._board.host_port(), self.console, disk)
        super().__init__(self._driver, find_image)
        self._board.power_on(self._driver.hart_main)
        self._trace: Trace | None = None
        self._off = weakref.finalize(self, _switch_off, self._driver, self._board, harts, os.getpid())

    @property
    def on_output(self) -> Callable[[int, bytes], None] | None:
        """The function that gets what enclaves write, or None."""
        return self.console.listener

    @on_output.setter
    def on_output(self, listener: Callable[[int, bytes], None] | None) -> None:
        self.console.listener = listener

    @property
    def device_key(self) -> bytes:
        """The device's public key, 64 bytes: what a verifier of its reports has to know beforehand."""
        return self._monitor.platform.keys.device_key

    def use_disk(self, memory: SharedMemory) -> None:
        """Keep the sectors that enclaves store in this shared memory, instead of on the machine's disk."""
        self._driver.ocalls.disk = BufferDisk(memoryview(memory))

    def program(self) -> HostProgram:
        """Another host process on this machine, with enclaves of its own."""
        return HostProgram(self._driver, find_image)

    def trace(self, path: str | os.PathLike[str]) -> Trace:
        """Write into a file what runs where and when, until the trace is closed: with machine.trace(path).

        It is in the trace event format, which ui.perfetto.dev shows.  A file of that name
        is written over.

        Raises BadArgumentError if the file cannot be written, StateError while there is another trace,
        MachineError if the machine is switched off.
        """
        if not self._off.alive:
            raise MachineError("the machine is switched off")
        if self._trace is not None and self._trace.open:
            raise StateError("a trace of this machine is being written; close it first")
        with Shield():
            self._trace = Trace(path, self._board, self._monitor)
        return self._trace

    def close(self) -> None:
        """Destroy all enclaves and switch off; a trace is complete then.  More than once does nothing."""
        super().close()
        self._off()
        if self._trace is not None:
            self._trace.close()

    def __del__(self) -> None:
        if (off := getattr(self, "_off", None)) is not None and off.alive:
            warnings.warn(f"{self!r} was never closed; use it in a with block", ResourceWarning, stacklevel=2)
            off()

    def __repr__(self) -> str:
        memory = self._board.memory
        power = "on" if self._off.alive else "off"
        return f"<Machine {power} {memory.size >> 20} MiB {len(self.enclaves)} enclaves>"


def _switch_off(driver: Driver, board: Board, harts: int, pid: int) -> None:
    if os.getpid() != pid:
        return  # a fork of the process has the objects, but none of the harts
    driver.close(harts)
    board.power_off()
