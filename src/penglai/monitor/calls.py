"""The calls of an enclave: one handler table.

The enclave that runs may be a server that works for another one: `run` is the enclave that the host runs,
`run.active` the one whose ecall it is.  A handler answers in one of three ways.  It returns None: the hart
goes on, with whatever is active now.  It returns a RunValue: the hart goes back to the host with it, the
enclave's state being what the handler made it.  Or it raises, having changed nothing: BadPointer and
Refusal become the result -1, want of memory a request to the host, after which the call is made again.
Every argument is whatever the enclave chose to leave in its registers.
"""

import logging
import os
from collections.abc import Callable

from penglai.abi.ecall import RESULT_ERROR, EnclaveCall, Ocall
from penglai.abi.errors import ErrorCode
from penglai.abi.riscv import PAGE_SIZE
from penglai.abi.sbi import RunValue
from penglai.abi.state import State
from penglai.monitor import mapping, reflect, relay, reports, servers, sharing, usermem
from penglai.monitor.enclave import Enclave
from penglai.monitor.ending import dissolve, end_server, tell_host, tell_ocall
from penglai.monitor.platform import Platform
from penglai.monitor.refusal import Refusal
from penglai.monitor.servers import complete
from penglai.monitor.usermem import BadPointer

log = logging.getLogger(__name__)

Outcome = RunValue | None
Handler = Callable[[Platform, Enclave], Outcome]

ASKING = State.OCALL, RunValue.OCALL
"""An enclave that has asked the host: its state, and what the host is told."""

MAX_RANDOM = 1 << 20
"""Bytes that one getrandom fills."""


def handle(platform: Platform, run: Enclave, function: int) -> Outcome:
    """Serve the ecall at which the active context stands.  An unknown function has the result -1."""
    me = run.active
    me.account.calls += 1
    try:
        return HANDLERS.get(function, _unknown)(platform, run)
    except BadPointer as error:
        log.debug("%r: call %d: %s", me, function, error)
    except Refusal as refusal:
        if refusal.code == ErrorCode.NO_MEMORY:
            me.account.calls -= 1  # it is made again
            return _ask_host(platform, run, Ocall.SBRK, refusal.value * PAGE_SIZE)
        log.debug("%r: call %d: %s", me, function, refusal.reason)
    complete(me, RESULT_ERROR)
    return None


def _unknown(_platform: Platform, run: Enclave) -> Outcome:
    complete(run.active, RESULT_ERROR)
    return None


def _exit(platform: Platform, run: Enclave) -> Outcome:
    if run.frames:
        end_server(platform, run)
        return None
    tell_host(platform, run.mailbox.retval, run.context.a0)
    dissolve(platform, run, State.EXITED)
    return RunValue.ENDED


def _yield(_platform: Platform, run: Enclave) -> Outcome:
    complete(run.active, 0)
    run.state = State.RUNNABLE
    return RunValue.YIELD


def _result(compute: Callable[[Platform, Enclave], int | bool | None]) -> Handler:
    """A handler for a call whose result is a number, True for 0, False or None for -1."""

    def handler(platform: Platform, run: Enclave) -> Outcome:
        me = run.active
        result = compute(platform, me)
        if isinstance(result, bool):
            result = 0 if result else None
        complete(me, RESULT_ERROR if result is None else result)
        return None

    return handler


def _arguments(me: Enclave) -> tuple[int, int, int, int]:
    context = me.context
    return context.a0, context.a1, context.a2, context.a3


# ---- calls that have a result ------------------------------------------------------------------


def _acquire(platform: Platform, me: Enclave) -> int:
    return servers.acquire(platform, me, me.context.a0)


def _caller_id(_platform: Platform, me: Enclave) -> int | None:
    return me.caller.eid if me.caller is not None else None


def _split(_platform: Platform, me: Enclave) -> bool:
    address, size, at, _ = _arguments(me)
    return mapping.split(me, address, size, at)


