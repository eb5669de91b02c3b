"""Changing what an enclave has mapped: heap, mmap, regions that move from one enclave to another.

Every function either does all of it or raises Refusal (no memory) having done nothing, so that the call
can be made again once the host has given memory.
"""

import numpy as np

from penglai.abi import layout
from penglai.abi.riscv import PAGE_SIZE, Pte
from penglai.machine.pages import Pages
from penglai.monitor.enclave import NO_PAGES, Enclave
from penglai.monitor.ownership import MONITOR
from penglai.monitor.platform import Platform
from penglai.monitor.regions import Region, Source, round_up

DATA = int(Pte.R | Pte.W | Pte.U)


def map_pages(platform: Platform, enclave: Enclave, start: int, pages: Pages) -> None:
    """Map pages from address start on, readable and writable.

    Raises Refusal (no memory) for want of table pages.
    """
    enclave.table.map_range(start, pages, DATA, _spare(platform, enclave, start, len(pages)))


def map_new(platform: Platform, enclave: Enclave, start: int, count: int) -> Pages:
    """Map count zeroed pages of the pool from start on, the enclave's own.  Raises Refusal (no memory)."""
    ownership = platform.ownership
    taken = ownership.take(count + enclave.table.missing_tables_for(start, count), MONITOR)
    own, spare = taken[:count], taken[count:]
    enclave.table.map_range(start, own, DATA, spare)
    ownership.assign(own, MONITOR, enclave.eid)
    return own


def unmap(platform: Platform, enclave: Enclave, start: int, count: int) -> None:
    """Take count mappings from start on away; no hart uses them any more.  Their pages keep their owner."""
    enclave.table.unmap_range(start, count)
    platform.forget_mappings()


def move(platform: Platform, region: Region, source: Enclave, target: Enclave, moved: Region) -> None:
    """Take a region from one enclave and give it to another, where it is `moved`.  Raises Refusal."""
    count = len(region.pages)
    spare = _spare(platform, target, moved.start, count)
    target.table.take_over(moved.start, source.table, region.start, count, spare)
    platform.forget_mappings()
    platform.ownership.assign(region.pages, source.eid, target.eid)
    source.regions.remove(region)
    target.regions.add(moved)


def _spare(platform: Platform, enclave: Enclave, start: int, count: int) -> Pages:
    """Pages for the tables that count more pages from start on need.  Raises Refusal (no memory)."""
    tables = enclave.table.missing_tables_for(start, count)
    return platform.ownership.take(tables, MONITOR) if tables else NO_PAGES


# ---- the enclave's own calls -------------------------------------------------------------------


def change_heap(platform: Platform, enclave: Enclave, delta: int) -> int | None:
    """Move the top of the heap by delta, a signed 64-bit number in a register; returns the new top.

    None if delta is no multiple of a page or leaves the heap's room.  Raises Refusal (no memory).
    """
    signed = delta - (1 << 64) if delta >> 63 else delta
    old = enclave.heap_top
    top = old + signed
    if signed % PAGE_SIZE or not layout.HEAP_BASE <= top <= layout.MMAP_TOP:
        return None
    if signed > 0:
        if signed // PAGE_SIZE > platform.memory.page_count or not enclave.regions.is_free(old, top):
            return None
        more = map_new(platform, enclave, old, signed // PAGE_SIZE)
        enclave.heap = np.concatenate([enclave.heap, more])
    elif signed < 0:
        kept = (top - layout.HEAP_BASE) // PAGE_SIZE
        unmap(platform, enclave, top, len(enclave.heap) - kept)
        platform.ownership.release((enclave.heap[kept:], enclave.eid))
        enclave.heap = enclave.heap[:kept]
    return top


def mmap(platform: Platform, enclave: Enclave, address: int, size: int) -> int | None:
    """Map size bytes of zeros, rounded up to pages; returns the address.

    address: 0 for the highest gap below the stack's region, or a free place between heap and stack.
    None if there is no such place.  Raises Refusal (no memory).
    """
    size = round_up(size)
    if not 0 < size // PAGE_SIZE <= platform.memory.page_count:
        return None
    start = address or enclave.regions.gap_below(enclave.heap_top, layout.MMAP_TOP, size)
    if start is None or start % PAGE_SIZE or not enclave.heap_top <= start <= layout.MMAP_TOP - size:
        return None
    if not enclave.regions.is_free(start, start + size):
        return None
    pages = map_new(platform, enclave, start, size // PAGE_SIZE)
    enclave.regions.add(Region(start, pages, Source.POOL))
    return start


def munmap(platform: Platform, enclave: Enclave, address: int, size: int) -> bool:
    """Let [address, address + size) go; False unless all of it is mapped by mmap, a call or the host."""
    end = address + round_up(size)
    regions = enclave.regions.within(address, end)
    covered = sum(min(region.end, end) - max(region.start, address) for region in regions)
    if address % PAGE_SIZE or not regions or covered != end - address:
        return False
    if any(region.source is Source.SECURE_SHM for region in regions):
        return False
    gone = enclave.regions.cut(address, end)
    unmap(platform, enclave, address, (end - address) // PAGE_SIZE)
    platform.ownership.release((np.concatenate([part.pages for part in gone]), enclave.eid))
    return True


def split(enclave: Enclave, address: int, size: int, at: int) -> bool:
    """Make two regions of one, cut at an address inside it; False if there is no such region or place."""
    region = enclave.regions.exactly(address, size)
    if region is None or region.source is Source.SECURE_SHM:
        return False
    if at % PAGE_SIZE or not region.start < at < region.end:
        return False
    enclave.regions.remove(region)
    enclave.regions.add(region.part(region.start, at))
    enclave.regions.add(region.part(at, region.end))
    return True
