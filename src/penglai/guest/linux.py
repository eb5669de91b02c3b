"""A machine whose host is Linux: a hart in S-mode, and beside it board and monitor."""

import logging
import math
import threading
import time
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Self

from penglai.abi import sbi
from penglai.abi.errors import BadArgumentError, MachineError
from penglai.abi.profile import ProfileName
from penglai.abi.sbi import SbiResult
from penglai.abi.timeout import checked_timeout
from penglai.guest.sharing import Share
from penglai.machine.board import MAX_HARTS, start_thread
from penglai.machine.clock import Clock
from penglai.machine.memory import HostMemory, PhysicalMemory, check_size, parse_size
from penglai.virt.devices.virtio import Function
from penglai.virt.guard import Guard
from penglai.virt.services import ConsolePort
from penglai.virt.system import Outcome, Software, System, Vendor

if TYPE_CHECKING:
    from penglai.guest.firmware import Firmware
    from penglai.monitor.monitor import Monitor

log = logging.getLogger(__name__)

LOOKS_UP = 0.5
"""Seconds.  The system may hand a signal to any thread, and Python serves it on the main one, which has to
run for that: it does not wait longer than this at once."""

CREATES = (sbi.HostCall.CREATE, sbi.HostCall.CREATE_SERVER, sbi.HostCall.CREATE_SHADOW)

DRIVER = "penglai,monitor"
"""What penglai.ko looks for in the device tree."""


class LinuxGuest:
    """A machine that runs an operating system as its host.

    software: what is started.  console: its terminal.  memory: bytes, or text like "256M"; a multiple of
    2 MiB.  harts: 1 for Linux, the others for enclaves; with one, enclaves take turns with Linux.  state: the
    directory of what outlives a restart; None: nothing does.  shares: directories of the real machine that it
    may use.  profile: how the monitor behaves, as for Machine.

    A context manager; leaving it switches the machine off.

    Raises BadArgumentError for sizes that make no machine and directories that cannot be shared, ImageError,
    NoMemoryError for software that cannot be started, ToolchainError if the engine cannot be built.
    """

    def __init__(
        self,
        software: Software,
        console: ConsolePort,
        memory: int | str = "256M",
        harts: int = 2,
        *,
        clock: Clock | None = None,
        state: Path | None = None,
        shares: Sequence[Share] = (),
        profile: str = ProfileName.NATIVE,
    ) -> None:
        self._profile = ProfileName.named(profile)
        self.memory = PhysicalMemory(check_sizes(memory, harts))
        self._clock = clock or Clock()
        self._harts = harts
        self._state = state
        self._done = threading.Event()
        self._ended: Outcome | Exception | None = None
        self._firmware_lock = threading.Lock()
        self._firmware: Firmware | None = None
        self._guard = Guard(HostMemory(self.memory), self.memory.protect)
        vendor = Vendor(
            extensions=frozenset([sbi.EXTENSION]),
            answer=self._answer,
            waiting=lambda: self._firmware is not None and self._firmware.waiting,
            name="penglai",
            compatible=DRIVER,
        )
        self._shared = ExitStack()
        try:
            functions = [_share_function(share, self._shared) for share in shares]
            self.system = System(self.memory, self._clock, software, console, vendor, functions)
        except BaseException:
            self._shared.close()
            self.memory.close()
            raise
        self._thread = threading.Thread(target=self._main, name="penglai-host", daemon=True)

    def start(self) -> None:
        """Let it begin; returns at once."""
        start_thread(self._thread)

    def wait(self, timeout: float | None = None) -> Outcome:
        """Wait until the guest has ended.  Raises TimeoutError, or MachineError if it could not go on."""
        seconds = checked_timeout(timeout)
        end = math.inf if seconds is None else time.monotonic() + seconds
        while not self._done.wait(max(0.0, min(LOOKS_UP, end - time.monotonic()))):
            if time.monotonic() >= end:
                raise TimeoutError(f"the guest still runs after {timeout} seconds")
        if isinstance(self._ended, Exception):
            raise MachineError(f"the machine cannot go on: {self._ended}") from self._ended
        assert self._ended is not None
        return self._ended

    @property
    def done(self) -> bool:
        """True once the guest has ended."""
        return self._done.is_set()

    def close(self) -> None:
        """Switch the machine off.  More than once does nothing."""
        if self._thread.is_alive():
            self.system.close()
            self._thread.join()
        with self._firmware_lock:
            if self._firmware is None:
                self.memory.close()
            else:
                self._firmware.close()
        self._shared.close()

    # ---- the monitor, which is there when it is first called -----------------------------------

    def warm_up(self) -> None:
        """Make what the first call of the monitor needs, so that it need not wait."""
        self._have_firmware()

    @property
    def monitor(self) -> "Monitor":
        """What guards the enclaves of this machine; for those who examine it."""
        return self._have_firmware().monitor

    def _answer(self, extension: int, function: int, arguments: tuple[int, ...]) -> SbiResult:
        if extension == sbi.EXTENSION:
            guarded = self._guard.answer(function, arguments)
            if guarded is not None:
                return guarded
        result = self._have_firmware().answer(extension, function, arguments)
        if extension == sbi.EXTENSION and function in CREATES and not result.error:
            self._guard.created(arguments[0])
        return result

    def _have_firmware(self) -> "Firmware":
        with self._firmware_lock:
            if self._firmware is None:
                from penglai.guest.firmware import Firmware  # noqa: PLC0415 - booting waits for no monitor

                self._firmware = Firmware(
                    self.memory, self._clock, self.system, self._harts, self._state, self._fail, self._profile
                )
            return self._firmware

    # ---- the host's thread ---------------------------------------------------------------------

    def _main(self) -> None:
        try:
            self._finish(self.system.run())
        except Exception as error:
            log.critical("the host's hart fails: %r", error, exc_info=True)
            self._finish(error)

    def _finish(self, outcome: Outcome | Exception) -> None:
        """Only the first outcome counts."""
        if self._ended is None:
            self._ended = outcome
        self._done.set()

    def _fail(self, error: Exception) -> None:
        """A hart of enclaves has failed: the machine stops."""
        self._finish(error)
        self.system.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"<LinuxGuest {'off' if self.done else 'on'} {self.memory.size >> 20} MiB>"


def check_sizes(memory: int | str, harts: int) -> int:
    """Bytes of memory.  Raises BadArgumentError for sizes that make no machine."""
    if not 1 <= harts <= MAX_HARTS:
        raise BadArgumentError(f"a machine of {harts} harts: it must have 1 to {MAX_HARTS}")
    return check_size(parse_size(memory))


def _share_function(share: Share, shared: ExitStack) -> Function:
    """The device of a share."""
    from penglai.virt.devices.share import ShareFunction  # noqa: PLC0415 - only if something is shared

    function = ShareFunction(share.directory, share.tag, share.read_only)
    shared.callback(function.close)
    return function
