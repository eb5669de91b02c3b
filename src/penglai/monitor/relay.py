"""Pages that change hands with what is on them: between host and enclave, and by asynchronous calls."""

from collections import deque

from penglai.abi import layout
from penglai.abi.ecall import CallArg
from penglai.monitor import servers, usermem
from penglai.monitor.enclave import Enclave
from penglai.monitor.mapping import map_pages, unmap
from penglai.monitor.ownership import MONITOR
from penglai.monitor.platform import Platform
from penglai.monitor.refusal import bad_argument
from penglai.monitor.regions import Region, Source
from penglai.monitor.registry import Parcel
from penglai.monitor.usermem import BadPointer

MAX_PARCELS = 64
MAX_PARCEL_PAGES = 4096
"""What may be on its way by asynchronous calls, all in all: 64 calls and 16 MiB."""


# ---- host and enclave --------------------------------------------------------------------------


def accept(platform: Platform, enclave: Enclave, pa: int, size: int) -> Region:
    """Take relay pages of the host and map them.  Raises Refusal, and the host still has them."""
    address = enclave.regions.gap_above(layout.RELAY_BASE, layout.SHARED_BASE, size)
    if address is None:
        raise bad_argument("the enclave has no room for so many relay pages")
    pages = platform.ownership.adopt(pa, size, enclave.eid)
    region = Region(address, pages, Source.HOST)
    try:
        map_pages(platform, enclave, address, pages)
    except BaseException:
        platform.ownership.hand_back(pages, enclave.eid)
        raise
    enclave.regions.add(region)
    return region


def hand_back(platform: Platform, enclave: Enclave) -> None:
    """Give the host's relay pages back to it, as they are."""
    for region in [region for region in enclave.regions if region.source is Source.HOST]:
        unmap(platform, enclave, region.start, len(region.pages))
        enclave.regions.remove(region)
        platform.ownership.hand_back(region.pages, enclave.eid)


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
    name has argument and region when it starts.  Raises BadPointer, Refusal (no memory).
    """
    me = run.active
    name = usermem.read_name(platform.memory, me.table, name_pointer)
    raw = usermem.read(platform.memory, me.table, pointer, servers.ARGUMENT_SIZE)
    argument = CallArg.from_buffer_copy(raw)
    region = servers.passed(me, argument.req_vaddr, argument.req_size)
    if region is not None and region.lent:
        raise BadPointer("the region is lent and cannot be given away")
    server = platform.registry.server(name)
    if server is not None:
        servers.begin(platform, run, server, argument, region, 0)
        return
    _post(platform, me, name, argument.req_arg, region)
    servers.complete(me, 0)


def _post(platform: Platform, me: Enclave, name: str, argument: int, region: Region | None) -> None:
    registry = platform.registry
    with registry.lock:
        waiting = [parcel for queue in registry.parcels.values() for parcel in queue]
        pages = sum(len(parcel.region.pages) for parcel in (*waiting, Parcel(0, region)) if parcel.region)
        if len(waiting) >= MAX_PARCELS or pages > MAX_PARCEL_PAGES:
            raise BadPointer("too many asynchronous calls are on their way")
        if region is not None:
            unmap(platform, me, region.start, len(region.pages))
            me.regions.remove(region)
            platform.ownership.assign(region.pages, me.eid, MONITOR)
        registry.parcels.setdefault(name, deque()).append(Parcel(argument, region))


def drop_parcels(platform: Platform) -> None:
    """Forget every asynchronous call that is on its way, if no enclave lives that could have made it."""
    registry = platform.registry
    with registry.lock:
        if registry.any_alive():
            return
        regions = [parcel.region for queue in registry.parcels.values() for parcel in queue]
        registry.parcels.clear()
        for region in regions:
            if region is not None:
                platform.ownership.release((region.pages, MONITOR))


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
            map_pages(platform, enclave, region.start, region.pages)
            platform.ownership.assign(region.pages, MONITOR, enclave.eid)
            enclave.regions.add(region)
        queue.popleft()
        if not queue:
            del registry.parcels[enclave.name]
    enclave.context.a2 = parcel.argument
    return region
