"""Calls of servers: an enclave waits while another one runs in its place.

A call takes the server from IDLE to BUSY, moves the pages that the caller passes into the server's address
space, and lets the server begin at its entry point.  The hart, the time, the kernel buffer and the mailbox
stay the caller's: to the host it is still the same enclave that runs.  Its frames say who waits for whom.

The pages that a caller passes are lent: the server may use them, pass them on for the length of a call, or
let them go; what it still has when it returns is the caller's again, at the old address.  Pages that a
server returns as its response are the caller's from then on.  At every moment one enclave maps a page.
"""

import ctypes
from collections.abc import Callable

from penglai.abi import layout
from penglai.abi.ecall import RESULT_BUSY, RESULT_ERROR, CallArg
from penglai.abi.report import HASH_BYTES
from penglai.abi.riscv import PAGE_SIZE
from penglai.abi.sbi import EnclaveType
from penglai.abi.state import State
from penglai.machine.context import Context
from penglai.monitor import usermem
from penglai.monitor.enclave import Enclave, Frame, first_context
from penglai.monitor.mapping import move, move_home
from penglai.monitor.platform import Platform
from penglai.monitor.refusal import Refusal, bad_argument
from penglai.monitor.regions import Region, Source
from penglai.monitor.registry import ID_BITS

ARGUMENT_SIZE = ctypes.sizeof(CallArg)

Finder = Callable[[Enclave, int, int], Region | None]
"""Which region an address and a size name, see `passed`."""


def acquire(platform: Platform, me: Enclave, name_pointer: int, measurement_pointer: int = 0) -> int:
    """A handle of the server with this name: of that one for ever, since ids are never used again.

    measurement_pointer: where the server's measurement must stand in the enclave's memory, or 0 for any
    server.  Raises Refusal if there is none.
    """
    name = usermem.read_name(platform.memory, me.table, name_pointer)
    server = named(platform, me, name)
    if server is None:
        raise bad_argument(f"no server {name!r}")
    if measurement_pointer:
        expected = usermem.read(platform.memory, me.table, measurement_pointer, HASH_BYTES)
        if server.measurement != expected:
            raise bad_argument(f"the server {name!r} has another measurement")
    return _add_handle(platform, me, server.eid)


def named(platform: Platform, me: Enclave, name: str) -> Enclave | None:
    """The server that a name means to an enclave, or None.

    Names are the host's to give, and it can give one away again.  So for an enclave that has had a report of
    the server of a name, the name means that server.  Raises Refusal if that one is gone.
    """
    server = platform.registry.server(name)
    vouched = me.vouched.get(name)
    if vouched is not None and (server is None or server.eid != vouched):
        raise bad_argument(f"the server {name!r} of which there was a report is gone")
    return server


def vouch(me: Enclave, name: str, server: Enclave) -> None:
    """The enclave gets a report of this server.  Raises Refusal if it has had one of too many."""
    if name not in me.vouched and len(me.vouched) >= me.limits.reported:
        raise bad_argument(f"reports of more than {me.limits.reported} servers")
    me.vouched[name] = server.eid


def _add_handle(platform: Platform, me: Enclave, eid: int) -> int:
    """The handle of a server.  Raises Refusal if the enclave has too many, of servers that live.

    It is the eid; of an enclave that was restored it is larger than all that it had before, since these
    mean servers that had other eids.
    """
    handle = me.generation << ID_BITS | eid
    most = me.limits.handles
    if handle not in me.handles and len(me.handles) >= most:
        find = platform.registry.find
        me.handles = {handle: eid for handle, eid in me.handles.items() if find(eid) is not None}
        if len(me.handles) >= most:
            raise bad_argument(f"more than {most} handles")
    me.handles[handle] = eid
    return handle


def call(platform: Platform, run: Enclave, handle: int, pointer: int, find: Finder | None = None) -> None:
    """Call the server of a handle with the call_arg at pointer; the caller waits for the answer.

    find: instead of `passed`.  Raises Refusal for a handle, an argument or a region that is none, and for
    want of memory.
    """
    me = run.active
    server = platform.registry.find(me.handles[handle]) if handle in me.handles else None
    if server is None or server.kind is not EnclaveType.SERVER:
        raise bad_argument(f"no server has the handle {handle:#x}")
    raw = usermem.read_writable(platform.memory, me.table, pointer, ARGUMENT_SIZE)
    argument = CallArg.from_buffer_copy(raw)
    region = (find or passed)(me, argument.req_vaddr, argument.req_size)
    if region and region.start < pointer + ARGUMENT_SIZE and pointer < region.end:
        raise bad_argument("the argument lies on the pages that it passes")
    begin(platform, run, server, argument, region, pointer)


def begin(
    platform: Platform, run: Enclave, server: Enclave, argument: CallArg, region: Region | None, pointer: int
) -> None:
    """Let a server run in place of the enclave that runs now; result -2 if it is being called.

    pointer: where the answer goes, or 0 if the region is given for good and nobody waits for an answer.
    """
    me = run.active
    if not platform.registry.change_state(server, State.IDLE, State.BUSY):
        me.complete(RESULT_BUSY if server.state is State.BUSY else RESULT_ERROR)
        return
    address = 0
    try:
        if region is not None:
            address = receive(platform, region, me, server, lent=bool(pointer))
    except BaseException:
        platform.registry.change_state(server, State.BUSY, State.IDLE)
        raise
    server.caller = me
    server.context = context = first_context(server.entry, server.table.satp)
    context.a0 = argument.req_arg
    context.a1 = address
    context.a2 = argument.req_size if region else 0
    if len(server.shm):
        context.a3 = layout.SHARED_BASE
        context.a4 = len(server.shm) * PAGE_SIZE
    server.table.redirect(layout.KERNEL_BUFFER, run.kernel_buffer)
    platform.forget_mappings(server)
    run.push(Frame(server, me, pointer, argument, region if pointer else None, address))
    me.account.server_calls += 1
    if platform.registry.watch_calls is not None:
        platform.registry.watch_calls(run.eid, server.eid, State.BUSY)


