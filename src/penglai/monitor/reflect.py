"""Ecalls that are not Penglai's, and events: what a small operating system inside the enclave deals with.

The monitor sends each to the handler that the enclave itself has named, and the handler says when it is
done, and where the enclave goes on: all that the monitor keeps is where the enclave was.
"""

import struct

from penglai.abi.ecall import Event
from penglai.monitor import usermem
from penglai.monitor.enclave import Enclave, Reflected
from penglai.monitor.platform import Platform
from penglai.monitor.refusal import bad_argument

REGISTERS = struct.Struct("<32Q")
"""What an enclave goes on with: pc, x1 to x31."""

EVERY_EVENT = int(Event.FAULTS | Event.TURNS)


def enter(me: Enclave) -> bool:
    """Let the handler serve the ecall at which the enclave stands; False if there is none for it.

    The handler begins with the registers of the ecall.  It makes no such ecall itself.
    """
    if not me.handler or me.reflected is not None:
        return False
    context = me.context
    me.reflected = Reflected(context.pc, context.a6, context.a7)
    context.pc = me.handler
    return True


def leave(me: Enclave) -> None:
    """The handler is done: the enclave goes on behind its ecall, a0 being what it is now.

    a6 and a7, which the handler needed for this call, are as they were.  Raises Refusal outside the handler.
    """
    context, was = me.context, me.reflected
    if was is None:
        raise bad_argument("a handler's return outside the handler")
    me.reflected = None
    context.pc, context.a6, context.a7 = was.pc, was.a6, was.a7
    me.complete(context.a0)


def set_events(me: Enclave, handler: int, events: int) -> int:
    """From now on these events go to the handler.  Raises Refusal for events that there are not."""
    if events & ~EVERY_EVENT:
        raise bad_argument(f"events {events:#x}")
    me.event_handler, me.events = handler, events
    return 0


def enter_event(me: Enclave, event: Event, cause: int, tval: int) -> bool:
    """Let the handler of events have this trap; False if it is not asked for, or the enclave is in a handler.

    The handler begins with the registers of what was interrupted.
    """
    if not me.events & event or me.reflected is not None:
        return False
    context = me.context
    me.reflected = Reflected(context.pc, context.a6, context.a7, cause, tval)
    context.pc = me.event_handler
    return True


def where(me: Enclave) -> int:
    """Tell a handler where the enclave was, in a1 to a4; the pc.  Raises Refusal outside a handler."""
    context, was = me.context, me.reflected
    if was is None:
        raise bad_argument("the enclave is in no handler")
    context.a1, context.a2, context.a3, context.a4 = was.a6, was.a7, was.cause, was.tval
    return was.pc


def go(platform: Platform, me: Enclave) -> None:
    """The enclave goes on with the registers that it has at a0; a handler is done.  Raises Refusal."""
    context = me.context
    stored = usermem.read(platform.memory, me.table, context.a0, REGISTERS.size)
    me.reflected = None
    context.pc, *registers = REGISTERS.unpack(stored)
    context.x[1:32] = registers
