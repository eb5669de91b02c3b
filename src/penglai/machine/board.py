"""The board: memory, clock and harts, with a socket for firmware (M-mode) and one for a host (S-mode)."""

import logging
import os
import sys
import threading
from array import array
from collections.abc import Callable
from operator import index

from penglai.abi import riscv
from penglai.abi.errors import BadArgumentError, MachineError
from penglai.abi.firmware import Extension, Status
from penglai.abi.sbi import SbiResult
from penglai.machine.clock import Clock
from penglai.machine.engine import Engine, Probe, choose
from penglai.machine.hart import Hart
from penglai.machine.memory import HostMemory, PhysicalMemory
from penglai.machine.store import Store

log = logging.getLogger(__name__)

MAX_HARTS = 64
REGISTER = (1 << 64) - 1
TIME = int(Extension.TIME)

PATIENCE = 0.0002
"""Seconds after which a thread that waits for Python's lock asks for it, at most.

An enclave that makes one call after the other lets go of the lock for a moment at each, too short for a
thread that has to wake up first: it gets the lock when it asks.  With Python's own 5 ms a destroy, which lets
go of the lock a dozen times, could be held up for a tenth of a second.
"""

Firmware = Callable[["Hart | None", int, int, tuple[int, ...]], SbiResult]
"""M-mode's answer to an SBI call: (hart, extension, function, arguments) -> result.

hart: the one that called, None for a host thread without one.
"""


class _Forks:
    """How often this process, or one that it comes from, was forked."""

    count = 0

    @classmethod
    def note(cls) -> None:
        cls.count += 1


os.register_at_fork(after_in_child=_Forks.note)


class HostPort:
    """The host's side of a hart: it makes SBI calls and reads the time, and that is all it can do.

    A port of a hart enters enclaves on it, and is in one call at a time.  A port without one belongs to a
    host thread: its calls that would enter an enclave return as if a timer interrupt had come first.
    """

    __slots__ = ("ecall", "time")

    def __init__(self, ecall: Callable[..., SbiResult], time: Callable[[], int]) -> None:
        self.ecall = ecall
        """ecall(extension, function, *arguments) -> SbiResult"""
        self.time = time
        """time() -> the time CSR, in units of 100 ns"""


def start_thread(thread: threading.Thread) -> None:
    """Start a thread.  Raises MachineError if the system gives none."""
    try:
        thread.start()
    except RuntimeError as error:
        raise MachineError(f"the system gives the machine no thread more: {error}") from error


class Board:
    """A machine without software.

    memory: bytes of RAM, or RAM.  harts: how many (1 to 64), each with a thread of its own once switched on.
    store: the storage that outlives a restart; by default nothing does.  engine: what executes the harts'
    code, or its name; by default PENGLAI_ENGINE says.  floats: the harts have a floating-point unit.
    probe: a debugger's, on each hart.  Raises BadArgumentError.
    """

    def __init__(
        self,
        memory: int | PhysicalMemory,
        harts: int,
        clock: Clock | None = None,
        store: Store | None = None,
        engine: Engine | str | None = None,
        *,
        floats: bool = True,
        probe: Probe | None = None,
    ) -> None:
        if not 1 <= harts <= MAX_HARTS:
            raise BadArgumentError(f"a machine of {harts} harts: it must have 1 to {MAX_HARTS}")
        sys.setswitchinterval(min(sys.getswitchinterval(), PATIENCE))
        self.memory = memory if isinstance(memory, PhysicalMemory) else PhysicalMemory(memory)
        self.clock = clock or Clock()
        self.store = store or Store(None)
        self.engine = choose(engine)
        self.floats = floats
        self.debuggable = probe is not None
        """Whether its owner can look into what runs on it, and stop it anywhere: firmware has to say so."""
        self.harts = tuple(
            Hart(number, self.memory, self.clock, self.engine, floats=floats, probe=probe)
            for number in range(harts)
        )
        self._calling = [threading.Lock() for _ in range(harts)]
        self._firmware: Firmware | None = None
        self._threads: list[threading.Thread] = []
        self._open = True
        self._forks = _Forks.count

    def install(self, firmware: Firmware) -> None:
        """Put the M-mode software in: from now on it answers SBI calls that are not the machine's own."""
        self._firmware = firmware

    def host_memory(self) -> HostMemory:
        """RAM as the host's bus shows it."""
        return HostMemory(self.memory)

    def host_port(self, hart: Hart | None = None) -> HostPort:
        """A port of a hart, or of a host thread without one."""

        def ecall(extension: int, function: int, *arguments: int) -> SbiResult:
            return self._ecall(hart, extension, function, arguments)

        return HostPort(ecall, self.clock.ticks)

    def power_on(self, host_main: Callable[[HostPort], None]) -> None:
        """Start each hart's thread in the host: host_main(port of the hart) runs there until it returns.

        Raises MachineError if the system gives no thread.
        """
        for hart in self.harts:
            thread = threading.Thread(
                target=self._main,
                args=(hart, host_main),
                name=f"penglai-hart-{hart.id}",
                daemon=True,
            )
            start_thread(thread)
            self._threads.append(thread)

    def _main(self, hart: Hart, host_main: Callable[[HostPort], None]) -> None:
        hart.begin_thread()
        host_main(self.host_port(hart))

    def power_off(self, timeout: float = 10.0) -> None:
        """Wait until the harts have left the host's main, and give the memory back.

        The host must have told its mains to return.  timeout: seconds for each hart; if one does not
        come, the memory stays and a message is logged.
        """
        for hart, thread in zip(self.harts, self._threads, strict=False):
            thread.join(timeout)
            if thread.is_alive():
                log.error("%r did not come to an end; its memory is not given back", hart)
                self._open = False
                return
        self._open = False
        self.harts = ()
        self.memory.close()

    def _ecall(
        self, hart: Hart | None, extension: int, function: int, arguments: tuple[int, ...]
    ) -> SbiResult:
        if not self._open:
            raise MachineError("the machine is switched off")
        if _Forks.count != self._forks:
            raise MachineError("the machine lives in the process that made it, not in its forks")
        given = (extension, function, *arguments)
        try:
            extension, function, *words = array("Q", given)
        except OverflowError:  # more than a register holds: its low bits
            extension, function, *words = (index(word) & REGISTER for word in given)
        arguments = tuple(words)
        if extension == TIME and function == 0 and hart is not None and len(arguments) == 1:
            hart.deadline = min(arguments[0] * riscv.NS_PER_TICK, (1 << 64) - 1)
            return SbiResult(0, 0)
        if self._firmware is None:
            return SbiResult(Status.NOT_SUPPORTED, 0)
        if hart is None:
            return self._firmware(None, extension, function, arguments)
        calling = self._calling[hart.id]
        if not calling.acquire(False):
            raise MachineError(f"{hart!r} is in a call already; its port belongs to one thread")
        try:
            return self._firmware(hart, extension, function, arguments)
        finally:
            calling.release()