def give_answer(platform: Platform, run: Enclave, pointer: int, find: Finder | None = None) -> None:
    """The server that runs returns with the call_arg at pointer; its caller goes on.

    Raises Refusal if the one that runs is not being called, for an argument or a region that is none, and for
    want of memory, after which the server returns again.
    """
    me = run.active
    if not run.frames:
        raise bad_argument("returning without having been called")
    frame = run.frames[-1]
    raw = usermem.read(platform.memory, me.table, pointer, ARGUMENT_SIZE)
    answer = CallArg.from_buffer_copy(raw)
    region = _response(me, answer, find or passed)
    address = 0
    if frame.argument and region is not None:
        if region.lent:
            address = _home(frame, region)
        else:
            address = receive(platform, region, me, frame.caller, avoid=frame.lent)
    _give_back(platform, frame)
    size = answer.resp_size if region else 0
    _leave(platform, run)
    frame.caller.complete(_deliver(platform, frame, answer.resp_val, address, size))


def fail(platform: Platform, run: Enclave) -> None:
    """The server that runs cannot go on: its caller's call has the result -1, and nobody calls it again."""
    frame = run.frames[-1]
    _give_back(platform, frame)
    _leave(platform, run, State.DESTROYED)
    frame.caller.complete(RESULT_ERROR)


def abandon(platform: Platform, run: Enclave) -> None:
    """The enclave at the bottom ends: every server of its chain is IDLE again, every page with its owner."""
    while run.frames:
        _give_back(platform, run.frames[-1])
        _leave(platform, run)


def _response(me: Enclave, answer: CallArg, find: Finder) -> Region | None:
    """The region that an answer names; what names none is no region.

    Programs leave there what their stack had, which is as valid an answer as any.
    """
    try:
        return find(me, answer.resp_vaddr, answer.resp_size)
    except Refusal:
        return None


def passed(me: Enclave, address: int, size: int) -> Region | None:
    """The region that an argument names, None if its size is 0.  Raises Refusal if there is none."""
    return own_region(me.regions.exactly, address, size)


def own_region(search: Callable[[int, int], Region | None], address: int, size: int) -> Region | None:
    """What a search among an enclave's regions finds, None if size is 0.  Raises Refusal if that is none."""
    if not size:
        return None
    region = search(address, size)
    if region is None or region.source is Source.SECURE_SHM:
        raise bad_argument(f"[{address:#x}, +{size:#x}) is no region of its own")
    return region


def receive(
    platform: Platform,
    region: Region,
    source: Enclave,
    target: Enclave,
    *,
    lent: bool = False,
    avoid: Region | None = None,
) -> int:
    """Move a region to where an enclave receives pages; returns its address there.

    avoid: a region that the target has lent and will have again at its place.  Raises Refusal for want of
    memory or room.
    """
    address = target.regions.gap_above(layout.RELAY_BASE, layout.SHARED_BASE, region.size, avoid)
    if address is None:
        raise bad_argument("the receiver has no room for the pages")
    move(platform, region, source, target, region.moved(address, lent=lent))
    return address


def _home(frame: Frame, region: Region) -> int:
    """Where a lent region lay in the caller."""
    assert frame.lent is not None
    return frame.lent.start + region.start - frame.lent_at


def _give_back(platform: Platform, frame: Frame) -> None:
    """What was lent and is still there goes home, adjacent pages as one region.

    Needs no memory: the caller still has its tables.
    """
    if frame.lent is None:
        return
    for region in frame.server.regions.take_lent(frame.lent_at, frame.lent_at + frame.lent.size):
        home = region.moved(_home(frame, region), lent=frame.lent.lent)
        move_home(platform, region, frame.server, frame.caller, home)


def _leave(platform: Platform, run: Enclave, after: State = State.IDLE) -> None:
    """The innermost server runs no more: it keeps nothing of the call but what is in its own memory."""
    server = run.pop().server
    server.caller = None
    server.reflected = None
    server.context = Context()
    server.table.redirect(layout.KERNEL_BUFFER, server.kernel_buffer)
    platform.forget_mappings(server)
    if platform.registry.watch_calls is not None:
        platform.registry.watch_calls(run.eid, server.eid, after)
    platform.registry.change_state(server, State.BUSY, after)


def _deliver(platform: Platform, frame: Frame, value: int, address: int, size: int) -> int:
    """Fill in the caller's call_arg; the result of its call."""
    if not frame.argument:
        return 0
    answered = frame.request
    answered.resp_val, answered.resp_vaddr, answered.resp_size = value, address, size
    try:
        usermem.write(platform.memory, frame.caller.table, frame.argument, bytes(answered))
    except Refusal:
        return RESULT_ERROR
    return 0
