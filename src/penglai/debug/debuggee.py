"""What a debugger looks at: an enclave that runs or is in a recording, or the host's hart."""

import threading
from typing import Protocol

from penglai.machine.context import Context


class History(Protocol):
    """What has happened, and does again."""

    @property
    def where(self) -> bytes:
        """At which end of it the target is, as the protocol has it; nothing between them."""

    def go_back(self, *, step: bool) -> None:
        """Let it go back, to a breakpoint or by one instruction."""


class Debuggee(Protocol):
    """What is in a debugger."""

    halted: bool
    attended: bool
    breakpoints: set[int]

    @property
    def number(self) -> int:
        """Of its one thread: the enclave's id."""

    @property
    def title(self) -> str:
        """What it is, for people."""

    @property
    def history(self) -> History | None:
        """What it can go back in."""

    @property
    def alive(self) -> bool:
        """Whether it has not ended."""

    @property
    def context(self) -> Context:
        """Its registers; exact while it is halted."""

    def halt(self) -> None:
        """Stop it wherever it is."""

    def resume(self, *, step: bool, deliver: bool) -> None:
        """Let it run, or one instruction of it.  deliver: what it has done wrong has its consequences."""

    def read(self, address: int, size: int) -> bytes:
        """What is at an address, as far as there is something."""

    def write(self, address: int, data: bytes) -> bool:
        """Write there; False, and nothing is written, if that cannot be."""


class Locked(Protocol):
    """Who has the lock of a debuggee."""

    lock: threading.Condition
