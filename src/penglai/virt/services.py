"""The firmware's services to an operating system: what every RISC-V machine offers through the SBI.

SBI specification 2.0: base, time, IPI, remote fences, hart state, reset, debug console, and the console and
timer of version 0.1, which Linux still uses.  There is one hart to serve, number 0; calls of other extensions
go to whoever else has firmware here.
"""

from collections.abc import Callable, Sequence
from typing import NamedTuple, Protocol

from penglai.abi.errors import AccessFault
from penglai.abi.firmware import (
    IMPLEMENTATION_ID,
    LEGACY_LAST,
    SPEC_VERSION,
    Base,
    Console,
    Extension,
    Hsm,
    ResetType,
    Status,
)
from penglai.abi.sbi import SbiResult
from penglai.machine.memory import HostMemory
from penglai.machine.supervisor import Supervisor

REGISTER = (1 << 64) - 1
ALL_HARTS = REGISTER
"""hart_mask_base -1: every hart."""

MAX_CONSOLE_BYTES = 1 << 16
"""One call of the debug console writes or reads at most so much; the guest calls again for the rest."""

OK = SbiResult(Status.SUCCESS, 0)
INVALID = SbiResult(Status.INVALID_PARAM, 0)


class ConsolePort(Protocol):
    """What a console gives to the machine."""

    def write(self, data: bytes) -> None:
        """Show bytes."""

    def read(self, limit: int) -> bytes:
        """Up to limit bytes that were typed and nobody has read; none if there are none."""

    @property
    def waiting(self) -> bool:
        """True if something was typed that nobody has read."""

    @property
    def size(self) -> tuple[int, int]:
        """Columns and rows."""


class Reset(NamedTuple):
    """The guest has switched the machine off, or wants it to begin anew."""

    type: ResetType
    reason: int


