"""The calls of an enclave as the original answers them (docs/compatibility.md): the profile "tvm".

Only handlers that differ are here.  Nothing of it is for machines that are to be safe from their own
programs: a server keeps pages that it was lent, random numbers are none, and memory is not cleared.
"""

import hashlib
import itertools

from penglai.abi import layout
from penglai.abi.ecall import PRIVATE, RESULT_ERROR, CallArg, EnclaveCall, Ocall
from penglai.abi.hang import Hang
from penglai.abi.report import REPORT_BYTES
from penglai.abi.riscv import PAGE_SIZE
from penglai.monitor import calls, mapping, relay, reports, servers, usermem
from penglai.monitor.calls import Outcome
from penglai.monitor.enclave import Enclave
from penglai.monitor.platform import Fatal, Handler, Platform, Profile
from penglai.monitor.refusal import bad_argument
from penglai.monitor.regions import Region, Source

MAX_MAPPED_PAGES = (512 << 20) // PAGE_SIZE
"""Page tables of the original have no room for more at once."""

DIRT = 0xA5
KEY_BYTES = 4096


def tvm() -> Profile:
    """The profile of a machine that was just switched on: its random numbers begin anew."""
    blocks = itertools.count()

    def getrandom(platform: Platform, me: Enclave) -> int:
        _, pointer, size, _ = calls.arguments(me)
        _within_page(pointer, size)
        count = -(-size // hashlib.sha256().digest_size)
        data = b"".join(hashlib.sha256(b"%d" % next(blocks)).digest() for _ in range(count))
        usermem.write(platform.memory, me.table, pointer, data[:size])
        return size

    own: dict[int, Handler] = {Ocall.GETRANDOM: calls.result(getrandom)}
    known = {number: handler for number, handler in calls.HANDLERS.items() if number not in PRIVATE}
    return Profile(
        "tvm",
        calls=known | CALLS,
        ocalls=calls.OCALL_HANDLERS | OCALLS | own,
        unknown=_ends(Hang.UNKNOWN_CALL),
        server_faults_end_caller=True,
        write_result=Ocall.WRITE,
        dirty=DIRT,
        snapshots=False,
    )


def _ends(cause: Hang) -> Handler:
    def handler(_platform: Platform, _run: Enclave) -> Outcome:
        raise Fatal(cause)

    return handler


def _says(value: int) -> Handler:
    return calls.result(lambda _platform, _me: value)


def _within_page(pointer: int, size: int) -> None:
    """The original reaches a buffer by the physical address of its first byte.  Raises Fatal."""
    if pointer % PAGE_SIZE + size > PAGE_SIZE:
        raise Fatal(Hang.ACROSS_PAGES)


# ---- servers -----------------------------------------------------------------------------------


def _exit(platform: Platform, run: Enclave) -> Outcome:
    if run.frames:
        raise bad_argument("a server does not exit")
    return calls.HANDLERS[EnclaveCall.EXIT](platform, run)


def _acquire(platform: Platform, me: Enclave) -> int:
    return servers.acquire(platform, me, me.context.a0) - 1


def _call(platform: Platform, run: Enclave) -> Outcome:
    handle, pointer, _, _ = calls.arguments(run.active)
    if handle == RESULT_ERROR:
        raise Fatal(Hang.BAD_HANDLE)
    _within_page(pointer, servers.ARGUMENT_SIZE)
    servers.call(platform, run, handle + 1, pointer, _whole)
    return None


def _return(platform: Platform, run: Enclave) -> Outcome:
    """Pages that the answer does not name, or less of them than came, are the server's from now on."""
    me, pointer = run.active, run.active.context.a0
    _within_page(pointer, servers.ARGUMENT_SIZE)
    if run.frames and (lent := run.frames[-1].lent) is not None:
        frame = run.frames[-1]
        raw = usermem.read(platform.memory, me.table, pointer, servers.ARGUMENT_SIZE)
        answer = CallArg.from_buffer_copy(raw)
        if answer.req_vaddr != frame.lent_at or answer.req_size < frame.request.req_size:
            for region in me.regions.take_lent(frame.lent_at, frame.lent_at + lent.size):
                me.regions.add(region.moved(region.start))
            frame.request.req_vaddr = 0
    servers.give_answer(platform, run, pointer, _whole)
    return None


def _async_call(platform: Platform, run: Enclave) -> Outcome:
    """Only arguments in public memory arrive, and only relay pages; the number does not."""
    me = run.active
    name_pointer, pointer, _, _ = calls.arguments(me)
    name = usermem.read_name(platform.memory, me.table, name_pointer)
    if pointer >= layout.SHARED_BASE:
        _within_page(pointer, servers.ARGUMENT_SIZE)
        raw = usermem.read(platform.memory, me.table, pointer, servers.ARGUMENT_SIZE)
        argument = CallArg.from_buffer_copy(raw)
        region = _whole(me, argument.req_vaddr, argument.req_size)
        if region is None or region.source is not Source.HOST or region.lent:
            raise bad_argument("no relay pages")
        relay.post(platform, me, name, 0, region)
    me.complete(0)
    return None


# ---- reports and keys --------------------------------------------------------------------------


def _report(platform: Platform, me: Enclave) -> int:
    name, pointer, nonce, _ = calls.arguments(me)
    _within_page(pointer, REPORT_BYTES)
    reports.write_report(platform, me, name, pointer, nonce)
    return 0


def _key(platform: Platform, me: Enclave) -> int:
    """Kinds 0 and 1 are one key; others write nothing."""
    kind, pointer, size, _ = calls.arguments(me)
    _within_page(pointer, size)
    usermem.check_writable(me.table, pointer, size)
    if kind <= 1 and 0 < size <= KEY_BYTES:
        reports.write_key(platform, me, 0, pointer, size)
    return 0


# ---- memory ------------------------------------------------------------------------------------


def _rounded(pages: int) -> int:
    """As many pages as the original maps, one of a power of two being its own."""
    return (1 << pages.bit_length()) - 1


def _fill(platform: Platform, me: Enclave, start: int, pages: int) -> None:
    platform.memory.pages[me.table.pages_at(start, pages)] = DIRT


def _lowest(me: Enclave) -> int:
    """Where the lowest region begins: the next one goes below."""
    first = next(iter(me.regions), None)
    return layout.MMAP_TOP if first is None else min(first.start, layout.MMAP_TOP)


def _whole(me: Enclave, address: int, size: int) -> Region | None:
    """The region in which a part lies: all of it moves.  Raises Refusal if there is none."""
    return servers.own_region(me.regions.around, address, size)


def _mmap(platform: Platform, me: Enclave) -> int:
    _, address, size, _ = calls.arguments(me)
    pages = _rounded(size // PAGE_SIZE)
    if address % PAGE_SIZE:
        return 0
    if pages >= MAX_MAPPED_PAGES:
        raise Fatal(Hang.NO_MEMORY)
    lowest = _lowest(me)
    if not pages:
        return lowest
    length = pages * PAGE_SIZE
    room = me.heap_top <= address <= layout.MMAP_TOP - length
    start = address if room and me.regions.is_free(address, address + length) else lowest - length
    mapping.mmap(platform, me, start, length)
    _fill(platform, me, start, pages)
    return start


def _unmap(platform: Platform, me: Enclave) -> int:
    """Of a region of which a part is named, all goes."""
    _, address, size, _ = calls.arguments(me)
    region = me.regions.around(address, size)
    if region is not None:
        return mapping.munmap(platform, me, region.start, region.size)
    raise bad_argument("no region has all of it")


def _sbrk(platform: Platform, me: Enclave) -> int:
    """Up by a whole increment, down by whole increments that lie above the new top."""
    delta = me.context.a1
    signed = delta - (1 << 64) if delta >> 63 else delta
    if signed % PAGE_SIZE:
        raise bad_argument("no whole pages")
    if signed > 0:
        pages = _rounded(signed // PAGE_SIZE)
        if pages >= MAX_MAPPED_PAGES:
            raise Fatal(Hang.NO_MEMORY)
        old = me.heap_top
        top = mapping.change_heap(platform, me, pages * PAGE_SIZE)
        _fill(platform, me, old, pages)
        me.increments.append(pages)
        return top
    keep = me.heap_pages + signed // PAGE_SIZE
    while me.increments and me.heap_pages - me.increments[-1] >= keep:
        mapping.change_heap(platform, me, -me.increments.pop() * PAGE_SIZE % (1 << 64))
    return me.heap_top


def _split(_platform: Platform, me: Enclave) -> int:
    address, size, at, _ = calls.arguments(me)
    region: Region | None = me.regions.exactly(address, size)
    if region is None or region.source is not Source.HOST:
        raise bad_argument("only relay pages can be split")
    return mapping.split(me, address, size, at)


# ---- secure shared memory, which its driver does not know --------------------------------------


def _shm_get(_platform: Platform, me: Enclave) -> int:
    if len(me.hollow) >= me.limits.shared:
        raise bad_argument("too many keys")
    me.hollow.add(me.context.a1)
    return 0


def _shm_destroy(_platform: Platform, me: Enclave) -> int:
    if me.context.a1 in me.hollow:
        raise Fatal(Hang.BROKEN_SHARING)
    return 0


CALLS: dict[int, Handler] = {
    EnclaveCall.EXIT: _exit,
    EnclaveCall.ACQUIRE_SERVER: calls.result(_acquire),
    EnclaveCall.CALL_SERVER: _call,
    EnclaveCall.RETURN: _return,
    EnclaveCall.GET_REPORT: calls.result(_report),
    EnclaveCall.ASYNC_CALL: _async_call,
    EnclaveCall.SPLIT_REGION: calls.result(_split),
    EnclaveCall.CALLER_ID: _says(0),
    EnclaveCall.OWN_ID: calls.result(lambda _platform, me: me.eid - 1),
    EnclaveCall.YIELD: _ends(Hang.YIELD),
    EnclaveCall.GET_KEY: calls.result(_key),
    EnclaveCall.SHM_ATTACH: _says(0),
    EnclaveCall.SHM_STAT: _says(RESULT_ERROR),
}

OCALLS: dict[int, Handler] = {
    Ocall.MMAP: calls.result(_mmap),
    Ocall.UNMAP: calls.result(_unmap),
    Ocall.SBRK: calls.result(_sbrk),
    Ocall.SHM_GET: calls.result(_shm_get),
    Ocall.SHM_DETACH: _says(RESULT_ERROR),
    Ocall.SHM_DESTROY: calls.result(_shm_destroy),
    Ocall.SHM_EXTEND: _says(RESULT_ERROR),
}
