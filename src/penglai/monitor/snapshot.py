"""A snapshot: an enclave that is stopped or fresh, sealed, piece by piece, into the host's memory.

The host takes the pieces and keeps them; what it has then is nothing but bytes until `move`, by which the
enclave ceases to be here and is in the snapshot.  Between the pieces the enclave is as it was: if it goes on,
the snapshot is dropped.  Nothing of the host's is in it: not the kernel buffer, not shared memory, and no
ocall that waits for an answer, since the enclave will make it again.
"""

import secrets
from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from penglai.abi.ecall import Ocall
from penglai.abi.errors import StorageError
from penglai.abi.layout import SHARED_BASE
from penglai.abi.report import HASH_BYTES
from penglai.abi.riscv import PAGE_SIZE, Pte
from penglai.abi.sbi import EnclaveType
from penglai.abi.snapshot import (
    ID_BYTES,
    LOOKED_AT,
    MAGIC,
    MAX_PIECE,
    PIECE_PAGES,
    REGION,
    SERVER,
    SPAN,
    VERSION,
    Option,
    Policy,
    SnapshotHead,
    SnapshotRecord,
    Why,
)
from penglai.abi.state import State
from penglai.attestation.sealed import Seal
from penglai.machine.memory import PhysicalMemory
from penglai.machine.pages import Pages, all_runs
from penglai.monitor.enclave import Enclave
from penglai.monitor.ending import end
from penglai.monitor.pagetable import Addresses
from penglai.monitor.platform import Platform
from penglai.monitor.refusal import bad_argument, no_snapshot
from penglai.monitor.regions import Source
from penglai.monitor.sealing import Sealing

PERMISSIONS = np.uint64(Pte.R | Pte.W | Pte.X | Pte.U)
WINDOW = 64
"""Pages that are looked at together for some that are not zero."""
NUMBER = 4
"""Bytes of a number of a page."""


def begin(platform: Platform, enclave: Enclave, options: int, pa: int, size: int) -> int:
    """Begin a snapshot: write its head and first piece to [pa, pa + size) of the host; their bytes.

    Raises Refusal, and a snapshot that was begun before is still under way.
    """
    _check_quiet(platform, enclave, options)
    addresses, pages, entries = enclave.table.leaves()
    own = addresses < SHARED_BASE
    shadow = enclave.template
    if shadow is not None and shadow.shadow_pages is not None:
        own &= ~np.isin(pages, shadow.shadow_pages.shared)
    permissions = (entries[own] & PERMISSIONS).astype(np.uint8)
    record = _record(platform, enclave, addresses[own].astype(np.uint64), permissions)
    uid = enclave.uid or secrets.token_bytes(ID_BYTES)
    head = _head(platform, enclave, options, uid)
    try:
        seal = Seal(platform.keys.snapshot_key(bytes(head.id)), bytes(head))
    except StorageError as error:
        raise no_snapshot(Why.STORAGE, str(error)) from error
    written = _write(platform, bytes(head) + seal.seal(0, [record], last=False), pa, size)
    enclave.uid = uid
    enclave.sealing = Sealing(seal, head, pages[own])
    return written


def next_piece(platform: Platform, enclave: Enclave, number: int, pa: int, size: int) -> int:
    """Write the next piece of the snapshot with this number; its bytes.

    Raises Refusal, and the same piece comes again.
    """
    sealing = _under_way(enclave, number)
    if sealing.whole:
        raise no_snapshot(Why.ABANDONED, "every piece has been taken")
    indices, looked_at = _next_pages(platform.memory, sealing)
    numbers = len(indices).to_bytes(NUMBER, "little") + indices.astype("<u4").tobytes()
    contents = _contents(platform.memory, sealing.pages[indices])
    last = looked_at == len(sealing.pages)
    written = _write(platform, sealing.seal.seal(sealing.number, [numbers, *contents], last=last), pa, size)
    sealing.number += 1
    sealing.looked_at = looked_at
    return written


def move(platform: Platform, enclave: Enclave, number: int, after: State) -> None:
    """The enclave goes on in the snapshot with this number, which is whole, and ends here.

    Raises Refusal, and it is here and nowhere else.
    """
    sealing = _under_way(enclave, number)
    head = sealing.head
    if not sealing.whole:
        raise no_snapshot(Why.UNFINISHED, "there are pieces that nobody has taken")
    if head.options & Option.CLONE:
        raise bad_argument("the snapshot is for clones: the enclave stays")
    platform.freshness.expect(bytes(head.uid), bytes(head.id))
    end(platform, enclave, after)


def _check_quiet(platform: Platform, enclave: Enclave, options: int) -> None:
    """Raises Refusal unless the enclave has nothing that is others' too, and allows it."""
    needed = Policy.CLONE if options & Option.CLONE else Policy.MOVE
    if options not in (0, Option.CLONE):
        raise bad_argument(f"options {options:#x} of a snapshot")
    if not platform.profile.snapshots:
        raise no_snapshot(Why.PROFILE, f"the profile {platform.profile.name} has no snapshots")
    if enclave.kind is not EnclaveType.NORMAL:
        raise no_snapshot(Why.KIND, f"it is of type {enclave.kind.name}")
    if not enclave.policy & needed:
        raise no_snapshot(Why.POLICY, f"the enclave's policy is {enclave.policy:#x}")
    if enclave.frames:
        raise no_snapshot(Why.CALLING, "it is in a call of a server")
    if enclave.attached or enclave.created:
        raise no_snapshot(Why.SHARED, "it has secure shared memory")
    if any(region.source is not Source.POOL or region.lent for region in enclave.regions):
        raise no_snapshot(Why.RELAY, "it has relay pages")


