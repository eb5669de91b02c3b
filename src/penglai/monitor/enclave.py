"""The record of an enclave: plain data."""

import threading
from dataclasses import dataclass, field

import numpy as np

from penglai.abi import layout
from penglai.abi.state import State
from penglai.machine.context import Context
from penglai.machine.hart import Hart
from penglai.machine.memory import Pages
from penglai.monitor.pagetable import PageTable


@dataclass(frozen=True)
class Mailbox:
    """Physical addresses of u64 words of the host's, through which it learns of ocalls and the end."""

    ocall_id: int
    ocall_arg0: int
    ocall_arg1: int
    syscall: int
    retval: int


@dataclass
class Account:
    """What an enclave has used.  run_ns: time on harts, without the slice that is under way."""

    run_ns: int = 0
    stops: int = 0
    preemptions: int = 0


@dataclass(eq=False)
class Enclave:
    """One enclave.

    Everything here is the monitor's own.  `lock` guards all of it and is held for every call and every
    trap, never while the enclave executes: while `hart` is set, the context belongs to that hart, and
    who wants it interrupts the hart first.

    pages: the pages that the enclave owns, table pages not among them.  code: those of them that are
    executable.  kernel_buffer: the page shared
    with the host.  heap_top: the first address after the heap.  ocall: id of the ocall without an answer.
    final_info: where the host wants the account when the enclave ends, or 0.
    """

    eid: int
    name: str
    entry: int
    measurement: bytes
    table: PageTable
    pages: Pages
    code: Pages
    kernel_buffer: int
    mailbox: Mailbox
    context: Context
    state: State = State.FRESH
    heap_top: int = layout.HEAP_BASE
    ocall: int | None = None
    account: Account = field(default_factory=Account)
    final_info: int = 0
    hart: Hart | None = None
    entered_ns: int = 0
    lock: threading.Lock = field(default_factory=threading.Lock, repr=False)

    def own(self, pages: Pages) -> None:
        """Note pages as the enclave's."""
        self.pages = np.concatenate([self.pages, pages])

    def disown(self, pages: Pages) -> None:
        """Note pages as no longer the enclave's."""
        self.pages = self.pages[~np.isin(self.pages, pages)]

    def leave_hart(self, now: int) -> None:
        """The enclave is on no hart any more; now: the clock, ns."""
        self.account.run_ns += now - self.entered_ns
        self.hart = None

    def run_ns(self, now: int) -> int:
        """Time on harts up to now, ns."""
        return self.account.run_ns + (now - self.entered_ns if self.hart is not None else 0)

    def __repr__(self) -> str:
        return f"<Enclave {self.eid} {self.state} {self.name!r} {len(self.pages)} pages>"
