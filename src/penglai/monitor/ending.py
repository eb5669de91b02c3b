"""The end of an enclave, and what the host is told of it."""

import ctypes
import struct

import numpy as np

from penglai.abi.sbi import EnclaveInfo, EnclaveType
from penglai.abi.state import State
from penglai.machine.context import Context
from penglai.machine.pages import joined
from penglai.machine.ratelimit import limited_logger
from penglai.monitor import servers, sharing
from penglai.monitor.enclave import Enclave, Mailbox
from penglai.monitor.ownership import MONITOR
from penglai.monitor.platform import Platform
from penglai.monitor.refusal import Refusal

log = limited_logger(__name__)

WORD_BYTES = 8
MANY_REGIONS = 256
MANY_PAGES = 4096
"""From so many regions, or pages of heap, on an enclave's pages are found faster in the owner array."""

Measurement = ctypes.c_uint8 * 32
TWO_WORDS = struct.Struct("<QQ")


def end(platform: Platform, enclave: Enclave, state: State) -> None:
    """A runnable enclave ends, wherever it is in a chain of calls; it is on no hart."""
    servers.abandon(platform, enclave)
    dissolve(platform, enclave, state)


def fault(platform: Platform, run: Enclave, cause: int, address: int) -> None:
    """A runnable enclave ends for what it did: the host learns the cause and an address, and nothing else."""
    tell_host(platform, run.mailbox.ocall_arg0, cause)
    tell_host(platform, run.mailbox.ocall_arg1, address)
    end(platform, run, State.DESTROYED)


def end_server(platform: Platform, run: Enclave) -> None:
    """The server that runs in a chain faulted or exited: it is gone, and its caller's call has failed."""
    server = run.active
    with server.lock:
        servers.fail(platform, run)
        dissolve(platform, server, State.DESTROYED)


def dissolve(platform: Platform, enclave: Enclave, state: State) -> None:
    """Scrub and give back all that the enclave has; it executes nowhere, and `state` is its last.

    The caller holds the enclave's lock.  Nothing of the enclave is left in RAM afterwards but the kernel
    buffer, which was the host's all along, and the pages of a shadow while it has instances.
    """
    if enclave.hart is not None:
        enclave.leave_hart(platform.clock.now())
    registry = platform.registry
    enclave.state = state
    report(platform, enclave, enclave.final_info)
    platform.forget_mappings(enclave, ended=True)
    sharing.leave(platform, enclave)
    platform.ownership.unshare(enclave.kernel_buffer)
    platform.ownership.detach(enclave.shm)
    enclave.context = Context()
    del enclave.active  # it runs no more; and the record is not to wait for a collection of cycles
    if enclave.kind is not EnclaveType.SHADOW or registry.retire(enclave):
        _release(platform, enclave)
    if enclave.template is not None and registry.end_instance(enclave.template):
        _release(platform, enclave.template)
    registry.remove(enclave)  # last: whoever finds it gone finds its memory back and its account written


def _release(platform: Platform, enclave: Enclave) -> None:
    platform.forget_code(enclave.code)
    if len(enclave.regions) > MANY_REGIONS or enclave.heap_pages > MANY_PAGES:
        owned = platform.ownership.pages_of(enclave.eid)
    else:
        owned = joined([pages for pages in enclave.owned() if len(pages)])
    tables = np.array(enclave.table.tables, dtype=np.int64)
    platform.ownership.release((owned, enclave.eid), (tables, MONITOR))


def report(platform: Platform, enclave: Enclave, pa: int) -> None:
    """Write the enclave's EnclaveInfo to the host's memory at pa, if pa is not 0.

    A host that has given the page away meanwhile gets nothing.
    """
    if not pa:
        return
    account = enclave.account
    info = EnclaveInfo(
        state=enclave.state,
        pages=enclave.page_count,
        run_ns=enclave.run_ns(platform.clock.now()),
        stops=account.stops,
        preemptions=account.preemptions,
        entry=enclave.entry,
        measurement=Measurement.from_buffer_copy(enclave.measurement),
        calls=account.calls,
        server_calls=account.server_calls,
        ocalls=account.ocalls,
    )
    _write(platform, pa, bytes(info))


def tell_host(platform: Platform, word_pa: int, value: int) -> None:
    """Write a word of the enclave's mailbox.  A host that has given it away meanwhile gets nothing."""
    _write(platform, word_pa, value.to_bytes(8, "little"))


def tell_ocall(platform: Platform, mailbox: Mailbox, ocall: int, argument: int) -> None:
    """Write what an enclave asks of the host; in one go where the two words adjoin, as drivers have them."""
    if mailbox.ocall_arg0 == mailbox.ocall_id + WORD_BYTES:
        _write(platform, mailbox.ocall_id, TWO_WORDS.pack(ocall, argument))
        return
    tell_host(platform, mailbox.ocall_id, ocall)
    tell_host(platform, mailbox.ocall_arg0, argument)


def _write(platform: Platform, pa: int, data: bytes) -> None:
    try:
        platform.ownership.write_host(pa, data)
    except Refusal as refusal:
        log.info("the host misses a message: %s", refusal.reason)
