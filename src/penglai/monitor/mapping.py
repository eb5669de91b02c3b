"""Changing what an enclave has mapped: heap, mmap, regions that move from one enclave to another.

Every function either does all of it or raises Refusal having done nothing: for want of memory, so that the
call can be made again once the host has given some, or because the host's limit is reached.
"""

from penglai.abi import layout
from penglai.abi.errors import ErrorCode
from penglai.abi.riscv import PAGE_SIZE, Pte
from penglai.machine.pages import Pages
from penglai.monitor.enclave import NO_PAGES, Enclave
from penglai.monitor.ownership import MONITOR
from penglai.monitor.platform import Platform
from penglai.monitor.refusal import Refusal, bad_argument
from penglai.monitor.regions import Region, Source, round_up

DATA = int(Pte.R | Pte.W | Pte.U)


def map_pages(platform: Platform, enclave: Enclave, start: int, pages: Pages) -> None:
    """Map pages from address start on, readable and writable.

    Raises Refusal (no memory) for want of table pages.
    """
    enclave.table.map_range(start, pages, DATA, _spare(platform, enclave, start, len(pages)))


def map_new(platform: Platform, enclave: Enclave, start: int, count: int) -> None:
    """Map count zeroed pages of the pool from start on, the enclave's own.  Raises Refusal (no memory)."""
    ownership = platform.ownership
    needed = count + enclave.table.missing_tables_for(start, count)
    check_pages(enclave, needed)
    taken = ownership.take(needed, MONITOR)
    own, spare = taken[:count], taken[count:]
    enclave.table.map_range(start, own, DATA, spare)
    ownership.assign(own, MONITOR, enclave.eid)


def check_pages(enclave: Enclave, more: int) -> None:
    """Raise Refusal (allocation) if the enclave would have more pages than the host lets it have."""
    if enclave.used + more > enclave.limits.pages:
        raise Refusal(
            ErrorCode.ALLOCATION_FAILED, f"{more} pages more than {enclave.used} of {enclave.limits.pages}"
        )


def check_regions(enclave: Enclave, more: int = 1) -> None:
    """Raise Refusal (allocation) if the enclave would have more regions than the host lets it have."""
    if len(enclave.regions) + more > enclave.limits.regions:
        raise Refusal(ErrorCode.ALLOCATION_FAILED, f"more than {enclave.limits.regions} regions")


def unmap(platform: Platform, enclave: Enclave, start: int, count: int) -> None:
    """Take count mappings from start on away; no hart uses them any more.  Their pages keep their owner."""
    enclave.table.unmap_range(start, count)
    platform.forget_mappings(enclave)


def move(platform: Platform, region: Region, source: Enclave, target: Enclave, moved: Region) -> None:
    """Take a region from one enclave and give it to another, where it is `moved`.  Raises Refusal."""
    check_regions(target)
    check_pages(target, 0 if moved.lent else region.page_count)
    spare = _spare(platform, target, moved.start, region.page_count)
    _hand_over(platform, region, source, target, moved, spare)
    source.regions.remove(region)


def move_home(platform: Platform, lent: Region, source: Enclave, target: Enclave, home: Region) -> None:
    """The same for pages that the source's regions have let go, and whose tables the target still has."""
    _hand_over(platform, lent, source, target, home, NO_PAGES)


def _hand_over(
    platform: Platform, region: Region, source: Enclave, target: Enclave, moved: Region, spare: Pages
) -> None:
    pages = source.table.pages_at(region.start, region.page_count)
    target.table.take_over(moved.start, source.table, region.start, region.page_count, spare)
    platform.forget_mappings(source)
    platform.ownership.assign(pages, source.eid, target.eid)
    target.regions.add(moved)


def _spare(platform: Platform, enclave: Enclave, start: int, count: int) -> Pages:
    """Pages for the tables that count more pages from start on need.  Raises Refusal (no memory)."""
    tables = enclave.table.missing_tables_for(start, count)
    return platform.ownership.take(tables, MONITOR) if tables else NO_PAGES


