"""Restoring an enclave from a snapshot, which the host hands in piece by piece.

Nothing of it is looked at before the monitor knows by its own key that it has made it, and even then every
number is checked.  The first piece makes the enclave, with pages of zeros; the others fill them; with the
last one the device crosses the snapshot off its list, and from then on the enclave is here.
"""

import ctypes
import secrets
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from penglai.abi import layout
from penglai.abi.errors import AttestationError, StorageError
from penglai.abi.limits import Limits
from penglai.abi.riscv import PAGE_SIZE, Pte
from penglai.abi.sbi import EnclaveType
from penglai.abi.snapshot import (
    ID_BYTES,
    MAGIC,
    MAX_PIECE,
    PIECE_PAGES,
    REGION,
    SERVER,
    SPAN,
    TAG_BYTES,
    VERSION,
    Option,
    PieceHead,
    RestoreParam,
    SnapshotHead,
    SnapshotRecord,
    Why,
)
from penglai.abi.state import State
from penglai.attestation.sealed import Seal
from penglai.machine.context import Context
from penglai.machine.pages import all_runs
from penglai.monitor.create import Construction, HostSide, decode_host_side, lay_out
from penglai.monitor.enclave import Account, Enclave, Reflected
from penglai.monitor.mapping import DATA
from penglai.monitor.pagetable import Addresses
from penglai.monitor.platform import Platform
from penglai.monitor.reflect import EVERY_EVENT
from penglai.monitor.refusal import no_snapshot
from penglai.monitor.regions import Region, Regions, Source
from penglai.monitor.sealing import Filling

HEAD = ctypes.sizeof(SnapshotHead)
PIECE_HEAD = ctypes.sizeof(PieceHead)
RECORD = ctypes.sizeof(SnapshotRecord)
NUMBER = 4
RIGHTS = frozenset(int(Pte.U | each) for each in (Pte.R, Pte.X, Pte.R | Pte.W, Pte.R | Pte.X))
STATES = {int(state): state for state in (State.FRESH, State.STOPPED)}
MOST_BYTES = PIECE_HEAD + NUMBER + PIECE_PAGES * (NUMBER + PAGE_SIZE) + TAG_BYTES
"""Of a piece with pages."""

NOBODY = 0
"""The id of no enclave."""


@dataclass(frozen=True)
class Request:
    """A restore request, checked and opened: everything in it can be relied upon.

    head, record: of the snapshot.  addresses, permissions: of each page, ascending.  image: which of them are
    neither of the heap nor of a region.  servers: handle or 0, measurement and name.
    """

    host: HostSide
    head: SnapshotHead
    seal: Seal
    record: SnapshotRecord
    name: str
    addresses: Addresses
    permissions: NDArray[np.uint8]
    regions: list[Region]
    image: NDArray[np.bool_]
    servers: list[tuple[int, bytes, str]]


def decode(platform: Platform, param_pa: int) -> Request:
    """Copy and check the restore_param at param_pa, and open what it names.  Raises Refusal."""
    ownership = platform.ownership
    param = RestoreParam.from_buffer_copy(ownership.read_host(param_pa, ctypes.sizeof(RestoreParam)))
    host = decode_host_side(ownership, param)
    if not HEAD <= param.blob_size <= HEAD + PIECE_HEAD + MAX_PIECE:
        raise no_snapshot(Why.FORMAT, f"{param.blob_size} bytes are no head and first piece")
    blob = ownership.read_host(param.blob_pa, param.blob_size)
    head = SnapshotHead.from_buffer_copy(blob)
    seal = _seal(platform, head)
    content, last = _opened(seal, 0, blob[HEAD:])
    if not head.options & Option.CLONE:
        platform.freshness.check(bytes(head.uid), bytes(head.id))
    return _read(host, head, seal, b"" if last else bytes(content), platform.memory.page_count)


