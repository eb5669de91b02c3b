"""The calls of an enclave: one handler table.

The enclave that runs may be a server that works for another one: `run` is the enclave that the host runs,
`run.active` the one whose ecall it is.  A handler answers in one of three ways.  It returns None: the hart
goes on, with whatever is active now.  It returns a RunValue: the hart goes back to the host with it, the
enclave's state being what the handler made it.  Or it raises Refusal, having changed nothing: that is the
result -1, and for want of memory a request to the host, after which the call is made again.
Every argument is whatever the enclave chose to leave in its registers.
"""

import os
from collections.abc import Callable

from penglai.abi.ecall import OURS, RESULT_ERROR, EnclaveCall, Ocall
from penglai.abi.errors import ErrorCode
from penglai.abi.riscv import PAGE_SIZE
from penglai.abi.sbi import RunValue
from penglai.abi.snapshot import Policy
from penglai.abi.state import State
from penglai.machine.ratelimit import limited_logger
from penglai.monitor import mapping, reflect, relay, reports, servers, sharing, usermem
from penglai.monitor.enclave import Enclave
from penglai.monitor.ending import dissolve, end_server, fault, tell_host, tell_ocall
from penglai.monitor.platform import Fatal, Handler, Platform, Profile
from penglai.monitor.refusal import Refusal, bad_argument

log = limited_logger(__name__)

Outcome = RunValue | None
ASKING = State.OCALL, RunValue.OCALL
"""An enclave that has asked the host: its state, and what the host is told."""

EVERY_POLICY = int(Policy.MOVE | Policy.CLONE)

MAX_RANDOM = 1 << 20
"""Bytes that one getrandom fills."""


def handle(platform: Platform, run: Enclave, function: int) -> Outcome:
    """Serve the ecall at which the active context stands.  An unknown function has the result -1."""
    me, profile = run.active, platform.profile
    me.account.calls += 1
    try:
        return profile.calls.get(function, profile.unknown)(platform, run)
    except Refusal as refusal:
        if refusal.code == ErrorCode.NO_MEMORY:
            me.account.calls -= 1  # it is made again
            return _ask_host(platform, run, Ocall.SBRK, refusal.value * PAGE_SIZE)
        log.debug("%r: call %d: %s", me, function, refusal.reason)
    except Fatal as fatal:
        fault(platform, run, fatal.cause, me.context.pc)
        return RunValue.FAULTED
    me.complete(RESULT_ERROR)
    return None


def _unknown(_platform: Platform, _run: Enclave) -> Outcome:
    raise bad_argument("there is no such call")


def _exit(platform: Platform, run: Enclave) -> Outcome:
    if run.frames:
        end_server(platform, run)
        return None
    tell_host(platform, run.mailbox.retval, run.context.a0)
    dissolve(platform, run, State.EXITED)
    return RunValue.ENDED


def _yield(_platform: Platform, run: Enclave) -> Outcome:
    run.active.complete(0)
    run.state = State.RUNNABLE
    return RunValue.YIELD


def result(compute: Callable[[Platform, Enclave], int]) -> Handler:
    """A handler for a call whose result is a number."""

    def handler(platform: Platform, run: Enclave) -> Outcome:
        me = run.active
        me.complete(compute(platform, me))
        return None

    return handler


def arguments(me: Enclave) -> tuple[int, int, int, int]:
    """a0 to a3."""
    context = me.context
    return context.a0, context.a1, context.a2, context.a3


# ---- calls that have a result ------------------------------------------------------------------


def _acquire(platform: Platform, me: Enclave) -> int:
    return servers.acquire(platform, me, me.context.a0)


def _acquire_measured(platform: Platform, me: Enclave) -> int:
    name, measurement, _, _ = arguments(me)
    if not measurement:
        raise bad_argument("no measurement is given")
    return servers.acquire(platform, me, name, measurement)


def _caller_id(_platform: Platform, me: Enclave) -> int:
    if me.caller is None:
        raise bad_argument("nobody has called it")
    return me.caller.eid


def _split(_platform: Platform, me: Enclave) -> int:
    address, size, at, _ = arguments(me)
    return mapping.split(me, address, size, at)


def _report(platform: Platform, me: Enclave) -> int:
    name, pointer, nonce, _ = arguments(me)
    reports.write_report(platform, me, name, pointer, nonce)
    return 0


def _key(platform: Platform, me: Enclave) -> int:
    kind, pointer, size, _ = arguments(me)
    reports.write_key(platform, me, kind, pointer, size)
    return 0


