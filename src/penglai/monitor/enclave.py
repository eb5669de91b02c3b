"""The record of an enclave: plain data."""

import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from penglai.abi import layout
from penglai.abi.ecall import CallArg
from penglai.abi.limits import Limits
from penglai.abi.riscv import PAGE_SIZE, Cause, Pte
from penglai.abi.sbi import EnclaveType
from penglai.abi.snapshot import Policy
from penglai.abi.state import State
from penglai.machine.context import Context
from penglai.machine.hart import Hart
from penglai.machine.pages import Pages
from penglai.machine.sv39 import TablePlan
from penglai.monitor.pagetable import Addresses, Entries, PageTable
from penglai.monitor.regions import Region, Regions, Source
from penglai.monitor.sealing import Filling, Sealing

ECALL_BYTES = 4
WORD = (1 << 64) - 1
NO_LIMITS = Limits()
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
class InstancePlan:
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
class ShadowPages:
    """The pages of a shadow, from which its instances are made: address, page and permissions of each.

    instance_plan: what the latest instances were made with; the shadow's lock guards it.
    """

    addresses: Addresses
    pages: Pages
    permissions: NDArray[np.uint8]
    instance_plan: InstancePlan | None = None

    @property
    def fixed(self) -> NDArray[np.int64]:
        """Which of them nobody can write, so that all instances have them in common."""
        return np.flatnonzero(self.permissions & np.uint8(Pte.W) == 0)

    @property
    def shared(self) -> Pages:
        """The pages themselves."""
        return self.pages[self.fixed]


@dataclass(frozen=True)
class Reflected:
    """Where an enclave was when an ecall or an event of it went to a handler, and what the trap was."""

    pc: int
    a6: int
    a7: int
    cause: int = int(Cause.ECALL_U)
    tval: int = 0


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
    handles: of servers that it has acquired, their eids.  vouched: for names of servers of which it has had
    a report, whose that was.  attached: by key, the secure memories that it maps.  created: keys of
    those that it has made, and created_pages: of all of them.  limits: of what it can make grow.
    increments, hollow: in the profile "tvm", the pages of each growth of its heap, and keys of memories
    without pages.
    frames: the calls of servers under way, the innermost last; only a runnable enclave has any.  active:
    whose context runs when this one is on a hart: the innermost server, or itself.
    shadow_pages: of a shadow.  template: the shadow that an instance was made from.  ocall: id of the ocall
    without an answer.  handler: where ecalls go that are not Penglai's, or 0.  event_handler: where the
    events go that it has asked for.  final_info: where the host wants the account when the enclave ends,
    or 0.  clock_offset: its time of day is the machine's plus this, ns.  policy: which snapshots it allows.
    uid, generation: which enclave it is in all snapshots of it, b"" if there was none, and how often it has
    been restored.  sealing, filling: a snapshot that is being made of it, or from which it is being made.
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
    heap_pages: int = 0
    regions: Regions = field(default_factory=Regions)
    shm: Pages = field(default_factory=lambda: NO_PAGES)
    shadow_pages: ShadowPages | None = None
    template: "Enclave | None" = None
    frames: list[Frame] = field(default_factory=list)
    caller: "Enclave | None" = None
    handles: dict[int, int] = field(default_factory=dict)
    vouched: dict[str, int] = field(default_factory=dict)
    attached: dict[int, Region] = field(default_factory=dict)
    created: set[int] = field(default_factory=set)
    created_pages: int = 0
    increments: list[int] = field(default_factory=list)
    hollow: set[int] = field(default_factory=set)
    limits: Limits = NO_LIMITS
    handler: int = 0
    event_handler: int = 0
    events: int = 0
    reflected: Reflected | None = None
    ocall: int | None = None
    account: Account = field(default_factory=Account)
    final_info: int = 0
    clock_offset: int = 0
    policy: int = int(Policy.MOVE)
    uid: bytes = b""
    generation: int = 0
    sealing: Sealing | None = None
    filling: Filling | None = None
    hart: Hart | None = None
    entered_ns: int = 0
    lock: threading.Lock = field(default_factory=threading.Lock, repr=False)

    def __post_init__(self) -> None:
        self.active: Enclave = self

    def complete(self, result: int) -> None:
        """The call under way ends with this result: a0 is set and the ecall is passed."""
        context = self.context
        context.a0 = result & WORD
        context.pc = (context.pc + ECALL_BYTES) & WORD

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
        return layout.HEAP_BASE + self.heap_pages * PAGE_SIZE

    def owned(self) -> Iterator[Pages]:
        """The pages that the enclave owns, by part; table pages are not among them."""
        yield self.image
        if self.heap_pages:
            yield self.table.pages_at(layout.HEAP_BASE, self.heap_pages)
        for region in self.regions:
            if region.source is not Source.SECURE_SHM:
                yield self.table.pages_at(region.start, region.page_count)

    @property
    def page_count(self) -> int:
        """How many pages the enclave owns."""
        return len(self.image) + self.heap_pages + self.regions.own_pages

    @property
    def used(self) -> int:
        """How many pages of the pool are in use for it, which is what its limit is about."""
        mapped = len(self.image) + self.heap_pages + self.regions.pages
        return mapped + len(self.table.tables) + self.created_pages

    def leave_hart(self, now: int) -> None:
        """The enclave is on no hart any more; now: the clock, ns."""
        self.account.run_ns += now - self.entered_ns
        self.hart = None

    def run_ns(self, now: int) -> int:
        """Time on harts up to now, ns."""
        return self.account.run_ns + (now - self.entered_ns if self.hart is not None else 0)

    def __repr__(self) -> str:
        return f"<Enclave {self.eid} {self.state} {self.name!r} {self.page_count} pages>"


def first_context(entry: int, satp: int) -> Context:
    """The registers with which an enclave begins (docs/abi.md, section 3): all others are zero."""
    return Context(pc=entry, satp=satp, priv=0, sp=layout.STACK_TOP)
