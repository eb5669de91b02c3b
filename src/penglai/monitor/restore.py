"""Restoring an enclave from a snapshot, which the host hands in piece by piece.

The first piece makes the enclave, with pages of zeros; the others fill them; with the last one the device
crosses the snapshot off its list, and from then on the enclave is here.
"""

import secrets

import numpy as np
from numpy.typing import NDArray

from penglai.abi.limits import Limits
from penglai.abi.riscv import PAGE_SIZE, TABLE_ENTRIES, Pte
from penglai.abi.sbi import EnclaveType
from penglai.abi.snapshot import (
    ID_BYTES,
    PIECE_PAGES,
    TAG_BYTES,
    Option,
    SnapshotHead,
    SnapshotRecord,
    Why,
)
from penglai.abi.state import State
from penglai.machine.context import Context
from penglai.machine.pages import all_runs
from penglai.monitor.create import Construction, lay_out
from penglai.monitor.enclave import NO_PAGES, Account, Enclave, Reflected, ShadowPages
from penglai.monitor.firstpiece import PIECE_HEAD, STATES, Request, opened
from penglai.monitor.pagetable import make_entries
from penglai.monitor.platform import Platform
from penglai.monitor.refusal import no_snapshot
from penglai.monitor.regions import Regions
from penglai.monitor.sealing import Filling

NUMBER = 4
MOST_BYTES = PIECE_HEAD + NUMBER + PIECE_PAGES * (NUMBER + PAGE_SIZE) + TAG_BYTES
"""Of a piece with pages."""

NOBODY = 0
"""The id of no enclave."""


def shadow_of(platform: Platform, request: Request) -> Enclave | None:
    """The shadow of which the enclave is an instance, or None.  Raises Refusal if it is not here."""
    if not request.record.shared_pages:
        return None
    for enclave in platform.registry.enclaves():
        if enclave.shadow_pages is not None and enclave.measurement == bytes(request.head.measurement):
            return enclave
    raise no_snapshot(Why.SHADOW, "it shares pages with a shadow that is not here")


def build(platform: Platform, request: Request, shadow: Enclave | None) -> Enclave:
    """The enclave, with pages of zeros of its own; `fill` does the rest.

    shadow: whose pages it has beside these; its lock is held.  Raises Refusal, with all as it was.
    """
    record, head = request.record, request.head
    shared = _shared(request, shadow)
    count = len(shared.pages)
    if request.host.shm_size != record.shm_bytes:
        raise no_snapshot(Why.SHM, f"{record.shm_bytes:#x} bytes of shared memory are needed")
    handles, vouched = _known_servers(platform, request.servers)
    clone = bool(head.options & Option.CLONE)
    addresses = np.concatenate([shared.addresses, request.addresses])
    permissions = np.concatenate([shared.permissions, request.permissions])
    plan, flags = lay_out(addresses, permissions, request.host.shm_size)
    with Construction(platform, request.host, len(request.addresses), plan) as site:
        words = np.zeros(plan.tables * TABLE_ENTRIES, dtype=np.uint64)
        words[plan.slots[:count]] = make_entries(platform.memory, shared.pages, flags[:count])
        table = site.map(words, plan.slots[count:], flags[count:])
        eid = site.finish()
    regions = Regions()
    for region in request.regions:
        regions.add(region)
    return Enclave(
        eid=eid,
        kind=EnclaveType.NORMAL,
        name=request.name,
        entry=record.entry,
        measurement=bytes(head.measurement),
        table=table,
        image=site.own[request.image],
        code=all_runs(site.own[request.permissions & Pte.X != 0]),
        template=shadow,
        kernel_buffer=site.buffer,
        mailbox=request.host.mailbox,
        context=_context(record, table.satp),
        state=State.RESTORING,
        heap_pages=record.heap_pages,
        regions=regions,
        shm=site.shm,
        handles=handles,
        vouched=vouched,
        limits=Limits(*map(min, record.limits, platform.registry.limits)),
        handler=record.handler,
        event_handler=record.event_handler,
        events=record.events,
        reflected=_reflected(record),
        account=_account(record),
        policy=record.policy,
        uid=secrets.token_bytes(ID_BYTES) if clone else bytes(head.uid),
        generation=head.generation + 1,
        filling=Filling(request.seal, head, record, site.own),
    )