def _clock(platform: Platform, me: Enclave) -> int:
    return platform.clock.wall_ns() + me.clock_offset


def _mmap(platform: Platform, me: Enclave) -> int:
    _, address, size, _ = arguments(me)
    return mapping.mmap(platform, me, address, size)


def _unmap(platform: Platform, me: Enclave) -> int:
    _, address, size, _ = arguments(me)
    return mapping.munmap(platform, me, address, size)


def _sbrk(platform: Platform, me: Enclave) -> int:
    return mapping.change_heap(platform, me, me.context.a1)


def _getrandom(platform: Platform, me: Enclave) -> int:
    _, pointer, size, _ = arguments(me)
    if size > MAX_RANDOM:
        raise bad_argument(f"{size} random bytes at once")
    usermem.check_writable(me.table, pointer, size)
    usermem.write(platform.memory, me.table, pointer, os.urandom(size))
    return size


def _shm_get(platform: Platform, me: Enclave) -> int:
    _, key, size, _ = arguments(me)
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
    _, key, size, _ = arguments(me)
    return sharing.extend(platform, me, key, size)


def _set_handler(_platform: Platform, me: Enclave) -> int:
    me.handler = me.context.a0
    return 0


def _set_events(_platform: Platform, me: Enclave) -> int:
    handler, events, _, _ = arguments(me)
    return reflect.set_events(me, handler, events)


def _handler_where(_platform: Platform, me: Enclave) -> int:
    return reflect.where(me)


def _set_policy(_platform: Platform, me: Enclave) -> int:
    policy = me.context.a0
    if policy & ~EVERY_POLICY:
        raise bad_argument(f"the policy {policy:#x}")
    me.policy = policy
    return 0


# ---- calls after which another enclave may be active -------------------------------------------


def _call(platform: Platform, run: Enclave) -> Outcome:
    handle_, pointer, _, _ = arguments(run.active)
    servers.call(platform, run, handle_, pointer)
    return None


def _return(platform: Platform, run: Enclave) -> Outcome:
    servers.give_answer(platform, run, run.active.context.a0)
    return None


def _async_call(platform: Platform, run: Enclave) -> Outcome:
    name, pointer, _, _ = arguments(run.active)
    relay.call_later(platform, run, name, pointer)
    return None


def _handler_return(platform: Platform, run: Enclave) -> Outcome:
    reflect.leave(run.active)
    if platform.registry.watch_handlers is not None:
        platform.registry.watch_handlers(run.active)
    return None


def _handler_go(platform: Platform, run: Enclave) -> Outcome:
    reflect.go(platform, run.active)
    if platform.registry.watch_handlers is not None:
        platform.registry.watch_handlers(run.active)
    return None


# ---- requests to the host ----------------------------------------------------------------------


def _ocall(platform: Platform, run: Enclave) -> Outcome:
    return platform.profile.ocalls.get(run.active.context.a0, _unknown)(platform, run)


def _write(platform: Platform, run: Enclave) -> Outcome:
    """The text is in the kernel buffer, where the host reads it."""
    return _ask_host(platform, run, Ocall.WRITE, 0)


def _sector(ocall: Ocall) -> Handler:
    """The sector's number is the argument.  The second one is 1 if it passes through the kernel buffer."""

    def handler(platform: Platform, run: Enclave) -> Outcome:
        _, sector, where, _ = arguments(run.active)
        tell_host(platform, run.mailbox.ocall_arg1, int(where == OURS))
        return _ask_host(platform, run, ocall, sector)

    return handler


def _return_relay(platform: Platform, run: Enclave) -> Outcome:
    if run.frames:
        raise bad_argument("a server has no relay pages of the host's")
    relay.hand_back(platform, run)
    return _ask_host(platform, run, Ocall.RETURN_RELAY, 0)


def _ask(platform: Platform, run: Enclave) -> Outcome:
    """A question with its argument: between enclave and host, the monitor knows none."""
    _, question, argument, _ = arguments(run.active)
    tell_host(platform, run.mailbox.ocall_arg1, argument)
    return _ask_host(platform, run, Ocall.ASK, question)


def _ask_host(platform: Platform, run: Enclave, ocall: Ocall, argument: int) -> Outcome:
    tell_ocall(platform, run.mailbox, ocall, argument)
    run.ocall = ocall
    run.active.account.ocalls += 1
    run.state, value = ASKING
    return value


