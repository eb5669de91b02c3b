"""Reading the head and the first piece of a snapshot, which the host hands in.

Nothing of it is looked at before the monitor knows by its own key that it has made it, and even then every
number is checked: what comes out is plain data that can be relied upon.
"""

import ctypes
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from penglai.abi import layout
from penglai.abi.errors import AttestationError, StorageError
from penglai.abi.riscv import PAGE_SIZE, Pte
from penglai.abi.snapshot import (
    MAGIC,
    MAX_PIECE,
    REGION,
    SERVER,
    SPAN,
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
from penglai.monitor.create import HostSide, decode_host_side
from penglai.monitor.mapping import DATA
from penglai.monitor.pagetable import Addresses
from penglai.monitor.platform import Platform
from penglai.monitor.reflect import EVERY_EVENT
from penglai.monitor.refusal import no_snapshot
from penglai.monitor.regions import Region, Source

HEAD = ctypes.sizeof(SnapshotHead)
PIECE_HEAD = ctypes.sizeof(PieceHead)
RECORD = ctypes.sizeof(SnapshotRecord)
RIGHTS = frozenset(int(Pte.U | each) for each in (Pte.R, Pte.X, Pte.R | Pte.W, Pte.R | Pte.X))
STATES = {int(state): state for state in (State.FRESH, State.STOPPED)}


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
    content, last = opened(seal, 0, blob[HEAD:])
    if not head.options & Option.CLONE:
        platform.freshness.check(bytes(head.uid), bytes(head.id))
    return _read(host, head, seal, b"" if last else bytes(content), platform.memory.page_count)


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


def opened(seal: Seal, number: int, piece: bytes) -> tuple[memoryview, bool]:
    """The content of a piece, and whether it is the last.  Raises Refusal."""
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
        rows = SERVER.iter_unpack(content[at:])
        servers = [(handle, measurement, raw.rstrip(b"\0").decode()) for handle, measurement, raw in rows]
        name = record.name.decode()
    except ValueError as error:
        raise no_snapshot(Why.DAMAGED, f"the first piece: {error}") from error
    numbers = [record.heap_pages, *pairs["f1"].tolist()]
    if max(numbers) > page_count or (pairs["f0"] > layout.SHARED_BASE).any():
        raise no_snapshot(Why.DAMAGED, "regions with more pages than there are, or outside the address space")
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


def _mapped(spans: NDArray[np.void], page_count: int) -> tuple[Addresses, NDArray[np.uint8]]:
    """Address and permissions of each page of the spans.  Raises Refusal for what no enclave has."""
    if not len(spans) or (spans["f0"] > layout.SHARED_BASE).any():
        raise no_snapshot(Why.DAMAGED, "no pages, or pages outside the address space")
    starts, counts, rights = (spans[name].astype(np.int64) for name in ("f0", "f1", "f2"))
    total = int(counts.sum())
    if total > page_count or not counts.all() or not RIGHTS.issuperset(rights.tolist()):
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
