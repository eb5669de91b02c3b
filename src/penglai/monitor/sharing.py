"""Secure memory that enclaves share: the host sees none of it.

Whoever knows the key may attach: a key that nobody can guess is a capability (ask with key 0 for one).
Memory goes when its creator has destroyed it or ended, and nobody is attached any more.

The registry's lock guards the table of memories and who is attached to each.  Mapping, clearing and all else
that takes as long as there are pages is done without it.
"""

import secrets

from penglai.abi import layout
from penglai.abi.errors import ErrorCode
from penglai.abi.riscv import PAGE_SIZE
from penglai.machine.pages import Pages, joined
from penglai.monitor.enclave import Enclave
from penglai.monitor.mapping import check_pages, check_regions, map_pages, unmap
from penglai.monitor.ownership import SECURE
from penglai.monitor.platform import Platform
from penglai.monitor.refusal import Refusal, bad_argument
from penglai.monitor.regions import Region, Source, round_up
from penglai.monitor.registry import SecureShm

BATCH = 256
"""Memories that are dealt with under one hold of the lock."""


def get(platform: Platform, me: Enclave, key: int, size: int) -> int:
    """The key of a shared memory of at least size bytes, made if there is none; key 0: a new, random one.

    Raises Refusal if it is smaller, size is none, memory is short or the host's limit is reached.
    """
    registry = platform.registry
    with registry.lock:
        found = registry.shared.get(key)
    if found is not None and key:
        if found.doomed or found.size < size:
            raise bad_argument(f"the shared memory {key:#x} is smaller, or about to go")
        return key
    if len(me.created) >= me.limits.shared:
        raise Refusal(ErrorCode.ALLOCATION_FAILED, f"more than {me.limits.shared} shared memories")
    pages = _take(platform, me, size)
    key = key or secrets.randbits(62) + 1
    with registry.lock:
        taken = key in registry.shared
        if not taken:
            registry.shared[key] = SecureShm(key, me.eid, [pages], len(pages) * PAGE_SIZE)
    if taken:
        _release(platform, [pages])
        raise bad_argument(f"the key {key:#x} has just been taken")
    me.created.add(key)
    me.created_pages += len(pages)
    return key


def attach(platform: Platform, me: Enclave, key: int) -> int:
    """Map a shared memory; its address.  Attached already: where it is.  Raises Refusal."""
    if key in me.attached:
        return me.attached[key].start
    with platform.registry.lock:
        shared = _find(platform, key)
        if shared.doomed:
            raise bad_argument(f"the shared memory {key:#x} is about to go")
        shared.attached.add(me.eid)  # so that it stays as it is
    try:
        region = _map(platform, me, shared)
    except BaseException:
        _release(platform, _let_go(platform, me, [shared]))
        raise
    me.attached[key] = region
    return region.start


def stat(platform: Platform, key: int) -> int:
    """Bytes of a shared memory.  Raises Refusal."""
    with platform.registry.lock:
        return _find(platform, key).size


def detach(platform: Platform, me: Enclave, key: int) -> None:
    """Unmap a shared memory.  Raises Refusal if it is not attached."""
    region = me.attached.pop(key, None)
    if region is None:
        raise bad_argument(f"the shared memory {key:#x} is not attached")
    unmap(platform, me, region.start, region.page_count)
    me.regions.remove(region)
    with platform.registry.lock:
        shared = _find(platform, key)
    _release(platform, _let_go(platform, me, [shared]))


def destroy(platform: Platform, me: Enclave, key: int) -> None:
    """The creator wants it no more: it goes with its last user.  Raises Refusal for anyone else."""
    with platform.registry.lock:
        shared = _created(platform, me, key)
    if key in me.created:
        me.created.discard(key)
        me.created_pages -= shared.size // PAGE_SIZE
        _release(platform, _doom(platform, me, [shared]))


def extend(platform: Platform, me: Enclave, key: int, size: int) -> int:
    """The creator makes it larger while nobody has it attached; its bytes.  Raises Refusal."""
    with platform.registry.lock:
        _check_unattached(_created(platform, me, key))
    pages = _take(platform, me, size)
    with platform.registry.lock:
        shared = _created(platform, me, key)
        attached = bool(shared.attached)
        if not attached:
            shared.parts.append(pages)
            shared.size += len(pages) * PAGE_SIZE
    if attached:
        _release(platform, [pages])
        raise bad_argument(f"the shared memory {key:#x} is attached")
    me.created_pages += len(pages)
    return shared.size


def leave(platform: Platform, me: Enclave) -> None:
    """An enclave ends, and its page table with it: it lets go of all shared memory, its own creations too."""
    registry = platform.registry
    gone: list[Pages] = []
    for keys, end in ((list(me.attached), _let_go), (list(me.created), _doom)):
        for start in range(0, len(keys), BATCH):
            with registry.lock:
                found = [registry.shared[key] for key in keys[start : start + BATCH]]
            gone += end(platform, me, found)
    _release(platform, gone)
    me.attached.clear()
    me.created.clear()
    me.created_pages = 0


def _take(platform: Platform, me: Enclave, size: int) -> Pages:
    count = round_up(size) // PAGE_SIZE
    if not 0 < count <= platform.memory.page_count:
        raise bad_argument(f"shared memory of {size:#x} bytes")
    check_pages(me, count)
    return platform.ownership.take(count, SECURE)


def _release(platform: Platform, parts: list[Pages]) -> None:
    if parts:
        platform.ownership.release((joined(parts), SECURE))


def _map(platform: Platform, me: Enclave, shared: SecureShm) -> Region:
    check_regions(me)
    check_pages(me, shared.size // PAGE_SIZE)
    start = me.regions.gap_below(me.heap_top, layout.MMAP_TOP, shared.size)
    if start is None:
        raise bad_argument("no room for the shared memory")
    region = Region(start, start + shared.size, Source.SECURE_SHM)
    map_pages(platform, me, start, joined(shared.parts))
    me.regions.add(region)
    return region


def _find(platform: Platform, key: int) -> SecureShm:
    """Under the lock."""
    shared = platform.registry.shared.get(key)
    if shared is None:
        raise bad_argument(f"no shared memory {key:#x}")
    return shared


def _created(platform: Platform, me: Enclave, key: int) -> SecureShm:
    """Under the lock."""
    shared = _find(platform, key)
    if shared.creator != me.eid:
        raise bad_argument(f"the shared memory {key:#x} is another's")
    return shared


def _check_unattached(shared: SecureShm) -> None:
    if shared.attached or shared.doomed:
        raise bad_argument(f"the shared memory {shared.key:#x} is attached")


def _let_go(platform: Platform, me: Enclave, memories: list[SecureShm]) -> list[Pages]:
    """The enclave is attached to these no more; the pages of those that go with it, to be released."""
    with platform.registry.lock:
        for shared in memories:
            shared.attached.discard(me.eid)
        return _drop_unused(platform, memories)


def _doom(platform: Platform, _me: Enclave, memories: list[SecureShm]) -> list[Pages]:
    """Their creator wants these no more; the pages of those that go at once, to be released."""
    with platform.registry.lock:
        for shared in memories:
            shared.doomed = True
        return _drop_unused(platform, memories)


def _drop_unused(platform: Platform, memories: list[SecureShm]) -> list[Pages]:
    """Forget those of them that nobody has or wants; their pages.  Under the lock."""
    table = platform.registry.shared
    gone = [shared for shared in memories if shared.doomed and not shared.attached]
    return [part for shared in gone if table.pop(shared.key, None) is shared for part in shared.parts]
