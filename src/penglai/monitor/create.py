"""Create: an enclave out of an image that lies in the host's memory, or an instance out of a shadow.

Decode, then invoke: `decode` and `decode_instance` check every value of the host and return a request that
can be trusted to be well-formed; `build` and `instantiate` copy, measure and map, and give everything back
if they cannot finish.
"""

import ctypes
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from penglai.abi import layout
from penglai.abi.errors import ErrorCode
from penglai.abi.riscv import PAGE_SIZE, TABLE_ENTRIES, Pte
from penglai.abi.sbi import CreateParam, EnclaveType, ShadowRunParam
from penglai.abi.snapshot import RestoreParam
from penglai.abi.state import State
from penglai.attestation.measure import measure
from penglai.machine.context import Context
from penglai.machine.pages import Pages, all_runs
from penglai.machine.sv39 import TablePlan, plan_tables
from penglai.monitor.enclave import NO_PAGES, Enclave, InstancePlan, Mailbox, ShadowPages, first_context
from penglai.monitor.hosttable import read_image
from penglai.monitor.mapping import DATA
from penglai.monitor.ownership import MONITOR, Ownership
from penglai.monitor.pagetable import (
    FLAGS,
    Addresses,
    Entries,
    PageTable,
    entry_flags,
    make_entries,
    page_numbers,
)
from penglai.monitor.platform import Platform
from penglai.monitor.refusal import Refusal, bad_argument
from penglai.monitor.usermem import decode_name

FIRST_STATE = {
    EnclaveType.NORMAL: State.FRESH,
    EnclaveType.SERVER: State.IDLE,
    EnclaveType.SHADOW: State.TEMPLATE,
}

SHM_LIMIT = (1 << (layout.ADDRESS_BITS - 1)) - layout.SHARED_BASE
"""Bytes of shared memory that fit above SHARED_BASE."""


@dataclass(frozen=True)
class HostSide:
    """What an enclave has of the host's: physical addresses, checked, the host's when looked at.

    shm, shm_size: shared memory, size 0 for none.
    """

    kbuffer: int
    mailbox: Mailbox
    eid_pa: int
    shm: int
    shm_size: int


@dataclass(frozen=True)
class CreateRequest:
    """A create request, checked: numbers in range, addresses aligned."""

    kind: EnclaveType
    name: str
    entry: int
    paddr: int
    size: int
    host: HostSide


@dataclass(frozen=True)
class InstanceRequest:
    """A request for an instance, checked.  stack_pages: how many it gets.  relay: address and size, or 0."""

    name: str
    stack_pages: int
    relay: int
    relay_size: int
    host: HostSide


def decode(ownership: Ownership, param_pa: int, kind: EnclaveType) -> CreateRequest:
    """Copy and check the create_param at param_pa.  Raises Refusal."""
    param = CreateParam.from_buffer_copy(ownership.read_host(param_pa, ctypes.sizeof(CreateParam)))
    if param.type != kind:
        raise bad_argument(f"enclave type {param.type} where {kind} is expected")
    if param.paddr % PAGE_SIZE or param.size % PAGE_SIZE or param.size < 2 * PAGE_SIZE:
        raise bad_argument("the image region is not made of whole pages")
    ownership.check_host(param.paddr, param.size, align=PAGE_SIZE)
    if not layout.TEXT_BASE <= param.entry < layout.HEAP_BASE or param.entry % 2:
        raise bad_argument(f"entry point {param.entry:#x} lies outside the text region")
    host = decode_host_side(ownership, param)
    return CreateRequest(kind, _decode_name(param), param.entry, param.paddr, param.size, host)


