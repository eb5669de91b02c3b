"""Secure memory that enclaves share: the host sees none of it.

Whoever knows the key may attach: a key that nobody can guess is a capability (ask with key 0 for one).
Memory goes when its creator has destroyed it or ended, and nobody is attached any more.
"""

import secrets

import numpy as np

from penglai.abi import layout
from penglai.abi.riscv import PAGE_SIZE
from penglai.monitor.enclave import Enclave
from penglai.monitor.mapping import map_pages, unmap
from penglai.monitor.ownership import MONITOR
from penglai.monitor.platform import Platform
from penglai.monitor.regions import Region, Source, round_up
from penglai.monitor.registry import SecureShm
from penglai.monitor.usermem import BadPointer


def get(platform: Platform, me: Enclave, key: int, size: int) -> int:
    """The key of a shared memory of at least size bytes, made if there is none; key 0: a new, random one.

    Raises BadPointer if it is smaller, or size is none; Refusal (no memory).
    """
    registry = platform.registry
    with registry.lock:
        found = registry.shared.get(key)
    if found is not None and key:
        if found.doomed or len(found.pages) * PAGE_SIZE < size:
            raise BadPointer(f"the shared memory {key:#x} is smaller, or about to go")
        return key
    pages = _take(platform, size)
    mark = registry.new_id()
    with registry.lock:
        key = key or secrets.randbits(62) + 1
        if key in registry.shared:
            platform.ownership.release((pages, MONITOR))
            raise BadPointer(f"the key {key:#x} has just been taken")
        platform.ownership.assign(pages, MONITOR, mark)
        registry.shared[key] = SecureShm(key, mark, me.eid, pages)
    return key


def attach(platform: Platform, me: Enclave, key: int) -> int:
    """Map a shared memory; its address.  Attached already: where it is.  Raises BadPointer, Refusal."""
    with platform.registry.lock:
        shared = _find(platform, key)
        region = _region_of(me, shared)
        if region is not None:
            return region.start
        if shared.doomed:
            raise BadPointer(f"the shared memory {key:#x} is about to go")
        size = len(shared.pages) * PAGE_SIZE
        start = me.regions.gap_below(me.heap_top, layout.MMAP_TOP, size)
        if start is None:
            raise BadPointer("no room for the shared memory")
        region = Region(start, shared.pages, Source.SECURE_SHM)
        map_pages(platform, me, start, region.pages)
        me.regions.add(region)
        shared.attached.add(me.eid)
        return start


def stat(platform: Platform, key: int) -> int:
    """Bytes of a shared memory.  Raises BadPointer."""
    with platform.registry.lock:
        return len(_find(platform, key).pages) * PAGE_SIZE


def detach(platform: Platform, me: Enclave, key: int) -> None:
    """Unmap a shared memory.  Raises BadPointer if it is not attached."""
    with platform.registry.lock:
        shared = _find(platform, key)
        region = _region_of(me, shared)
        if region is None:
            raise BadPointer(f"the shared memory {key:#x} is not attached")
        _let_go(platform, me, shared, region)


def destroy(platform: Platform, me: Enclave, key: int) -> None:
    """The creator wants it no more: it goes with its last user.  Raises BadPointer for anyone else."""
    with platform.registry.lock:
        _doom(platform, _created(platform, me, key))


def extend(platform: Platform, me: Enclave, key: int, size: int) -> int:
    """The creator makes it larger while nobody has it attached; its bytes.  Raises BadPointer, Refusal."""
    with platform.registry.lock:
        shared = _created(platform, me, key)
        if shared.attached or shared.doomed:
            raise BadPointer(f"the shared memory {key:#x} is attached")
        pages = _take(platform, size)
        platform.ownership.assign(pages, MONITOR, shared.mark)
        shared.pages = np.concatenate([shared.pages, pages])
        return len(shared.pages) * PAGE_SIZE


def leave(platform: Platform, me: Enclave) -> None:
    """An enclave ends: it lets go of all shared memory, its own creations too."""
    registry = platform.registry
    with registry.lock:
        for shared in list(registry.shared.values()):
            region = _region_of(me, shared)
            if region is not None:
                _let_go(platform, me, shared, region)
            if shared.creator == me.eid and shared.key in registry.shared:
                _doom(platform, shared)


def _take(platform: Platform, size: int) -> np.ndarray[tuple[int], np.dtype[np.int64]]:
    count = round_up(size) // PAGE_SIZE
    if not 0 < count <= platform.memory.page_count:
        raise BadPointer(f"shared memory of {size:#x} bytes")
    return platform.ownership.take(count, MONITOR)


def _find(platform: Platform, key: int) -> SecureShm:
    shared = platform.registry.shared.get(key)
    if shared is None:
        raise BadPointer(f"no shared memory {key:#x}")
    return shared


def _created(platform: Platform, me: Enclave, key: int) -> SecureShm:
    shared = _find(platform, key)
    if shared.creator != me.eid:
        raise BadPointer(f"the shared memory {key:#x} is another's")
    return shared


def _region_of(me: Enclave, shared: SecureShm) -> Region | None:
    if me.eid not in shared.attached:
        return None
    return next(region for region in me.regions if region.pages is shared.pages)


def _let_go(platform: Platform, me: Enclave, shared: SecureShm, region: Region) -> None:
    unmap(platform, me, region.start, len(region.pages))
    me.regions.remove(region)
    shared.attached.discard(me.eid)
    if shared.doomed:
        _doom(platform, shared)


def _doom(platform: Platform, shared: SecureShm) -> None:
    shared.doomed = True
    if not shared.attached:
        del platform.registry.shared[shared.key]
        platform.ownership.release((shared.pages, shared.mark))
