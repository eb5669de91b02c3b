"""Ecalls that are not Penglai's: system calls of an ordinary C library.

The monitor sends each to the handler that the enclave itself has named, and the handler says when it is
done: all that the monitor keeps is where the enclave was.
"""

from penglai.abi.ecall import RESULT_ERROR
from penglai.monitor.enclave import Enclave, Reflected
from penglai.monitor.servers import complete


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

    a6 and a7, which the handler needed for this call, are as they were.  Result -1 outside the handler.
    """
    context, was = me.context, me.reflected
    if was is None:
        complete(me, RESULT_ERROR)
        return
    me.reflected = None
    context.pc, context.a6, context.a7 = was.pc, was.a6, was.a7
    complete(me, context.a0)
