"""The heap of an enclave: sbrk."""

from dataclasses import dataclass

import numpy as np

from penglai.abi import layout
from penglai.abi.errors import ErrorCode
from penglai.abi.riscv import PAGE_SIZE, Pte
from penglai.monitor.enclave import Enclave
from penglai.monitor.ownership import MONITOR
from penglai.monitor.pagetable import Addresses
from penglai.monitor.platform import Platform
from penglai.monitor.refusal import Refusal

HEAP_PERMISSIONS = Pte.R | Pte.W | Pte.U


@dataclass(frozen=True)
class Missing:
    """The pool lacks this many bytes."""

    size: int


def change(platform: Platform, enclave: Enclave, delta: int) -> int | Missing | None:
    """Move the top of the heap by delta, a signed 64-bit number in a register; returns the new top.

    None if delta is no multiple of a page or leaves the heap's region; Missing if the pool is empty.
    """
    signed = delta - (1 << 64) if delta >> 63 else delta
    top = enclave.heap_top + signed
    if signed % PAGE_SIZE or not layout.HEAP_BASE <= top <= layout.MMAP_TOP:
        return None
    if signed > 0:
        if signed // PAGE_SIZE > platform.memory.page_count:
            return None
        try:
            _grow(platform, enclave, _pages_between(enclave.heap_top, top))
        except Refusal as refusal:
            if refusal.code != ErrorCode.NO_MEMORY:
                raise
            return Missing(refusal.value * PAGE_SIZE)
    elif signed < 0:
        _shrink(platform, enclave, _pages_between(top, enclave.heap_top))
    enclave.heap_top = top
    return top


def _pages_between(start: int, end: int) -> Addresses:
    return np.arange(start, end, PAGE_SIZE, dtype=np.uint64)


def _grow(platform: Platform, enclave: Enclave, addresses: Addresses) -> None:
    ownership = platform.ownership
    tables = enclave.table.missing_tables(addresses)
    taken = ownership.take(len(addresses) + tables, MONITOR)
    own, spare = taken[: len(addresses)], taken[len(addresses) :]
    permissions = np.full(len(addresses), HEAP_PERMISSIONS, dtype=np.uint8)
    enclave.table.map(addresses, own, permissions, spare)
    ownership.assign(own, MONITOR, enclave.eid)
    enclave.own(own)


def _shrink(platform: Platform, enclave: Enclave, addresses: Addresses) -> None:
    pages = enclave.table.unmap(addresses)
    platform.forget_mappings()
    enclave.disown(pages)
    platform.ownership.release(pages, enclave.eid)
