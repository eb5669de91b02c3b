"""Execution: an enclave on a hart, from the entry to the way back to the host.

The hart's thread holds the enclave's lock whenever it looks at the enclave, and never while the enclave
executes.  Whoever takes an enclave off its hart meanwhile (stop, destroy) does it under the same lock:

    interrupter                               hart
    -----------                               ----
    takes the lock: enclave.hart is set       executes
    hart.interrupt(): returns when the        leaves the guest, context saved;
      hart is out of the guest                  waits for the lock
    sets the state, clears enclave.hart
      and the context's owner
    releases the lock                         takes the lock: the enclave is not its own any more;
                                                acknowledges; drops its trap; returns to the host

A trap that is dropped has not happened: the context still stands at the instruction that trapped, which
is executed again after a resume.  So a stop or destroy never waits for the enclave or for the hart's
thread, only for the hart to leave the guest.  docs/concurrency.md numbers the races.
"""

from penglai.abi import ecall
from penglai.abi.ecall import Event
from penglai.abi.errors import ErrorCode
from penglai.abi.riscv import Cause
from penglai.abi.sbi import RunValue, SbiResult
from penglai.abi.state import State
from penglai.machine.context import Trap
from penglai.machine.hart import Hart
from penglai.machine.ratelimit import limited_logger
from penglai.monitor import calls, reflect
from penglai.monitor.enclave import Enclave
from penglai.monitor.ending import end_server, fault
from penglai.monitor.lifecycle import Call, next_state
from penglai.monitor.platform import Platform

log = limited_logger(__name__)

ADDRESS_FAULTS = {
    Cause.FETCH_ACCESS,
    Cause.FETCH_PAGE_FAULT,
    Cause.LOAD_MISALIGNED,
    Cause.LOAD_ACCESS,
    Cause.LOAD_PAGE_FAULT,
    Cause.STORE_MISALIGNED,
    Cause.STORE_ACCESS,
    Cause.STORE_PAGE_FAULT,
}
"""Causes whose tval is an address.  Of the others the host learns where they happened."""

EXTENSION = int(ecall.EXTENSION)
ECALL, TIMER = int(Cause.ECALL_U), int(Cause.M_TIMER_INTERRUPT)
SOFTWARE = int(Cause.M_SOFTWARE_INTERRUPT)
ENTER = Call.ENTER
"""Bound once, as elsewhere on the way of every call: finding an enum's member takes longer than comparing,
and comparing members longer than comparing numbers."""

NOBODY = 0
"""Owner of a context that no hart may touch."""

RESULTS = {value: SbiResult(ErrorCode.OK, value) for value in RunValue}


def enter(platform: Platform, hart: Hart, enclave: Enclave) -> SbiResult:
    """Run a RUNNABLE enclave on this hart until something is for the host; the answer to its SBI call.

    The caller holds the enclave's lock, which is released while the enclave executes and held again on
    return.
    """
    enclave.state = next_state(ENTER, enclave.state)
    enclave.hart = hart
    enclave.entered_ns = platform.clock.now()
    lock, owner, execute = enclave.lock, hart.owner, hart.execute
    while True:
        context = enclave.active.context  # under the lock: without it the enclave can end at any moment
        context.owner = owner
        lock.release()
        try:
            cause = execute(context)
        finally:
            lock.acquire()
        if enclave.hart is not hart:
            hart.acknowledge()
            return _taken_away(enclave)
        context.owner = NOBODY
        if cause == ECALL and context.a6 == EXTENSION:  # nearly always
            value = calls.handle(platform, enclave, context.a7)
        else:
            value = _handle(platform, enclave, hart, cause)
        if value is not None:
            if enclave.hart is not None:
                enclave.leave_hart(platform.clock.now())
            return RESULTS[value]


def take_off(platform: Platform, enclave: Enclave) -> None:
    """Make sure that the enclave executes nothing from here on; its context is exact.

    The caller holds the enclave's lock.
    """
    if enclave.hart is not None:
        enclave.hart.interrupt()
        enclave.active.context.owner = NOBODY
        enclave.leave_hart(platform.clock.now())


def _taken_away(enclave: Enclave) -> SbiResult:
    if enclave.state is State.DESTROYED:
        return SbiResult(ErrorCode.NO_SUCH_ENCLAVE, 0)
    return SbiResult(ErrorCode.OK, RunValue.TIMER)


def _handle(platform: Platform, enclave: Enclave, hart: Hart, cause: int) -> calls.Outcome:
    """Deal with a trap that is no call of the monitor; None if the enclave goes on at once."""
    if cause == ECALL:
        active = enclave.active
        if reflect.enter(active):
            if platform.registry.watch_handlers is not None:
                platform.registry.watch_handlers(active)
            return None
        if active.context.a7 == ecall.IOCTL:
            active.complete(0)
            return None
    if cause == TIMER:
        reflect.enter_event(enclave.active, Event.TURNS, cause, 0)
        enclave.account.preemptions += 1
        enclave.state = State.RUNNABLE
        return RunValue.TIMER
    if cause == SOFTWARE:
        hart.acknowledge()
        return None  # nobody took the enclave away: a stale request
    return _fault(platform, enclave, hart.trap)


def _fault(platform: Platform, enclave: Enclave, trap: Trap) -> calls.Outcome:
    """The enclave did what it may not.  A server that did is gone, and its caller's call has failed.

    What asks for its faults has them instead.
    """
    if reflect.enter_event(enclave.active, Event.FAULTS, trap.cause, trap.tval):
        return None
    log.info("%r: %s", enclave.active, trap)
    watch = platform.registry.watch_faults
    if watch is not None:
        watch(enclave, trap)
    if enclave.frames and not platform.profile.server_faults_end_caller:
        end_server(platform, enclave)
        return None
    fault(platform, enclave, trap.cause, trap.tval if trap.cause in ADDRESS_FAULTS else trap.epc)
    return RunValue.FAULTED