# ---- the enclave's own calls -------------------------------------------------------------------


def change_heap(platform: Platform, enclave: Enclave, delta: int) -> int:
    """Move the top of the heap by delta, a signed 64-bit number in a register; returns the new top.

    Raises Refusal if delta is no multiple of a page or leaves the heap's room, and for want of memory.
    """
    signed = delta - (1 << 64) if delta >> 63 else delta
    old = enclave.heap_top
    top = old + signed
    if signed % PAGE_SIZE or not layout.HEAP_BASE <= top <= layout.MMAP_TOP:
        raise bad_argument(f"the heap's top cannot move by {signed:#x} bytes")
    if signed > 0:
        if signed // PAGE_SIZE > platform.memory.page_count or not enclave.regions.is_free(old, top):
            raise bad_argument(f"the heap has no room for {signed:#x} bytes more")
        map_new(platform, enclave, old, signed // PAGE_SIZE)
    elif signed < 0:
        count = -signed // PAGE_SIZE
        gone = enclave.table.pages_at(top, count)
        unmap(platform, enclave, top, count)
        platform.ownership.release((gone, enclave.eid))
    enclave.heap_pages = (top - layout.HEAP_BASE) // PAGE_SIZE
    return top


def mmap(platform: Platform, enclave: Enclave, address: int, size: int) -> int:
    """Map size bytes of zeros, rounded up to pages; returns the address.

    address: 0 for the highest gap below the stack's region, or a free place between heap and stack.
    Raises Refusal if there is no such place, and for want of memory.
    """
    size = round_up(size)
    if not 0 < size // PAGE_SIZE <= platform.memory.page_count:
        raise bad_argument(f"a mapping of {size:#x} bytes")
    start = address or enclave.regions.gap_below(enclave.heap_top, layout.MMAP_TOP, size)
    if start is None or start % PAGE_SIZE or not enclave.heap_top <= start <= layout.MMAP_TOP - size:
        raise bad_argument(f"no room for a mapping of {size:#x} bytes at {address:#x}")
    if not enclave.regions.is_free(start, start + size):
        raise bad_argument(f"something is mapped in [{start:#x}, +{size:#x})")
    check_regions(enclave)
    map_new(platform, enclave, start, size // PAGE_SIZE)
    enclave.regions.add(Region(start, start + size, Source.POOL))
    return start


def munmap(platform: Platform, enclave: Enclave, address: int, size: int) -> int:
    """Let [address, address + size) go; 0.

    Raises Refusal unless all of it is mapped, by mmap, a call or the host.
    """
    end = address + round_up(size)
    if address % PAGE_SIZE or not enclave.regions.covers(address, end, but=Source.SECURE_SHM):
        raise bad_argument(f"[{address:#x}, +{size:#x}) is not mapped, or not by mmap")
    check_regions(enclave)  # a hole in a region makes two of it
    enclave.regions.cut(address, end)
    count = (end - address) // PAGE_SIZE
    gone = enclave.table.pages_at(address, count)
    unmap(platform, enclave, address, count)
    platform.ownership.release((gone, enclave.eid))
    return 0


def split(enclave: Enclave, address: int, size: int, at: int) -> int:
    """Make two regions of one, cut at an address inside it; 0.  Raises Refusal if there is no such place."""
    region = enclave.regions.exactly(address, size)
    if region is None or region.source is Source.SECURE_SHM:
        raise bad_argument(f"[{address:#x}, +{size:#x}) is no region of its own")
    if at % PAGE_SIZE or not region.start < at < region.end:
        raise bad_argument(f"a region cannot be cut at {at:#x}")
    check_regions(enclave)
    enclave.regions.remove(region)
    enclave.regions.add(region.part(region.start, at))
    enclave.regions.add(region.part(at, region.end))
    return 0
