"""The calls of an enclave: one handler table.

A handler answers in one of two ways.  It returns None: a0 is set, and the enclave goes on.  Or it returns
a RunValue: the hart goes back to the host with it, the enclave's state being what the handler made it.
Every argument is whatever the enclave chose to leave in its registers.
"""

from collections.abc import Callable

from penglai.abi.ecall import RESULT_ERROR, EnclaveCall, Ocall
from penglai.abi.riscv import REG_A0, REG_A1
from penglai.abi.sbi import RunValue
from penglai.abi.state import State
from penglai.monitor import heap
from penglai.monitor.enclave import Enclave
from penglai.monitor.ending import dissolve, tell_host
from penglai.monitor.platform import Platform

Outcome = RunValue | None
Handler = Callable[[Platform, Enclave], Outcome]

ECALL_BYTES = 4
WORD = (1 << 64) - 1


def complete(enclave: Enclave, result: int) -> None:
    """The call under way ends with this result: a0 is set and the ecall is passed."""
    enclave.context.x[REG_A0] = result & WORD
    enclave.context.pc = (enclave.context.pc + ECALL_BYTES) & WORD


def handle(platform: Platform, enclave: Enclave, function: int) -> Outcome:
    """Serve the ecall at which the enclave's context stands.  An unknown function has the result -1."""
    handler = HANDLERS.get(function, _unknown)
    return handler(platform, enclave)


def _unknown(_platform: Platform, enclave: Enclave) -> Outcome:
    complete(enclave, RESULT_ERROR)
    return None


def _exit(platform: Platform, enclave: Enclave) -> Outcome:
    tell_host(platform, enclave.mailbox.retval, enclave.context.x[REG_A0])
    dissolve(platform, enclave, State.EXITED)
    return RunValue.ENDED


def _own_id(_platform: Platform, enclave: Enclave) -> Outcome:
    complete(enclave, enclave.eid)
    return None


def _yield(_platform: Platform, enclave: Enclave) -> Outcome:
    complete(enclave, 0)
    enclave.state = State.RUNNABLE
    return RunValue.YIELD


def _ocall(platform: Platform, enclave: Enclave) -> Outcome:
    handler = OCALL_HANDLERS.get(enclave.context.x[REG_A0], _unknown)
    return handler(platform, enclave)


def _write(platform: Platform, enclave: Enclave) -> Outcome:
    """The text is in the kernel buffer, where the host reads it."""
    return _ask_host(platform, enclave, Ocall.WRITE, 0)


def _sbrk(platform: Platform, enclave: Enclave) -> Outcome:
    """Served here; only an empty pool makes it a request to the host, after which it is made again."""
    top = heap.change(platform, enclave, enclave.context.x[REG_A1])
    if isinstance(top, heap.Missing):
        return _ask_host(platform, enclave, Ocall.SBRK, top.size)
    complete(enclave, RESULT_ERROR if top is None else top)
    return None


def _ask_host(platform: Platform, enclave: Enclave, ocall: Ocall, argument: int) -> Outcome:
    tell_host(platform, enclave.mailbox.ocall_id, ocall)
    tell_host(platform, enclave.mailbox.ocall_arg0, argument)
    enclave.ocall = ocall
    enclave.state = State.OCALL
    return RunValue.OCALL


def answer(enclave: Enclave, ocall: int, size: int) -> bool:
    """The host's answer to the outstanding ocall; False if it is the answer to another one.

    size: for SBRK, how many bytes of memory the host has given; 0 if it has none.
    """
    if enclave.ocall != ocall:
        return False
    enclave.ocall = None
    if ocall == Ocall.WRITE:
        complete(enclave, 0)
    elif not size:
        complete(enclave, RESULT_ERROR)
    return True  # with memory given, the enclave executes its sbrk again


HANDLERS: dict[int, Handler] = {
    EnclaveCall.EXIT: _exit,
    EnclaveCall.OCALL: _ocall,
    EnclaveCall.OWN_ID: _own_id,
    EnclaveCall.YIELD: _yield,
}

OCALL_HANDLERS: dict[int, Handler] = {
    Ocall.WRITE: _write,
    Ocall.SBRK: _sbrk,
}
