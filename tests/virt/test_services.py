"""What the firmware offers to an operating system, called as one calls it: by ecall from S-mode."""

from collections.abc import Iterator

import numpy as np
import pytest
from tests.support.smode import CODE, DATA, FAR, Bare
from tests.virt.devices.test_console import Port

from penglai.abi.firmware import SPEC_VERSION, Extension, ResetType
from penglai.abi.sbi import SbiResult
from penglai.machine import HostMemory, ManualClock
from penglai.machine.supervisor import Exit
from penglai.virt.services import Reset, Services

MINUS = (1 << 64) - 1
CALLS = "1: ecall\nj 1b\n"
"""A guest that calls with whatever registers the test has set."""


class Host:
    """A guest that makes calls, and the services that answer them."""

    def __init__(self) -> None:
        self.console = Port()
        self.other: list[tuple[int, int, tuple[int, ...]]] = []
        self.guest = Bare(CALLS, ManualClock())
        self.services = Services(
            self.guest.hart, HostMemory(self.guest.memory), self.console, self._answer, frozenset([0xABC])
        )

    def _answer(self, extension: int, function: int, arguments: tuple[int, ...]) -> SbiResult:
        self.other.append((extension, function, arguments))
        return SbiResult(-2, 5)

    def call(self, extension: int, function: int = 0, *arguments: int) -> tuple[int, int]:
        """a0 and a1 as the guest finds them; a0 signed."""
        registers = [*arguments, *[0] * (6 - len(arguments)), function, extension]
        for number, value in enumerate(registers):
            self.guest.hart._quick.supervisor_set_x(self.guest.hart._pointer, 10 + number, value % (1 << 64))
        self.guest.hart.exit.a[0], self.guest.hart.exit.a[1] = (value % (1 << 64) for value in registers[:2])
        assert self.guest.run() is Exit.CALL
        a0, a1 = self.services.answer(self.guest.hart.exit.a)
        return a0 - (1 << 64) if a0 >> 63 else a0, a1


@pytest.fixture
def host() -> Iterator[Host]:
    host = Host()
    yield host
    host.guest.memory.close()


def test_base_tells_what_is_there(host: Host):
    assert host.call(Extension.BASE, 0) == (0, SPEC_VERSION)
    for extension in (*Extension, 0xABC):
        assert host.call(Extension.BASE, 3, extension) == (0, 1)
    assert host.call(Extension.BASE, 3, 0x504D55) == (0, 0)
    assert [host.call(Extension.BASE, number) for number in (4, 5, 6)] == [(0, 0)] * 3
    assert host.call(Extension.BASE, 7) == (-2, 0)


def test_other_extensions_go_to_whoever_has_them(host: Host):
    assert host.call(0xABC, 3, 1, 2, 3, 4, 5, 6) == (-2, 5)
    assert host.other == [(0xABC, 3, (1, 2, 3, 4, 5, 6))]


@pytest.mark.parametrize("extension", [Extension.TIME, Extension.LEGACY_SET_TIMER])
def test_the_timer_is_set(host: Host, extension: Extension):
    assert host.call(extension, 0, 50)[0] == 0
    assert host.guest.hart.timer_ns == 5000
    host.call(extension, 0, MINUS)
    assert host.guest.hart.timer_ns == MINUS, "never"


def test_an_unknown_function_is_not_supported(host: Host):
    for extension in (Extension.TIME, Extension.IPI, Extension.RFENCE, Extension.SRST, Extension.HSM):
        assert host.call(extension, 77) == (-2, 0)
    assert host.call(Extension.DBCN, 77) == (-2, 0)
    assert host.call(9)[0] == -2, "no such extension of version 0.1"


@pytest.mark.parametrize(
    ("mask", "base", "error"), [(1, 0, 0), (0, 0, 0), (0, MINUS, 0), (2, 0, -3), (1, 1, -3)]
)
def test_there_is_one_hart_to_interrupt_and_to_fence(host: Host, mask: int, base: int, error: int):
    for extension in (Extension.IPI, Extension.RFENCE):
        assert host.call(extension, 0, mask, base) == (error, 0)


def test_the_state_of_harts(host: Host):
    assert host.call(Extension.HSM, 2, 0) == (0, 0)
    assert host.call(Extension.HSM, 2, 1) == (-3, 0)
    assert host.call(Extension.HSM, 0, 0, CODE) == (-6, 0)
    assert host.call(Extension.HSM, 0, 1, CODE) == (-3, 0)
    assert host.call(Extension.HSM, 1) == (-1, 0)


@pytest.mark.parametrize("kind", ResetType)
def test_a_guest_that_switches_off_is_heard(host: Host, kind: ResetType):
    host.call(Extension.SRST, 0, 5)
    assert host.services.reset is None, "no such reset"
    host.call(Extension.SRST, 0, kind, 1)
    assert host.services.reset == Reset(kind, 1)


def test_version_0_1_has_a_shutdown_and_a_console(host: Host):
    for character in b"hi":
        assert host.call(Extension.LEGACY_PUTCHAR, 0, character, 42) == (0, 42), "a1 stays"
    assert host.console.shown == b"hi"
    assert host.call(Extension.LEGACY_GETCHAR)[0] == -1
    host.console.typed += b"x"
    assert host.call(Extension.LEGACY_GETCHAR)[0] == ord("x")
    for extension in (3, 4, 5, 6, 7):
        assert host.call(extension)[0] == 0
    host.call(Extension.LEGACY_SHUTDOWN)
    assert host.services.reset == Reset(ResetType.SHUTDOWN, 0)


def test_the_debug_console_moves_text_by_the_buffer(host: Host):
    host.guest.memory.write(DATA, b"from the guest")
    assert host.call(Extension.DBCN, 0, 14, DATA) == (0, 14)
    assert host.call(Extension.DBCN, 2, ord("!")) == (0, 0)
    assert host.console.shown == b"from the guest!"
    host.console.typed += b"to the guest"
    assert host.call(Extension.DBCN, 1, 100, DATA) == (0, 12)
    assert host.guest.memory.read(DATA, 12) == b"to the guest"
    assert host.call(Extension.DBCN, 1, 100, DATA) == (0, 0)


@pytest.mark.parametrize(
    ("low", "high"), [(0x1000, 0), (DATA, 1), (FAR, 0), (CODE + (16 << 20) - 8, 0), (MINUS, 0)]
)
def test_the_debug_console_reaches_only_the_hosts_memory(host: Host, low: int, high: int):
    page = host.guest.memory.page_of(FAR)
    with host.guest.memory.lock:
        host.guest.memory.show(np.array([page]), visible=False)
    host.console.typed += b"typed"
    assert host.call(Extension.DBCN, 0, 16, low, high) == (-3, 0)
    assert host.call(Extension.DBCN, 1, 16, low, high) == (-3, 0)
    assert (host.console.shown, host.console.typed) == (b"", b"typed"), "nothing is lost"


def test_a_long_text_is_taken_in_pieces(host: Host):
    assert host.call(Extension.DBCN, 0, 1 << 40, CODE) == (0, 1 << 16)
