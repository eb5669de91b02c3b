"""Pages that change hands with what is on them: between host and enclave, and by asynchronous calls."""

from collections import deque

from penglai.abi import layout
from penglai.abi.ecall import CallArg
from penglai.monitor import servers, usermem
from penglai.monitor.enclave import NO_PAGES, Enclave
from penglai.monitor.mapping import check_pages, check_regions, map_pages, unmap
from penglai.monitor.ownership import MONITOR
from penglai.monitor.platform import Platform
from penglai.monitor.refusal import bad_argument
from penglai.monitor.regions import Region, Source
from penglai.monitor.registry import Parcel

MAX_PARCELS = 64
MAX_PARCEL_PAGES = 4096
"""What may be on its way by asynchronous calls, all in all: 64 calls and 16 MiB."""


# ---- host and enclave --------------------------------------------------------------------------


def accept(platform: Platform, enclave: Enclave, pa: int, size: int) -> Region:
    """Take relay pages of the host and map them.  Raises Refusal, and the host still has them."""
    address = enclave.regions.gap_above(layout.RELAY_BASE, layout.SHARED_BASE, size)
    if address is None:
        raise bad_argument("the enclave has no room for that many relay pages")
    check_regions(enclave)
    pages = platform.ownership.adopt(pa, size, enclave.eid)
    region = Region(address, address + size, Source.HOST, granted=enclave.eid)
    try:
        map_pages(platform, enclave, address, pages)
    except BaseException:
        platform.ownership.hand_back(pages, enclave.eid)
        raise
    enclave.regions.add(region)
    return region


def hand_back(platform: Platform, enclave: Enclave) -> None:
    """Give the relay pages that the enclave got from the host back to it, as they are.

    Others that it has, from servers or by asynchronous calls, once were the host's too: somebody planted them
    here, and whether there is a secret on them by now, only the enclave knows.  They stay.
    """
    regions = enclave.regions.take_granted(layout.RELAY_BASE, layout.SHARED_BASE, enclave.eid)
    for region in regions:
        pages = enclave.table.pages_at(region.start, region.page_count)
        unmap(platform, enclave, region.start, region.page_count)
        platform.ownership.hand_back(pages, enclave.eid)


def prepare_start(platform: Platform, enclave: Enclave, pa: int, size: int) -> None:
    """Give an enclave that is to start what it starts with: relay pages of the host, or else a parcel.

    Raises Refusal, with everything as it was.
    """
    region = accept(platform, enclave, pa, size) if size else _open_parcel(platform, enclave)
    if region is not None:
        enclave.context.a3 = region.start
        enclave.context.a4 = region.size


# ---- asynchronous calls ------------------------------------------------------------------------


def call_later(platform: Platform, run: Enclave, name_pointer: int, pointer: int) -> None:
    """An asynchronous call: nobody waits for an answer, and the region is given for good.

    If there is a server of that name it runs now, in the caller's time.  If not, the next enclave of that
    name has argument and region when it starts.  Raises Refusal.
    """
    me = run.active
    name = usermem.read_name(platform.memory, me.table, name_pointer)
    raw = usermem.read(platform.memory, me.table, pointer, servers.ARGUMENT_SIZE)
    argument = CallArg.from_buffer_copy(raw)
    region = servers.passed(me, argument.req_vaddr, argument.req_size)
    if region is not None and region.lent:
        raise bad_argument("the region is lent and cannot be given away")
    server = servers.named(platform, me, name)
    if server is not None:
        servers.begin(platform, run, server, argument, region, 0)
        return
    post(platform, me, name, argument.req_arg, region)
    me.complete(0)


def post(platform: Platform, me: Enclave, name: str, argument: int, region: Region | None) -> None:
    """Keep a number and a region for the next enclave of this name.  Raises Refusal if too much is on its
    way."""
    registry = platform.registry
    with registry.lock:
        waiting = [parcel for queue in registry.parcels.values() for parcel in queue]
        count = sum(len(parcel.pages) for parcel in waiting) + (region.page_count if region else 0)
        if len(waiting) >= MAX_PARCELS or count > MAX_PARCEL_PAGES:
            raise bad_argument("too many asynchronous calls are on their way")
        pages = NO_PAGES
        if region is not None:
            pages = me.table.pages_at(region.start, region.page_count)
            unmap(platform, me, region.start, region.page_count)
            me.regions.remove(region)
            platform.ownership.assign(pages, me.eid, MONITOR)
        registry.parcels.setdefault(name, deque()).append(Parcel(argument, region, pages))


def drop_parcels(platform: Platform) -> None:
    """Forget every asynchronous call that is on its way, if no enclave lives that could have made it."""
    registry = platform.registry
    with registry.lock:
        if registry.any_alive():
            return
        waiting = [parcel for queue in registry.parcels.values() for parcel in queue]
        registry.parcels.clear()
    for parcel in waiting:
        platform.ownership.release((parcel.pages, MONITOR))


def _open_parcel(platform: Platform, enclave: Enclave) -> Region | None:
    registry = platform.registry
    with registry.lock:
        queue = registry.parcels.get(enclave.name)
        if not queue:
            return None
        parcel = queue[0]
        region = parcel.region
        if region is not None:
            region = region.moved(layout.RELAY_BASE)
            check_regions(enclave)
            check_pages(enclave, region.page_count)
            map_pages(platform, enclave, region.start, parcel.pages)
            platform.ownership.assign(parcel.pages, MONITOR, enclave.eid)
            enclave.regions.add(region)
        queue.popleft()
        if not queue:
            del registry.parcels[enclave.name]
    enclave.context.a2 = parcel.argument
    return region
