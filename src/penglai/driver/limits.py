"""How far enclaves can make things grow on a machine: its owner says."""

from dataclasses import dataclass

from penglai.abi import limits as monitor
from penglai.abi.errors import BadArgumentError
from penglai.abi.limits import CODE_BYTES, DISK_BYTES, Limit
from penglai.abi.riscv import PAGE_SIZE
from penglai.machine.memory import parse_size
from penglai.machine.ratelimit import LINES_PER_SECOND

DEFAULTS = monitor.Limits()
CONSOLE_BYTES = 16 << 20


@dataclass(frozen=True)
class Limits:
    """How far enclaves can make things grow.

    Of each enclave: memory (bytes, or text like "64M"; with its page tables; None: as the machine has),
    regions that it has mapped, secure memories that it has made, handles of servers, servers of which it has
    reports.

    Of all together: disk, bytes of sectors; console, bytes that are kept of what they write; log_lines,
    messages that they cause in the log each second; code_cache, bytes that their code may take as the native
    engine has translated it, with its tables: what finds no room runs on Unicorn.

    Raises BadArgumentError for what is not a size.
    """

    memory: int | str | None = None
    regions: int = DEFAULTS.regions
    shared: int = DEFAULTS.shared
    handles: int = DEFAULTS.handles
    reported: int = DEFAULTS.reported
    disk: int | str = DISK_BYTES
    console: int | str = CONSOLE_BYTES
    log_lines: int = LINES_PER_SECOND
    code_cache: int | str = CODE_BYTES

    def __post_init__(self) -> None:
        for name, value in vars(self).items():
            if value is not None and _number(value) < 0:
                raise BadArgumentError(f"a limit of {value} for {name}: it must not be negative")

    @property
    def disk_bytes(self) -> int:
        """Size of the disk."""
        return _number(self.disk)

    @property
    def console_bytes(self) -> int:
        """What the console keeps."""
        return _number(self.console)

    @property
    def code_bytes(self) -> int:
        """What translated code may take."""
        return _number(self.code_cache)

    def of_the_monitor(self) -> dict[Limit, int]:
        """Those that the monitor watches."""
        pages = monitor.NO_LIMIT if self.memory is None else _number(self.memory) // PAGE_SIZE
        return {
            Limit.PAGES: pages,
            Limit.REGIONS: self.regions,
            Limit.SHARED: self.shared,
            Limit.HANDLES: self.handles,
            Limit.REPORTED: self.reported,
        }


def _number(value: int | str) -> int:
    return parse_size(value)