def decode_instance(ownership: Ownership, param_pa: int, page_count: int) -> InstanceRequest:
    """Copy and check the shadow_run_param at param_pa.  page_count: pages of RAM.  Raises Refusal."""
    raw = ownership.read_host(param_pa, ctypes.sizeof(ShadowRunParam))
    param = ShadowRunParam.from_buffer_copy(raw)
    stack = param.size or layout.DEFAULT_STACK_SIZE
    if stack % PAGE_SIZE or stack // PAGE_SIZE > page_count:
        raise bad_argument(f"a stack of {stack:#x} bytes: not whole pages that the machine can have")
    host = decode_host_side(ownership, param)
    return InstanceRequest(_decode_name(param), stack // PAGE_SIZE, param.relay_pa, param.relay_size, host)


def build(platform: Platform, request: CreateRequest) -> Enclave:
    """Make an enclave.  Raises Refusal, with everything as it was before."""
    memory, ownership = platform.memory, platform.ownership
    image = read_image(ownership, request.paddr, request.size)
    shadow = request.kind is EnclaveType.SHADOW
    if shadow and (image.addresses >= layout.MMAP_TOP).any():
        raise bad_argument("a shadow has no stack: its instances get theirs when they are made")

    plan, flags = lay_out(image.addresses, image.permissions, request.host.shm_size)
    with Construction(platform, request.host, len(image.sources), plan) as site:
        ownership.copy_from_host(image.sources, site.own)

        def read(which: slice) -> bytes | memoryview:
            """The kernel buffer, which comes last, is measured as the page of zeros that it will be."""
            return (
                memory.pages[site.own[which]].reshape(-1).data
                if which.start < len(site.own)
                else bytes(PAGE_SIZE)
            )

        addresses = np.append(image.addresses, np.uint64(layout.KERNEL_BUFFER))
        permissions = np.append(image.permissions, np.uint8(DATA))
        measurement = measure(request.kind, request.entry, addresses, permissions, read)
        words = np.zeros(plan.tables * TABLE_ENTRIES, dtype=np.uint64)
        table = site.map(words, plan.slots, flags)
        eid = site.finish()
    return Enclave(
        eid=eid,
        kind=request.kind,
        name=request.name,
        entry=request.entry,
        measurement=measurement,
        table=table,
        image=site.own,
        code=all_runs(site.own[image.permissions & Pte.X != 0]),
        kernel_buffer=site.buffer,
        mailbox=request.host.mailbox,
        context=_first_context(request.entry, table.satp, site.shm),
        state=FIRST_STATE[request.kind],
        shm=site.shm,
        limits=platform.registry.limits,
        shadow_pages=ShadowPages(image.addresses, site.own, image.permissions) if shadow else None,
    )


def instantiate(platform: Platform, shadow: Enclave, request: InstanceRequest) -> Enclave:
    """Make an instance of a shadow: its own copy of what can be written, the rest shared.

    Raises Refusal, with everything as it was before.
    """
    assert shadow.shadow_pages is not None
    instance_plan = _mould_for(platform, shadow.shadow_pages, request.stack_pages, request.host.shm_size)
    count = len(instance_plan.sources)
    with Construction(platform, request.host, count + request.stack_pages, instance_plan.plan) as site:
        platform.memory.pages[site.own[:count]] = platform.memory.pages[instance_plan.sources]
        if platform.profile.dirty is not None:
            platform.memory.pages[site.own[count:]] = platform.profile.dirty  # its stack
        table = site.map(instance_plan.words.copy(), instance_plan.slots, instance_plan.flags)
        eid = site.finish()
    return Enclave(
        eid=eid,
        kind=EnclaveType.NORMAL,
        name=request.name or shadow.name,
        entry=shadow.entry,
        measurement=shadow.measurement,
        table=table,
        image=site.own,
        code=[],
        kernel_buffer=site.buffer,
        mailbox=request.host.mailbox,
        context=_first_context(shadow.entry, table.satp, site.shm),
        shm=site.shm,
        limits=platform.registry.limits,
        template=shadow,
    )


def lay_out(addresses: Addresses, permissions: NDArray[np.uint8], shm_size: int) -> tuple[TablePlan, Entries]:
    """The plan of an enclave's first table, and the lower bits of its entries.

    It maps n pages of the enclave's own, as given, then its shared memory, then its kernel buffer.
    """
    shared = np.arange(layout.SHARED_BASE, layout.SHARED_BASE + shm_size, PAGE_SIZE, dtype=np.uint64)
    buffer = np.array([layout.KERNEL_BUFFER], dtype=np.uint64)
    extra = np.full(len(shared) + 1, entry_flags(DATA), dtype=np.uint64)
    plan = plan_tables(page_numbers(np.concatenate([addresses, shared, buffer])))
    return plan, np.concatenate([FLAGS[permissions], extra])


def _mould_for(
    platform: Platform, shadow_pages: ShadowPages, stack_pages: int, shm_size: int
) -> InstancePlan:
    """What a shadow's instances with such a stack and shared memory have in common; the latest is kept.

    Raises Refusal (bad argument) for a stack that the address space has no room for.
    """
    found = shadow_pages.instance_plan
    if found is not None and (found.stack_pages, found.shm_size) == (stack_pages, shm_size):
        return found
    bottom = layout.STACK_TOP - stack_pages * PAGE_SIZE
    if bottom < layout.MMAP_TOP:
        raise bad_argument(f"a stack of {stack_pages} pages: the address space has no room for it")
    stack = np.arange(bottom, layout.STACK_TOP, PAGE_SIZE, dtype=np.uint64)
    permissions = np.concatenate([shadow_pages.permissions, np.full(stack_pages, DATA, dtype=np.uint8)])
    plan, flags = lay_out(np.concatenate([shadow_pages.addresses, stack]), permissions, shm_size)
    fixed = shadow_pages.fixed
    own = np.ones(len(plan.slots), dtype=np.bool_)
    own[fixed] = False
    words = np.zeros(plan.tables * TABLE_ENTRIES, dtype=np.uint64)
    words[plan.slots[fixed]] = make_entries(platform.memory, shadow_pages.pages[fixed], flags[fixed])
    sources = shadow_pages.pages[own[: len(shadow_pages.pages)]]
    shadow_pages.instance_plan = InstancePlan(
        stack_pages, shm_size, plan, words, plan.slots[own], flags[own], sources
    )
    return shadow_pages.instance_plan


class Construction:
    """The pages of an enclave that is being made; leaving it with an exception gives them all back.

    own: zeroed pages for the enclave.  buffer: the kernel buffer.  shm: the host's shared memory.
    """

    def __init__(self, platform: Platform, host: HostSide, count: int, plan: TablePlan) -> None:
        self._platform = platform
        self._host = host
        self._plan = plan
        most = platform.registry.limits.pages
        if count + plan.tables > most:
            raise Refusal(ErrorCode.ALLOCATION_FAILED, f"{count + plan.tables} pages, of at most {most}")
        self._taken = platform.ownership.take(count + plan.tables, MONITOR)
        self.own: Pages = self._taken[:count]
        self._tables: Pages = self._taken[count:]
        self.shm: Pages = NO_PAGES
        self.buffer = -1

    def __enter__(self) -> "Construction":
        try:
            self._share()
        except BaseException:
            self._undo()
            raise
        return self

    def __exit__(self, kind: object, error: object, trace: object) -> None:
        if error is not None:
            self._undo()

    def map(self, words: Entries, slots: NDArray[np.int64], flags: Entries) -> PageTable:
        """The page table.  words: all of it but the entries of the enclave's own pages, its shared memory and
        its kernel buffer, which have these places and lower bits."""
        memory = self._platform.memory
        pages = np.concatenate([self.own, self.shm, (self.buffer,)])
        words[slots] = make_entries(memory, pages, flags)
        return PageTable(memory, self._plan, self._tables, words)

    def finish(self) -> int:
        """Nothing can be refused any more: the eid, which the host is told, and which owns the pages."""
        ownership = self._platform.ownership
        eid = self._platform.registry.new_id()
        ownership.write_host(self._host.eid_pa, eid.to_bytes(4, "little"), align=4)
        ownership.assign(self.own, MONITOR, eid)
        self._platform.memory.pages[self.buffer] = 0
        return eid

    def _share(self) -> None:
        ownership, host = self._platform.ownership, self._host
        self.buffer = ownership.share(host.kbuffer)
        if host.shm_size:
            self.shm = ownership.attach(host.shm, host.shm_size)

    def _undo(self) -> None:
        ownership = self._platform.ownership
        ownership.release((self._taken, MONITOR))
        if self.buffer >= 0:
            ownership.unshare(self.buffer)
        ownership.detach(self.shm)


def _first_context(entry: int, satp: int, shm: Pages) -> Context:
    context = first_context(entry, satp)
    if len(shm):
        context.a0 = layout.SHARED_BASE
        context.a1 = len(shm) * PAGE_SIZE
    return context


def decode_host_side(ownership: Ownership, param: CreateParam | ShadowRunParam | RestoreParam) -> HostSide:
    """What a parameter says of the host's side, checked.  Raises Refusal."""
    if param.kbuffer_size != PAGE_SIZE:
        raise bad_argument("the kernel buffer is one page")
    mailbox = Mailbox(
        param.ocall_id_pa, param.ocall_arg0_pa, param.ocall_arg1_pa, param.syscall_pa, param.retval_pa
    )
    for word in (mailbox.ocall_id, mailbox.ocall_arg0, mailbox.ocall_arg1, mailbox.syscall, mailbox.retval):
        ownership.check_host(word, 8)
    ownership.check_host(param.eid_pa, 4, align=4)
    ownership.check_host(param.kbuffer, PAGE_SIZE, align=PAGE_SIZE)
    if param.shm_size > SHM_LIMIT or (param.shm_paddr and not param.shm_size):
        raise bad_argument(f"shared memory of {param.shm_size:#x} bytes")
    if param.shm_size:  # before its page tables are planned
        ownership.check_ram(param.shm_paddr, param.shm_size, align=PAGE_SIZE)
    return HostSide(param.kbuffer, mailbox, param.eid_pa, param.shm_paddr, param.shm_size)


def _decode_name(param: CreateParam | ShadowRunParam) -> str:
    start = type(param).name.offset
    name, nul, _ = bytes(param)[start : start + layout.NAME_BYTES].partition(b"\0")
    if not nul:
        raise bad_argument("the name has no NUL")
    return decode_name(name)
