"""The end of an enclave, and what the host is told of it."""

import ctypes
import logging

import numpy as np

from penglai.abi.sbi import EnclaveInfo
from penglai.abi.state import State
from penglai.monitor.enclave import Enclave
from penglai.monitor.ownership import MONITOR
from penglai.monitor.platform import Platform
from penglai.monitor.refusal import Refusal

log = logging.getLogger(__name__)


def dissolve(platform: Platform, enclave: Enclave, state: State) -> None:
    """Scrub and give back all that the enclave has; it is in no hart, and `state` is its last.

    The caller holds the enclave's lock.  Nothing of the enclave is left in RAM afterwards but the kernel
    buffer, which was the host's all along.
    """
    if enclave.hart is not None:
        enclave.leave_hart(platform.clock.now())
    enclave.state = state
    report(platform, enclave, enclave.final_info)
    platform.forget_mappings()
    platform.forget_code(enclave.code)
    platform.ownership.release(enclave.pages, enclave.eid)
    platform.ownership.release(np.array(enclave.table.tables, dtype=np.int64), MONITOR)
    platform.ownership.unshare(enclave.kernel_buffer)
    ctypes.memset(ctypes.byref(enclave.context), 0, ctypes.sizeof(enclave.context))


def report(platform: Platform, enclave: Enclave, pa: int) -> None:
    """Write the enclave's EnclaveInfo to the host's memory at pa, if pa is not 0.

    A host that has given the page away meanwhile gets nothing.
    """
    if not pa:
        return
    account = enclave.account
    info = EnclaveInfo(
        state=enclave.state,
        pages=len(enclave.pages),
        run_ns=enclave.run_ns(platform.clock.now()),
        stops=account.stops,
        preemptions=account.preemptions,
        entry=enclave.entry,
        measurement=(ctypes.c_uint8 * 32)(*enclave.measurement),
    )
    _write(platform, pa, bytes(info))


def tell_host(platform: Platform, word_pa: int, value: int) -> None:
    """Write a word of the enclave's mailbox.  A host that has given it away meanwhile gets nothing."""
    _write(platform, word_pa, value.to_bytes(8, "little"))


def _write(platform: Platform, pa: int, data: bytes) -> None:
    try:
        platform.ownership.write_host(pa, data)
    except Refusal as refusal:
        log.info("the host misses a message: %s", refusal.reason)
