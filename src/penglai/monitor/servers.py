"""Calls of servers: an enclave waits while another one runs in its place.

A call takes the server from IDLE to BUSY, moves the pages that the caller passes into the server's address
space, and lets the server begin at its entry point.  The hart, the time, the kernel buffer and the mailbox
stay the caller's: to the host it is still the same enclave that runs.  Its frames say who waits for whom.

The pages that a caller passes are lent: the server may use them, pass them on for the length of a call, or
let them go; what it still has when it returns is the caller's again, at the old address.  Pages that a
server returns as its response are the caller's from then on.  At every moment one enclave maps a page.
"""

import ctypes

from penglai.abi import layout
from penglai.abi.ecall import RESULT_BUSY, RESULT_ERROR, CallArg
from penglai.abi.sbi import EnclaveType
from penglai.abi.state import State
from penglai.machine.context import Context
from penglai.monitor import usermem
from penglai.monitor.enclave import Enclave, Frame
from penglai.monitor.mapping import move
from penglai.monitor.platform import Platform
from penglai.monitor.regions import Region, Source
from penglai.monitor.usermem import BadPointer

ARGUMENT_SIZE = ctypes.sizeof(CallArg)

ECALL_BYTES = 4
WORD = (1 << 64) - 1


def complete(enclave: Enclave, result: int) -> None:
    """The call under way ends with this result: a0 is set and the ecall is passed."""
    context = enclave.context
    context.a0 = result & WORD
    context.pc = (context.pc + ECALL_BYTES) & WORD


def first_context(entry: int, satp: int) -> Context:
    """The registers with which an enclave begins (docs/abi.md, section 3): all others are zero."""
    return Context(pc=entry, satp=satp, priv=0, sp=layout.STACK_TOP)


def acquire(platform: Platform, me: Enclave, name_pointer: int) -> int:
    """A handle of the server with this name.  Raises BadPointer if there is none."""
    name = usermem.read_name(platform.memory, me.table, name_pointer)
    server = platform.registry.server(name)
    if server is None:
        raise BadPointer(f"no server {name!r}")
    me.handles.add(server.eid)
    return server.eid


def call(platform: Platform, run: Enclave, handle: int, pointer: int) -> None:
    """Call the server of a handle with the call_arg at pointer; the caller waits for the answer.

    Raises BadPointer for a handle, an argument or a region that is none; Refusal (no memory).
    """
    me = run.active
    server = platform.registry.find(handle) if handle in me.handles else None
    if server is None or server.kind is not EnclaveType.SERVER:
        raise BadPointer(f"no server has the handle {handle:#x}")
    raw = usermem.read_writable(platform.memory, me.table, pointer, ARGUMENT_SIZE)
    argument = CallArg.from_buffer_copy(raw)
    region = passed(me, argument.req_vaddr, argument.req_size)
    if region and region.start < pointer + ARGUMENT_SIZE and pointer < region.end:
        raise BadPointer("the argument lies on the pages that it passes")
    begin(platform, run, server, argument, region, pointer)


def begin(
    platform: Platform, run: Enclave, server: Enclave, argument: CallArg, region: Region | None, pointer: int
) -> None:
    """Let a server run in place of the enclave that runs now; result -2 if it is being called.

    pointer: where the answer goes, or 0 if the region is given for good and nobody waits for an answer.
    """
    me = run.active
    if not platform.registry.change_state(server, State.IDLE, State.BUSY):
        complete(me, RESULT_BUSY if server.state is State.BUSY else RESULT_ERROR)
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
    server.table.redirect(layout.KERNEL_BUFFER, run.kernel_buffer)
    platform.forget_mappings()
    run.push(Frame(server, me, pointer, argument, region if pointer else None, address))
    me.account.server_calls += 1
    if platform.registry.watch_calls is not None:
        platform.registry.watch_calls(run.eid, server.eid, State.BUSY)


def give_answer(platform: Platform, run: Enclave, pointer: int) -> None:
    """The server that runs returns with the call_arg at pointer; its caller goes on.

    Raises BadPointer if the one that runs is not being called, or for an argument or a region that is none;
    Refusal (no memory), after which the server returns again.
    """
    me = run.active
    if not run.frames:
        raise BadPointer("returning without having been called")
    frame = run.frames[-1]
    raw = usermem.read(platform.memory, me.table, pointer, ARGUMENT_SIZE)
    answer = CallArg.from_buffer_copy(raw)
    region = passed(me, answer.resp_vaddr, answer.resp_size)
    address = 0
    if frame.argument and region is not None:
        if region.lent:
            address = _home(frame, region)
        else:
            address = receive(platform, region, me, frame.caller, avoid=frame.lent)
    _give_back(platform, frame)
    size = answer.resp_size if region else 0
    _leave(platform, run)
    complete(frame.caller, _deliver(platform, frame, answer.resp_val, address, size))


def fail(platform: Platform, run: Enclave) -> None:
    """The server that runs cannot go on: its caller's call has the result -1, and nobody calls it again."""
    frame = run.frames[-1]
    _give_back(platform, frame)
    _leave(platform, run, State.DESTROYED)
    complete(frame.caller, RESULT_ERROR)


def abandon(platform: Platform, run: Enclave) -> None:
    """The enclave at the bottom ends: every server of its chain is IDLE again, every page with its owner."""
    while run.frames:
        _give_back(platform, run.frames[-1])
        _leave(platform, run)


def passed(me: Enclave, address: int, size: int) -> Region | None:
    """The region that an argument names, None if its size is 0.  Raises BadPointer if there is none."""
    if not size:
        return None
    region = me.regions.exactly(address, size)
    if region is None or region.source is Source.SECURE_SHM:
        raise BadPointer(f"[{address:#x}, +{size:#x}) is no region of its own")
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

    avoid: a region that the target has lent and will have again at its place.  Raises Refusal (no memory),
    BadPointer if there is no room.
    """
    address = target.regions.gap_above(layout.RELAY_BASE, layout.SHARED_BASE, region.size, avoid)
    if address is None:
        raise BadPointer("the receiver has no room for the pages")
    move(platform, region, source, target, region.moved(address, lent=lent))
    return address


def _home(frame: Frame, region: Region) -> int:
    """Where a lent region lay in the caller."""
    assert frame.lent is not None
    return frame.lent.start + region.start - frame.lent_at


def _give_back(platform: Platform, frame: Frame) -> None:
    """What was lent and is still there goes home.  Needs no memory: the caller still has its tables."""
    if frame.lent is None:
        return
    for region in frame.server.regions.within(frame.lent_at, frame.lent_at + frame.lent.size):
        if region.lent:
            home = region.moved(_home(frame, region), lent=frame.lent.lent)
            move(platform, region, frame.server, frame.caller, home)


def _leave(platform: Platform, run: Enclave, after: State = State.IDLE) -> None:
    """The innermost server runs no more: it keeps nothing of the call but what is in its own memory."""
    server = run.pop().server
    server.caller = None
    server.reflected = None
    server.context = Context()
    server.table.redirect(layout.KERNEL_BUFFER, server.kernel_buffer)
    platform.forget_mappings()
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
    except BadPointer:
        return RESULT_ERROR
    return 0