def fill(platform: Platform, enclave: Enclave, pa: int, size: int) -> bool:
    """Take the next piece, [pa, pa + size) of the host; True if it was the last, and the enclave is here.

    Raises Refusal, and nothing has changed.
    """
    filling = enclave.filling
    assert filling is not None
    if not 0 < size <= MOST_BYTES:
        raise no_snapshot(Why.DAMAGED, f"a piece of {size} bytes")
    content, last = opened(filling.seal, filling.number, platform.ownership.read_host(pa, size))
    indices, pages = _pages_of(content, filling)
    if last:
        _cross_off(platform, filling.head)
    platform.memory.pages[filling.pages[indices]] = pages
    filling.number += 1
    filling.filled = int(indices[-1]) + 1 if len(indices) else filling.filled
    if last:
        _begin(platform, enclave, filling.record)
    return last


def _shared(request: Request, shadow: Enclave | None) -> ShadowPages:
    """What an instance shares with its shadow: nothing, if it is none.  Raises Refusal if it does not fit."""
    if shadow is None or shadow.shadow_pages is None:
        return ShadowPages(request.addresses[:0], NO_PAGES, request.permissions[:0])
    theirs = shadow.shadow_pages
    addresses = theirs.addresses[theirs.fixed]
    if len(addresses) != request.record.shared_pages or np.isin(addresses, request.addresses).any():
        raise no_snapshot(Why.DAMAGED, "what it shares with its shadow is something else")
    return ShadowPages(addresses, theirs.shared, theirs.permissions[theirs.fixed])


def _begin(platform: Platform, enclave: Enclave, record: SnapshotRecord) -> None:
    """All is there: from now on the enclave can go on.  To it no time goes back."""
    platform.clock.skip_to(record.uptime)
    enclave.clock_offset = max(0, record.clock - platform.clock.wall_ns())
    enclave.state, enclave.filling = STATES[record.state], None


def _cross_off(platform: Platform, head: SnapshotHead) -> None:
    if not head.options & Option.CLONE:
        platform.freshness.spend(bytes(head.uid), bytes(head.id))


def _pages_of(content: memoryview, filling: Filling) -> tuple[NDArray[np.int64], NDArray[np.uint8]]:
    """The indices of a piece's pages, and what is on them.  Raises Refusal."""
    count = int.from_bytes(content[:NUMBER], "little")
    start = NUMBER * (1 + count)
    if len(content) != start + count * PAGE_SIZE:
        raise no_snapshot(Why.DAMAGED, f"a piece of {len(content)} bytes for {count} pages")
    indices = np.frombuffer(content[NUMBER:start], dtype="<u4").astype(np.int64)
    ascending = bool((np.diff(indices) > 0).all())
    if count and not (ascending and filling.filled <= indices[0] and indices[-1] < len(filling.pages)):
        raise no_snapshot(Why.DAMAGED, "pages of a piece are not in their order")
    return indices, np.frombuffer(content[start:], dtype=np.uint8).reshape(count, PAGE_SIZE)


# ---- what is here of what it knew --------------------------------------------------------------


def _known_servers(
    platform: Platform, servers: list[tuple[int, bytes, str]]
) -> tuple[dict[int, int], dict[str, int]]:
    """Its handles, and the servers of which it had reports: whoever has the name and is the same program.

    Raises Refusal if one that it has a handle of is not here.  Of the others, a name then means nobody.
    """
    handles, vouched = {}, {}
    for handle, measurement, name in servers:
        server = platform.registry.server(name)
        same = server is not None and server.measurement == measurement
        eid = server.eid if server is not None and same else NOBODY
        if not handle:
            vouched[name] = eid
        elif eid == NOBODY:
            raise no_snapshot(Why.SERVER, f"no server {name!r} with the measurement {measurement.hex()}")
        else:
            handles[handle] = eid
    return handles, vouched


def _context(record: SnapshotRecord, satp: int) -> Context:
    context = Context(pc=record.pc, satp=satp, fcsr=record.fcsr)
    context.x[1:], context.f[:] = record.x[1:], record.f[:]
    return context


def _reflected(record: SnapshotRecord) -> Reflected | None:
    if not record.reflected:
        return None
    where = record.reflected_pc, record.reflected_a6, record.reflected_a7
    return Reflected(*where, record.reflected_cause, record.reflected_tval)


def _account(record: SnapshotRecord) -> Account:
    times = record.run_ns, record.stops, record.preemptions
    return Account(*times, record.calls, record.server_calls, record.ocalls)