def _report(platform: Platform, me: Enclave) -> int:
    name, pointer, nonce, _ = _arguments(me)
    reports.write_report(platform, me, name, pointer, nonce)
    return 0


def _key(platform: Platform, me: Enclave) -> int:
    kind, pointer, size, _ = _arguments(me)
    reports.write_key(platform, me, kind, pointer, size)
    return 0


def _clock(platform: Platform, _me: Enclave) -> int:
    return platform.clock.wall_ns()


def _mmap(platform: Platform, me: Enclave) -> int | None:
    _, address, size, _ = _arguments(me)
    return mapping.mmap(platform, me, address, size)


def _unmap(platform: Platform, me: Enclave) -> bool:
    _, address, size, _ = _arguments(me)
    return mapping.munmap(platform, me, address, size)


def _sbrk(platform: Platform, me: Enclave) -> int | None:
    return mapping.change_heap(platform, me, me.context.a1)


def _getrandom(platform: Platform, me: Enclave) -> int | None:
    _, pointer, size, _ = _arguments(me)
    if size > MAX_RANDOM:
        return None
    usermem.check_writable(me.table, pointer, size)
    usermem.write(platform.memory, me.table, pointer, os.urandom(size))
    return 0


def _shm_get(platform: Platform, me: Enclave) -> int:
    _, key, size, _ = _arguments(me)
    return sharing.get(platform, me, key, size)


def _shm_attach(platform: Platform, me: Enclave) -> int:
    return sharing.attach(platform, me, me.context.a0)


def _shm_stat(platform: Platform, me: Enclave) -> int:
    return sharing.stat(platform, me.context.a0)


def _shm_detach(platform: Platform, me: Enclave) -> int:
    sharing.detach(platform, me, me.context.a1)
    return 0


def _shm_destroy(platform: Platform, me: Enclave) -> int:
    sharing.destroy(platform, me, me.context.a1)
    return 0


def _shm_extend(platform: Platform, me: Enclave) -> int:
    _, key, size, _ = _arguments(me)
    return sharing.extend(platform, me, key, size)


def _set_handler(_platform: Platform, me: Enclave) -> int:
    me.handler = me.context.a0
    return 0


# ---- calls after which another enclave may be active -------------------------------------------


def _call(platform: Platform, run: Enclave) -> Outcome:
    handle_, pointer, _, _ = _arguments(run.active)
    servers.call(platform, run, handle_, pointer)
    return None


def _return(platform: Platform, run: Enclave) -> Outcome:
    servers.give_answer(platform, run, run.active.context.a0)
    return None


def _async_call(platform: Platform, run: Enclave) -> Outcome:
    name, pointer, _, _ = _arguments(run.active)
    relay.call_later(platform, run, name, pointer)
    return None


def _handler_return(_platform: Platform, run: Enclave) -> Outcome:
    reflect.leave(run.active)
    return None


# ---- requests to the host ----------------------------------------------------------------------


def _ocall(platform: Platform, run: Enclave) -> Outcome:
    return OCALL_HANDLERS.get(run.active.context.a0, _unknown)(platform, run)


def _write(platform: Platform, run: Enclave) -> Outcome:
    """The text is in the kernel buffer, where the host reads it."""
    return _ask_host(platform, run, Ocall.WRITE, 0)


def _sector(ocall: Ocall) -> Handler:
    """The sector is in the kernel buffer; its number is the argument."""

    def handler(platform: Platform, run: Enclave) -> Outcome:
        return _ask_host(platform, run, ocall, run.active.context.a1)

    return handler


def _return_relay(platform: Platform, run: Enclave) -> Outcome:
    if run.frames:
        raise BadPointer("a server has no relay pages of the host's")
    relay.hand_back(platform, run)
    return _ask_host(platform, run, Ocall.RETURN_RELAY, 0)


