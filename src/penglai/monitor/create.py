"""Create: an enclave out of an image that lies in the host's memory.

Decode, then invoke: `decode` checks every value of the host and returns a request that can be trusted to
be well-formed; `build` copies, measures and maps, and gives everything back if it cannot finish.
"""

import ctypes
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from penglai.abi import layout
from penglai.abi.riscv import PAGE_SIZE, REG_SP, Pte
from penglai.abi.sbi import CreateParam, EnclaveType
from penglai.attestation.measure import measure
from penglai.machine.context import Context
from penglai.monitor.enclave import Enclave, Mailbox
from penglai.monitor.hosttable import read_image
from penglai.monitor.ownership import MONITOR, Ownership
from penglai.monitor.pagetable import PageTable
from penglai.monitor.platform import Platform
from penglai.monitor.refusal import bad_argument

BUFFER_PERMISSIONS = Pte.R | Pte.W | Pte.U


@dataclass(frozen=True)
class CreateRequest:
    """A create request, checked: numbers in range, addresses aligned and the host's when looked at."""

    name: str
    entry: int
    paddr: int
    size: int
    kbuffer: int
    eid_pa: int
    mailbox: Mailbox


def decode(ownership: Ownership, param_pa: int) -> CreateRequest:
    """Copy and check the create_param at param_pa.  Raises Refusal."""
    param = CreateParam.from_buffer_copy(ownership.read_host(param_pa, ctypes.sizeof(CreateParam)))
    if param.type != EnclaveType.NORMAL:
        raise bad_argument(f"enclave type {param.type} is not supported")
    if param.shm_paddr or param.shm_size:
        raise bad_argument("shared memory is not supported")
    if param.kbuffer_size != PAGE_SIZE:
        raise bad_argument("the kernel buffer is one page")
    if param.paddr % PAGE_SIZE or param.size % PAGE_SIZE or param.size < 2 * PAGE_SIZE:
        raise bad_argument("the image region is not made of whole pages")
    ownership.check_host(param.paddr, param.size, align=PAGE_SIZE)
    if not layout.TEXT_BASE <= param.entry < layout.HEAP_BASE or param.entry % 2:
        raise bad_argument(f"entry point {param.entry:#x} lies outside the text region")
    mailbox = Mailbox(
        param.ocall_id_pa, param.ocall_arg0_pa, param.ocall_arg1_pa, param.syscall_pa, param.retval_pa
    )
    for word in (mailbox.ocall_id, mailbox.ocall_arg0, mailbox.ocall_arg1, mailbox.syscall, mailbox.retval):
        ownership.check_host(word, 8)
    ownership.check_host(param.eid_pa, 4, align=4)
    ownership.check_host(param.kbuffer, PAGE_SIZE, align=PAGE_SIZE)
    return CreateRequest(
        name=_decode_name(param),
        entry=param.entry,
        paddr=param.paddr,
        size=param.size,
        kbuffer=param.kbuffer,
        eid_pa=param.eid_pa,
        mailbox=mailbox,
    )


def build(platform: Platform, request: CreateRequest, next_eid: Callable[[], int]) -> Enclave:
    """Make the enclave.  next_eid: called once nothing else can be refused for.

    Raises Refusal, with everything as it was before.
    """
    memory, ownership = platform.memory, platform.ownership
    image = read_image(ownership, request.paddr, request.size)
    addresses = np.append(image.addresses, np.uint64(layout.KERNEL_BUFFER))
    permissions = np.append(image.permissions, np.uint8(BUFFER_PERMISSIONS))

    def read(which: slice) -> bytes | memoryview:
        """The kernel buffer, which comes last, is measured as the page of zeros that it will be."""
        return memory.pages[own[which]].reshape(-1).data if which.start < len(own) else bytes(PAGE_SIZE)

    tables = 1 + PageTable(memory, 0).missing_tables(addresses)
    taken = ownership.take(len(image.sources) + tables, MONITOR)
    own, spare = taken[:-tables], taken[-tables:]
    buffer_page = None
    try:
        buffer_page = ownership.share(request.kbuffer)
        ownership.copy_from_host(image.sources, own)
        table = PageTable(memory, int(spare[0]))
        table.map(addresses, np.append(own, buffer_page), permissions, spare[1:])
        measurement = measure(request.entry, addresses, permissions, read)
        eid = next_eid()
        ownership.write_host(request.eid_pa, eid.to_bytes(4, "little"), align=4)
        ownership.assign(own, MONITOR, eid)
    except BaseException:
        ownership.release(taken, MONITOR)
        if buffer_page is not None:
            ownership.unshare(buffer_page)
        raise
    memory.pages[buffer_page] = 0
    return Enclave(
        eid=eid,
        name=request.name,
        entry=request.entry,
        measurement=measurement,
        table=table,
        pages=own,
        code=own[image.permissions & Pte.X != 0],
        kernel_buffer=buffer_page,
        mailbox=request.mailbox,
        context=first_context(request.entry, table.satp),
    )


def first_context(entry: int, satp: int) -> Context:
    """The registers with which an enclave begins (docs/abi.md, section 3): all others are zero."""
    context = Context(pc=entry, satp=satp, priv=0)
    context.x[REG_SP] = layout.STACK_TOP
    return context


def _decode_name(param: CreateParam) -> str:
    raw = bytes(param)[CreateParam.name.offset :][: layout.NAME_BYTES]
    name, nul, _ = raw.partition(b"\0")
    if not nul:
        raise bad_argument("the name has no NUL")
    return name.decode("utf-8", "backslashreplace")