def _under_way(enclave: Enclave, number: int) -> Sealing:
    """The snapshot that is being made, if it is this one: somebody may have begun another.

    Raises Refusal.
    """
    if enclave.sealing is None or enclave.sealing.head.number != number:
        raise no_snapshot(Why.ABANDONED, "no such snapshot is being made")
    return enclave.sealing


def _write(platform: Platform, data: bytes | memoryview, pa: int, size: int) -> int:
    if len(data) > size:
        raise bad_argument(f"a piece of {len(data)} bytes for a buffer of {size}", len(data))
    platform.ownership.write_host(pa, data, align=PAGE_SIZE)
    return len(data)


# ---- what the monitor knows --------------------------------------------------------------------


def _head(platform: Platform, enclave: Enclave, options: int, uid: bytes) -> SnapshotHead:
    head = SnapshotHead(MAGIC, VERSION, options, generation=enclave.generation)
    try:
        head.device[:] = platform.keys.device_key
    except StorageError as error:
        raise no_snapshot(Why.STORAGE, str(error)) from error
    head.monitor[:] = platform.keys.monitor_hash
    head.id[:], head.uid[:] = secrets.token_bytes(ID_BYTES), uid
    head.measurement[:] = enclave.measurement
    return head


def _record(
    platform: Platform, enclave: Enclave, addresses: Addresses, permissions: NDArray[np.uint8]
) -> bytes:
    """The content of the first piece.  Raises Refusal if it would be too long."""
    spans = _spans(addresses, permissions)
    regions = np.array([(region.start, region.page_count) for region in enclave.regions], dtype=REGION)
    servers = list(_servers(platform, enclave))
    account, context, waits = enclave.account, enclave.context, enclave.ocall
    shadow = enclave.template
    record = SnapshotRecord(
        state=enclave.state,
        entry=enclave.entry,
        fcsr=context.fcsr,
        pc=context.pc,
        handler=enclave.handler,
        event_handler=enclave.event_handler,
        events=enclave.events,
        run_ns=account.run_ns,
        stops=account.stops,
        preemptions=account.preemptions,
        calls=account.calls - (waits is not None and waits != Ocall.SBRK),
        server_calls=account.server_calls,
        ocalls=account.ocalls - (waits is not None),
        clock=platform.clock.wall_ns() + enclave.clock_offset,
        uptime=platform.clock.now(),
        limits=tuple(enclave.limits),
        policy=enclave.policy,
        heap_pages=enclave.heap_pages,
        shm_bytes=len(enclave.shm) * PAGE_SIZE,
        shared_pages=0 if shadow is None or shadow.shadow_pages is None else len(shadow.shadow_pages.shared),
        spans=len(spans),
        regions=len(regions),
        servers=len(servers),
        name=enclave.name.encode(),
    )
    record.x[:], record.f[:] = context.x[:], context.f[:]
    if (was := enclave.reflected) is not None:
        record.reflected, record.reflected_pc = 1, was.pc
        record.reflected_a6, record.reflected_a7 = was.a6, was.a7
        record.reflected_cause, record.reflected_tval = was.cause, was.tval
    data = b"".join([bytes(record), spans.tobytes(), regions.tobytes(), *servers])
    if len(data) > MAX_PIECE:
        raise no_snapshot(Why.SPLIT, f"{len(spans)} spans and {len(regions)} regions")
    return data


def _spans(addresses: Addresses, permissions: NDArray[np.uint8]) -> NDArray[np.void]:
    """What lies side by side with equal permissions, as one."""
    cuts = (np.diff(addresses) != PAGE_SIZE) | (np.diff(permissions) != 0)
    firsts = np.concatenate([[0], np.flatnonzero(cuts) + 1])
    spans = np.empty(len(firsts), dtype=SPAN)
    spans["f0"], spans["f2"] = addresses[firsts], permissions[firsts]
    spans["f1"] = np.diff(np.append(firsts, len(addresses)))
    return spans


def _servers(platform: Platform, enclave: Enclave) -> Iterator[bytes]:
    """Handles of servers that live, and those of which there was a report, also where they are gone."""
    for handle, eid in enclave.handles.items():
        server = platform.registry.find(eid)
        if server is not None:
            yield SERVER.pack(handle, server.measurement, server.name.encode())
    for name, eid in enclave.vouched.items():
        server = platform.registry.find(eid)
        measurement = bytes(HASH_BYTES) if server is None else server.measurement
        yield SERVER.pack(0, measurement, name.encode())


# ---- pages -------------------------------------------------------------------------------------


def _next_pages(memory: PhysicalMemory, sealing: Sealing) -> tuple[NDArray[np.int64], int]:
    """Indices of the next pages that are not zero, and up to where all were looked at."""
    at, end, found = sealing.looked_at, len(sealing.pages), [np.empty(0, dtype=np.int64)]
    until = min(end, at + LOOKED_AT)
    while at < until and sum(map(len, found)) <= PIECE_PAGES - WINDOW:
        window = sealing.pages[at : min(at + WINDOW, until)]
        found.append(at + np.flatnonzero(_not_zero(memory, window)))
        at += len(window)
    return np.concatenate(found), at


def _not_zero(memory: PhysicalMemory, pages: Pages) -> NDArray[np.bool_]:
    found: NDArray[np.bool_] = memory.words[pages, 0] != 0  # so it mostly is, and the rest need not be read
    rest = np.flatnonzero(~found)
    if len(rest):
        found[rest] = np.bitwise_or.reduce(memory.words[pages[rest]], axis=1) != 0
    return found


def _contents(memory: PhysicalMemory, pages: Pages) -> Iterator[memoryview]:
    """What is on the pages, one run after the other, as it lies in RAM."""
    for run in all_runs(pages):
        yield memory.raw[run.start * PAGE_SIZE : run.stop * PAGE_SIZE].data