def _ask_host(platform: Platform, run: Enclave, ocall: Ocall, argument: int) -> Outcome:
    tell_ocall(platform, run.mailbox, ocall, argument)
    run.ocall = ocall
    run.active.account.ocalls += 1
    run.state, value = ASKING
    return value


def answer(platform: Platform, run: Enclave, ocall: int, pa: int, size: int) -> None:
    """The host's answer to the outstanding ocall.

    pa, size: for RETURN_RELAY, the relay pages that the enclave gets.  size: for SBRK, how many bytes of
    memory the host has given, 0 if it has none; for sectors, not 0 if it was done.  Raises Refusal: another
    ocall waits (generic), or whatever is wrong with the pages.
    """
    if run.ocall != ocall:
        raise Refusal(ErrorCode.GENERIC, f"no ocall {ocall} waits for an answer")
    ANSWERS[ocall](platform, run, pa, size)
    run.ocall = None


def _text_written(_platform: Platform, run: Enclave, _pa: int, _size: int) -> None:
    complete(run.active, 0)


def _sector_moved(_platform: Platform, run: Enclave, _pa: int, size: int) -> None:
    complete(run.active, 0 if size else RESULT_ERROR)


def _memory_given(_platform: Platform, run: Enclave, _pa: int, size: int) -> None:
    """With memory the enclave makes its call again."""
    if not size:
        complete(run.active, RESULT_ERROR)


def _relay_given(platform: Platform, run: Enclave, pa: int, size: int) -> None:
    region = relay.accept(platform, run, pa, size) if size else None
    context = run.active.context
    context.a1 = region.start if region else 0
    context.a2 = region.size if region else 0
    complete(run.active, 0)


HANDLERS: dict[int, Handler] = {
    EnclaveCall.EXIT: _exit,
    EnclaveCall.OCALL: _ocall,
    EnclaveCall.ACQUIRE_SERVER: _result(_acquire),
    EnclaveCall.CALL_SERVER: _call,
    EnclaveCall.RETURN: _return,
    EnclaveCall.GET_REPORT: _result(_report),
    EnclaveCall.ASYNC_CALL: _async_call,
    EnclaveCall.SPLIT_REGION: _result(_split),
    EnclaveCall.CALLER_ID: _result(_caller_id),
    EnclaveCall.OWN_ID: _result(lambda _platform, me: me.eid),
    EnclaveCall.YIELD: _yield,
    EnclaveCall.GET_KEY: _result(_key),
    EnclaveCall.SHM_ATTACH: _result(_shm_attach),
    EnclaveCall.SHM_STAT: _result(_shm_stat),
    EnclaveCall.SET_HANDLER: _result(_set_handler),
    EnclaveCall.HANDLER_RETURN: _handler_return,
    EnclaveCall.CLOCK: _result(_clock),
}

OCALL_HANDLERS: dict[int, Handler] = {
    Ocall.MMAP: _result(_mmap),
    Ocall.UNMAP: _result(_unmap),
    Ocall.WRITE: _write,
    Ocall.SBRK: _result(_sbrk),
    Ocall.READ_SECTOR: _sector(Ocall.READ_SECTOR),
    Ocall.WRITE_SECTOR: _sector(Ocall.WRITE_SECTOR),
    Ocall.RETURN_RELAY: _return_relay,
    Ocall.GETRANDOM: _result(_getrandom),
    Ocall.SHM_GET: _result(_shm_get),
    Ocall.SHM_DETACH: _result(_shm_detach),
    Ocall.SHM_DESTROY: _result(_shm_destroy),
    Ocall.SHM_EXTEND: _result(_shm_extend),
}

ANSWERS: dict[int, Callable[[Platform, Enclave, int, int], None]] = {
    Ocall.WRITE: _text_written,
    Ocall.SBRK: _memory_given,
    Ocall.READ_SECTOR: _sector_moved,
    Ocall.WRITE_SECTOR: _sector_moved,
    Ocall.RETURN_RELAY: _relay_given,
}