def build(platform: Platform, request: Request) -> Enclave:
    """The enclave, with pages of zeros; `fill` does the rest.  Raises Refusal, with all as it was."""
    record, head = request.record, request.head
    if request.host.shm_size != record.shm_bytes:
        raise no_snapshot(Why.SHM, f"{record.shm_bytes:#x} bytes of shared memory are needed")
    handles, vouched = _known_servers(platform, request.servers)
    clone = bool(head.options & Option.CLONE)
    plan, flags = lay_out(request.addresses, request.permissions, request.host.shm_size)
    with Construction(platform, request.host, len(request.addresses), plan) as site:
        words = np.zeros(plan.tables * (PAGE_SIZE // 8), dtype=np.uint64)
        table = site.map(words, plan.slots, flags)
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
        clock_offset=max(0, record.clock - platform.clock.wall_ns()),
        policy=record.policy,
        uid=secrets.token_bytes(ID_BYTES) if clone else bytes(head.uid),
        generation=head.generation + 1,
        filling=Filling(request.seal, head, STATES[record.state], site.own),
    )


def fill(platform: Platform, enclave: Enclave, pa: int, size: int) -> bool:
    """Take the next piece, [pa, pa + size) of the host; True if it was the last, and the enclave is here.

    Raises Refusal, and nothing has changed.
    """
    filling = enclave.filling
    assert filling is not None
    if not 0 < size <= MOST_BYTES:
        raise no_snapshot(Why.DAMAGED, f"a piece of {size} bytes")
    content, last = _opened(filling.seal, filling.number, platform.ownership.read_host(pa, size))
    indices, pages = _pages_of(content, filling)
    if last:
        _cross_off(platform, filling.head)
    platform.memory.pages[filling.pages[indices]] = pages
    filling.number += 1
    filling.filled = int(indices[-1]) + 1 if len(indices) else filling.filled
    if last:
        enclave.state, enclave.filling = filling.after, None
    return last


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


# ---- reading the first piece -------------------------------------------------------------------


def _seal(platform: Platform, head: SnapshotHead) -> Seal:
    """What opens the snapshot with this head, which nothing has confirmed yet.  Raises Refusal."""
    if head.magic != MAGIC or head.version != VERSION:
        raise no_snapshot(Why.FORMAT, "it does not begin as a snapshot")
    try:
        if bytes(head.device) != platform.keys.device_key:
            raise no_snapshot(Why.DEVICE, f"it is of the device {bytes(head.device).hex()}")
        if bytes(head.monitor) != platform.keys.monitor_hash:
            raise no_snapshot(Why.MONITOR, f"it is of the monitor {bytes(head.monitor).hex()}")
        return Seal(platform.keys.snapshot_key(bytes(head.id)), bytes(head))
    except StorageError as error:
        raise no_snapshot(Why.STORAGE, str(error)) from error


def _opened(seal: Seal, number: int, piece: bytes) -> tuple[memoryview, bool]:
    try:
        return seal.open(number, piece)
    except AttestationError as error:
        raise no_snapshot(Why.DAMAGED, str(error)) from error


def _read(host: HostSide, head: SnapshotHead, seal: Seal, content: bytes, page_count: int) -> Request:
    """What the first piece says.  This monitor has sealed it; it is checked all the same.

    page_count: pages of RAM.
    """
    try:
        record = SnapshotRecord.from_buffer_copy(content)
        spans, at = _array(content, RECORD, record.spans, SPAN)
        pairs, at = _array(content, at, record.regions, REGION)
        if len(content) - at != record.servers * SERVER.size:
            raise ValueError("it has another length than it says")
        servers = [(handle, measurement, _text(raw)) for handle, measurement, raw in _servers(content[at:])]
        name = record.name.decode()
    except ValueError as error:
        raise no_snapshot(Why.DAMAGED, f"the first piece: {error}") from error
    addresses, permissions = _mapped(spans, page_count)
    regions = [Region(start, start + count * PAGE_SIZE, Source.POOL) for start, count in pairs.tolist()]
    image = _image(addresses, permissions, record.heap_pages, regions)
    if record.state not in STATES or record.events & ~EVERY_EVENT or record.entry % 2:
        raise no_snapshot(Why.DAMAGED, "the first piece has numbers out of range")
    return Request(host, head, seal, record, name, addresses, permissions, regions, image, servers)


def _array(content: bytes, at: int, count: int, kind: str) -> tuple[NDArray[np.void], int]:
    """count items of a kind, and where they end.  Raises ValueError if there are not so many."""
    size = np.dtype(kind).itemsize
    if count > len(content) // size:
        raise ValueError("it is shorter than it says")
    return np.frombuffer(content, dtype=kind, count=count, offset=at), at + count * size


def _servers(rows: bytes) -> list[tuple[int, bytes, bytes]]:
    return list(SERVER.iter_unpack(rows))


def _text(raw: bytes) -> str:
    return raw.rstrip(b"\0").decode()


def _mapped(spans: NDArray[np.void], page_count: int) -> tuple[Addresses, NDArray[np.uint8]]:
    """Address and permissions of each page of the spans.  Raises Refusal for what no enclave has."""
    starts, counts, rights = (spans[name].astype(np.int64) for name in ("f0", "f1", "f2"))
    total = int(counts.sum())
    if not 0 < total <= page_count or int(counts.min()) == 0 or not RIGHTS.issuperset(rights.tolist()):
        raise no_snapshot(Why.DAMAGED, f"{total} pages, or some with strange rights")
    ends = starts + counts * PAGE_SIZE
    apart = bool((starts[1:] >= ends[:-1]).all())
    if (
        not apart
        or (starts % PAGE_SIZE).any()
        or starts[0] < layout.TEXT_BASE
        or ends[-1] > layout.SHARED_BASE
    ):
        raise no_snapshot(Why.DAMAGED, "pages that overlap, or lie outside the address space")
    firsts = np.cumsum(counts) - counts
    addresses = np.repeat(starts - firsts * PAGE_SIZE, counts) + np.arange(total) * PAGE_SIZE
    return addresses.astype(np.uint64), np.repeat(rights, counts).astype(np.uint8)


def _image(
    addresses: Addresses, permissions: NDArray[np.uint8], heap_pages: int, regions: list[Region]
) -> NDArray[np.bool_]:
    """Which pages are neither of the heap nor of a region.  Raises Refusal if these are not all there."""
    image = np.ones(len(addresses), dtype=np.bool_)
    heap_top = layout.HEAP_BASE + heap_pages * PAGE_SIZE
    pieces = [(layout.HEAP_BASE, heap_top), *((region.start, region.end) for region in regions)]
    before = 0
    for start, end in pieces:
        first, last = np.searchsorted(addresses, np.array([start, end], dtype=np.uint64))
        whole = (last - first) * PAGE_SIZE == end - start and (permissions[first:last] == DATA).all()
        if start < before or start % PAGE_SIZE or not whole:
            raise no_snapshot(Why.DAMAGED, "a region overlaps another, or has pages that are not there")
        image[first:last] = False
        before = end
    return image


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
