"""The record of an enclave: plain data."""

import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from penglai.abi import layout
from penglai.abi.ecall import CallArg
from penglai.abi.riscv import PAGE_SIZE
from penglai.abi.sbi import EnclaveType
from penglai.abi.state import State
from penglai.machine.context import Context
from penglai.machine.hart import Hart
from penglai.machine.pages import Pages
from penglai.machine.sv39 import TablePlan
from penglai.monitor.pagetable import Addresses, Entries, PageTable
from penglai.monitor.regions import Region, Regions, Source

NO_PAGES: Pages = np.empty(0, dtype=np.int64)


@dataclass(frozen=True)
class Mailbox:
    """Physical addresses of u64 words of the host's, through which it learns of ocalls and the end."""

    ocall_id: int
    ocall_arg0: int
    ocall_arg1: int
    syscall: int
    retval: int


@dataclass(slots=True)
class Account:
    """What an enclave has used.  run_ns: time on harts, without the slice that is under way.

    calls: its ecalls with Penglai's number; a call that waits for memory and is made again counts once.
    server_calls: of servers, that were begun.  ocalls: requests to the host.
    """

    run_ns: int = 0
    stops: int = 0
    preemptions: int = 0
    calls: int = 0
    server_calls: int = 0
    ocalls: int = 0


@dataclass(frozen=True)
class Mould:
    """What all instances of a shadow that have as much stack and shared memory (bytes) have in common.

    words: their page table, without the entries of the pages that each has for itself: these go to `slots`,
    with the lower bits `flags`.  sources: the shadow's pages that each has a copy of.
    """

    stack_pages: int
    shm_size: int
    plan: TablePlan
    words: Entries
    slots: NDArray[np.int64]
    flags: Entries
    sources: Pages


@dataclass
class Blueprint:
    """The pages of a shadow, from which its instances are made: address, page and permissions of each.

    mould: what the latest instances were made with; the shadow's lock guards it.
    """

    addresses: Addresses
    pages: Pages
    permissions: NDArray[np.uint8]
    mould: Mould | None = None


@dataclass(frozen=True)
class Reflected:
    """Where an enclave was when an ecall of it went to its handler: pc, a6 and a7."""

    pc: int
    a6: int
    a7: int


class Frame(NamedTuple):
    """A call of a server under way.

    argument: address of the call_arg in the caller, 0 if nobody waits for the answer; request: what was
    read there.  lent: the region that the caller passed, as it was there, and lent_at: where the server
    has it.
    """

    server: "Enclave"
    caller: "Enclave"
    argument: int
    request: CallArg
    lent: Region | None
    lent_at: int


@dataclass(eq=False)
class Enclave:
    """One enclave: normal, instance of a shadow, server or shadow.

    Everything here is the monitor's own.  `lock` guards all of it and is held for every call and every
    trap, never while the enclave executes: while `hart` is set, the context belongs to that hart, and
    who wants it interrupts the hart first.  A server that is BUSY belongs to the enclave that is at the
    bottom of the chain of calls, and is guarded by that one's lock; its `state` by the registry's.

    image: the pages of its own that it was made of, and code: the runs of those that are executable; heap:
    its heap's pages; shm: the host's shared memory.  kernel_buffer: the page shared with the host.
    frames: the calls of servers under way, the innermost last; only a runnable enclave has any.  active:
    whose context runs when this one is on a hart: the innermost server, or itself.
    blueprint: of a shadow.  template: the shadow that an instance was made from.  ocall: id of the ocall
    without an answer.  handler: where ecalls go that are not Penglai's, or 0.  final_info: where the host
    wants the account when the enclave ends, or 0.
    """

    eid: int
    kind: EnclaveType
    name: str
    entry: int
    measurement: bytes
    table: PageTable
    image: Pages
    code: list[slice]
    kernel_buffer: int
    mailbox: Mailbox
    context: Context
    state: State = State.FRESH
    heap: Pages = field(default_factory=lambda: NO_PAGES)
    regions: Regions = field(default_factory=Regions)
    shm: Pages = field(default_factory=lambda: NO_PAGES)
    blueprint: Blueprint | None = None
    template: "Enclave | None" = None
    frames: list[Frame] = field(default_factory=list)
    caller: "Enclave | None" = None
    handles: set[int] = field(default_factory=set)
    handler: int = 0
    reflected: Reflected | None = None
    ocall: int | None = None
    account: Account = field(default_factory=Account)
    final_info: int = 0
    hart: Hart | None = None
    entered_ns: int = 0
    lock: threading.Lock = field(default_factory=threading.Lock, repr=False)

    def __post_init__(self) -> None:
        self.active: Enclave = self

    def push(self, frame: Frame) -> None:
        """A server begins to run in place of what runs now."""
        self.frames.append(frame)
        self.active = frame.server

    def pop(self) -> Frame:
        """The innermost server runs no more."""
        frame = self.frames.pop()
        self.active = self.frames[-1].server if self.frames else self
        return frame

    @property
    def heap_top(self) -> int:
        """The first address after the heap."""
        return layout.HEAP_BASE + len(self.heap) * PAGE_SIZE

    def owned(self) -> Iterator[Pages]:
        """The pages that the enclave owns, by part; table pages are not among them."""
        yield self.image
        yield self.heap
        for region in self.regions:
            if region.source is not Source.SECURE_SHM:
                yield region.pages

    @property
    def page_count(self) -> int:
        """How many pages the enclave owns."""
        return sum(map(len, self.owned()))

    def leave_hart(self, now: int) -> None:
        """The enclave is on no hart any more; now: the clock, ns."""
        self.account.run_ns += now - self.entered_ns
        self.hart = None

    def run_ns(self, now: int) -> int:
        """Time on harts up to now, ns."""
        return self.account.run_ns + (now - self.entered_ns if self.hart is not None else 0)

    def __repr__(self) -> str:
        return f"<Enclave {self.eid} {self.state} {self.name!r} {self.page_count} pages>"