def answer(platform: Platform, run: Enclave, ocall: int, pa: int, size: int) -> None:
    """The host's answer to the outstanding ocall.

    pa, size: for RETURN_RELAY, the relay pages that the enclave gets.  size: for SBRK, how many bytes of
    memory the host has given, 0 if it has none; for sectors, not 0 if it was done; for ASK, the answer.
    Raises Refusal: another ocall waits (generic), or whatever is wrong with the pages.
    """
    if run.ocall != ocall:
        raise Refusal(ErrorCode.GENERIC, f"no ocall {ocall} waits for an answer")
    ANSWERS[ocall](platform, run, pa, size)
    run.ocall = None


def _text_written(platform: Platform, run: Enclave, _pa: int, _size: int) -> None:
    run.active.complete(platform.profile.write_result)


def _sector_moved(_platform: Platform, run: Enclave, _pa: int, size: int) -> None:
    run.active.complete(0 if size else RESULT_ERROR)


def _asked(_platform: Platform, run: Enclave, _pa: int, size: int) -> None:
    run.active.complete(size)


def _memory_given(_platform: Platform, run: Enclave, _pa: int, size: int) -> None:
    """With memory the enclave makes its call again."""
    if not size:
        run.active.complete(RESULT_ERROR)


def _relay_given(platform: Platform, run: Enclave, pa: int, size: int) -> None:
    region = relay.accept(platform, run, pa, size) if size else None
    context = run.active.context
    if context.a1 == OURS:  # to others no register changes but a0
        context.a1 = region.start if region else 0
        context.a2 = region.size if region else 0
    run.active.complete(0)


HANDLERS: dict[int, Handler] = {
    EnclaveCall.EXIT: _exit,
    EnclaveCall.OCALL: _ocall,
    EnclaveCall.ACQUIRE_SERVER: result(_acquire),
    EnclaveCall.CALL_SERVER: _call,
    EnclaveCall.RETURN: _return,
    EnclaveCall.GET_REPORT: result(_report),
    EnclaveCall.ASYNC_CALL: _async_call,
    EnclaveCall.SPLIT_REGION: result(_split),
    EnclaveCall.CALLER_ID: result(_caller_id),
    EnclaveCall.OWN_ID: result(lambda _platform, me: me.eid),
    EnclaveCall.YIELD: _yield,
    EnclaveCall.GET_KEY: result(_key),
    EnclaveCall.SHM_ATTACH: result(_shm_attach),
    EnclaveCall.SHM_STAT: result(_shm_stat),
    EnclaveCall.SET_HANDLER: result(_set_handler),
    EnclaveCall.HANDLER_RETURN: _handler_return,
    EnclaveCall.HANDLER_WHERE: result(_handler_where),
    EnclaveCall.HANDLER_GO: _handler_go,
    EnclaveCall.SET_EVENTS: result(_set_events),
    EnclaveCall.CLOCK: result(_clock),
    EnclaveCall.ACQUIRE_MEASURED: result(_acquire_measured),
    EnclaveCall.GENERATION: result(lambda _platform, me: me.generation),
    EnclaveCall.SET_POLICY: result(_set_policy),
}

OCALL_HANDLERS: dict[int, Handler] = {
    Ocall.MMAP: result(_mmap),
    Ocall.UNMAP: result(_unmap),
    Ocall.WRITE: _write,
    Ocall.SBRK: result(_sbrk),
    Ocall.READ_SECTOR: _sector(Ocall.READ_SECTOR),
    Ocall.WRITE_SECTOR: _sector(Ocall.WRITE_SECTOR),
    Ocall.RETURN_RELAY: _return_relay,
    Ocall.GETRANDOM: result(_getrandom),
    Ocall.SHM_GET: result(_shm_get),
    Ocall.SHM_DETACH: result(_shm_detach),
    Ocall.SHM_DESTROY: result(_shm_destroy),
    Ocall.SHM_EXTEND: result(_shm_extend),
}

NATIVE = Profile("native", HANDLERS, OCALL_HANDLERS | {Ocall.ASK: _ask}, _unknown)
"""What this package means by the calls."""

ANSWERS: dict[int, Callable[[Platform, Enclave, int, int], None]] = {
    Ocall.WRITE: _text_written,
    Ocall.SBRK: _memory_given,
    Ocall.READ_SECTOR: _sector_moved,
    Ocall.WRITE_SECTOR: _sector_moved,
    Ocall.RETURN_RELAY: _relay_given,
    Ocall.ASK: _asked,
}