class Services:
    """Firmware for the hart of a supervisor.

    memory: what the guest may name.  other: answers calls of extensions that are not here, as
    other(extension, function, arguments); extensions: which those are.
    """

    def __init__(
        self,
        supervisor: Supervisor,
        memory: HostMemory,
        console: ConsolePort,
        other: Callable[[int, int, tuple[int, ...]], SbiResult],
        extensions: frozenset[int] = frozenset(),
    ) -> None:
        self._supervisor = supervisor
        self._memory = memory
        self._console = console
        self._other = other
        self._known = extensions | frozenset(Extension)
        self.reset: Reset | None = None
        """Not None once the guest has asked for it; it does not run on."""

    def answer(self, registers: Sequence[int]) -> tuple[int, int]:
        """Serve the call in a0..a7; a0 and a1 as the guest finds them."""
        extension, function = registers[7], registers[6]
        if extension <= LEGACY_LAST:
            return self._legacy(extension, registers[0]) & REGISTER, registers[1]
        handler = _HANDLERS.get(extension)
        if handler is None:
            result = self._other(extension, function, tuple(registers[:6]))
        else:
            result = handler(self, function, registers[0], registers[1], registers[2])
        return result.error & REGISTER, result.value & REGISTER

    # ---- version 0.1: a0 is the only result ----------------------------------------------------

    def _legacy(self, extension: int, a0: int) -> int:
        match extension:
            case Extension.LEGACY_SET_TIMER:
                self._supervisor.set_timer(a0)
            case Extension.LEGACY_PUTCHAR:
                self._console.write(bytes([a0 & 0xFF]))
            case Extension.LEGACY_GETCHAR:
                typed = self._console.read(1)
                return typed[0] if typed else -1
            case Extension.LEGACY_SEND_IPI:
                self._supervisor.raise_software_interrupt()
            case Extension.LEGACY_FENCE_I | Extension.LEGACY_SFENCE_VMA | Extension.LEGACY_SFENCE_VMA_ASID:
                self._supervisor.flush()
            case Extension.LEGACY_SHUTDOWN:
                self.reset = Reset(ResetType.SHUTDOWN, 0)
            case Extension.LEGACY_CLEAR_IPI:
                pass  # the guest clears sip.SSIP itself
            case _:
                return int(Status.NOT_SUPPORTED)
        return int(Status.SUCCESS)

    # ---- since version 0.2 ---------------------------------------------------------------------

    def _base(self, function: int, a0: int, _a1: int, _a2: int) -> SbiResult:
        if function == Base.PROBE_EXTENSION:
            return SbiResult(Status.SUCCESS, int(a0 in self._known))
        values = {Base.GET_SPEC_VERSION: SPEC_VERSION, Base.GET_IMPL_ID: IMPLEMENTATION_ID}
        if function in tuple(Base):
            return SbiResult(Status.SUCCESS, values.get(Base(function), 0))
        return SbiResult(Status.NOT_SUPPORTED, 0)

    def _time(self, function: int, a0: int, _a1: int, _a2: int) -> SbiResult:
        if function:
            return SbiResult(Status.NOT_SUPPORTED, 0)
        self._supervisor.set_timer(a0)
        return OK

    def _ipi(self, function: int, mask: int, base: int, _a2: int) -> SbiResult:
        if function:
            return SbiResult(Status.NOT_SUPPORTED, 0)
        if not _only_hart_0(mask, base):
            return INVALID
        if base == ALL_HARTS or mask:
            self._supervisor.raise_software_interrupt()
        return OK

    def _rfence(self, function: int, mask: int, base: int, _a2: int) -> SbiResult:
        """All fences are alike: stores of the guest to its code are seen anyhow, and the TLB is small."""
        if function > 2:
            return SbiResult(Status.NOT_SUPPORTED, 0)
        if not _only_hart_0(mask, base):
            return INVALID
        self._supervisor.flush()
        return OK

    def _hsm(self, function: int, hart: int, _a1: int, _a2: int) -> SbiResult:
        match function:
            case Hsm.START:
                return INVALID if hart else SbiResult(Status.ALREADY_AVAILABLE, 0)
            case Hsm.GET_STATUS:
                return INVALID if hart else OK  # 0: started
            case Hsm.STOP:
                return SbiResult(Status.FAILED, 0)  # it is the only one
        return SbiResult(Status.NOT_SUPPORTED, 0)

    def _srst(self, function: int, kind: int, reason: int, _a2: int) -> SbiResult:
        if function:
            return SbiResult(Status.NOT_SUPPORTED, 0)
        if kind not in tuple(ResetType):
            return INVALID
        self.reset = Reset(ResetType(kind), reason)
        return OK

    def _dbcn(self, function: int, a0: int, low: int, high: int) -> SbiResult:
        address, size = low | high << 64, min(a0, MAX_CONSOLE_BYTES)
        try:
            match function:
                case Console.WRITE_BYTE:
                    self._console.write(bytes([a0 & 0xFF]))
                    return OK
                case Console.WRITE:
                    self._console.write(self._memory.read(address, size))
                    return SbiResult(Status.SUCCESS, size)
                case Console.READ:
                    return SbiResult(Status.SUCCESS, self._read_console(address, size))
        except AccessFault:
            return INVALID
        return SbiResult(Status.NOT_SUPPORTED, 0)

    def _read_console(self, address: int, size: int) -> int:
        """Fill in what was typed; how much.  Raises AccessFault, and nothing typed is lost."""
        self._memory.check(address, size)
        typed = self._console.read(size)
        self._memory.write(address, typed)
        self._supervisor.written(address, len(typed))
        return len(typed)


def _only_hart_0(mask: int, base: int) -> bool:
    return base == ALL_HARTS or (base == 0 and mask <= 1)


_Handler = Callable[[Services, int, int, int, int], SbiResult]
_HANDLERS: dict[int, _Handler] = {
    Extension.BASE: Services._base,
    Extension.TIME: Services._time,
    Extension.IPI: Services._ipi,
    Extension.RFENCE: Services._rfence,
    Extension.HSM: Services._hsm,
    Extension.SRST: Services._srst,
    Extension.DBCN: Services._dbcn,
}
