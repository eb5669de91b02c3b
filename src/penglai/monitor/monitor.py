"""The monitor: the host's calls, decoded and dispatched.

`_CALLS` is the map of the monitor towards the host: function number, name, arity, handler.
"""

import ctypes
import itertools
import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from penglai.abi import sbi
from penglai.abi.errors import ErrorCode, MonitorBug
from penglai.abi.sbi import HostCall, ResumeReason, RunParam, RunValue, SbiResult
from penglai.abi.state import State
from penglai.machine.board import Board
from penglai.machine.hart import Hart
from penglai.monitor import calls, create, execution
from penglai.monitor.enclave import Enclave
from penglai.monitor.ending import dissolve, report
from penglai.monitor.lifecycle import LIVE, Call, next_state
from penglai.monitor.ownership import Ownership
from penglai.monitor.platform import Platform
from penglai.monitor.refusal import Refusal, bad_argument

log = logging.getLogger(__name__)

NOT_SUPPORTED = -2
"""SBI specification: no such extension."""

OK = SbiResult(ErrorCode.OK, 0)
PREEMPTED = SbiResult(ErrorCode.OK, RunValue.TIMER)

EID_LIMIT = 1 << 31


class Monitor:
    """The secure monitor of one board.

    It answers every SBI call of the host, from any number of harts and host threads at once.  Calls on
    one enclave are serialised by its lock; what they do to the ownership of pages, by the memory's lock,
    which is always taken last.
    """

    def __init__(self, board: Board) -> None:
        ownership = Ownership(board.memory)
        self.platform = Platform(board.memory, ownership, board.harts, board.clock)
        self._enclaves: dict[int, Enclave] = {}
        self._eids = itertools.count(1)
        self._bug: str | None = None
        board.install(self.handle)

    def handle(
        self, hart: Hart | None, extension: int, function: int, arguments: tuple[int, ...]
    ) -> SbiResult:
        """Answer an SBI call.  hart: the caller's, None for a host thread that holds no hart.

        Raises MonitorBug, then and at every later call, if an invariant was found broken.
        """
        if self._bug is not None:
            raise MonitorBug(self._bug)
        if extension != sbi.EXTENSION or function not in _CALLS:
            return SbiResult(NOT_SUPPORTED, 0)
        name, arity, handler = _CALLS[function]
        padded = (*arguments, *([0] * arity))[:arity]
        try:
            return handler(self, hart, *padded)
        except Refusal as refusal:
            log.debug("%s%r refused: %s", name, arguments, refusal.reason)
            return SbiResult(refusal.code, refusal.value)
        except Exception as error:
            self._bug = f"{name} failed inside the monitor: {error!r}; the machine is stopped"
            log.critical("%s", self._bug, exc_info=True)
            raise MonitorBug(self._bug) from error

    # ---- the host's calls ----------------------------------------------------------------------

    def _create(self, _hart: Hart | None, param_pa: int) -> SbiResult:
        request = create.decode(self.platform.ownership, param_pa)
        enclave = create.build(self.platform, request, self._new_eid)
        self._enclaves[enclave.eid] = enclave
        return SbiResult(ErrorCode.OK, enclave.eid)

    def _run(self, hart: Hart | None, eid: int, param_pa: int) -> SbiResult:
        param = RunParam.from_buffer_copy(
            self.platform.ownership.read_host(param_pa, ctypes.sizeof(RunParam))
        )
        if param.relay_pa or param.relay_size:
            raise bad_argument("relay pages are not supported")
        with self._locked(eid) as enclave:
            enclave.state = next_state(Call.RUN, enclave.state)
            return self._go(hart, enclave)

    def _stop(self, _hart: Hart | None, eid: int) -> SbiResult:
        with self._locked(eid) as enclave:
            before = enclave.state
            after = next_state(Call.STOP, before)
            execution.take_off(self.platform, enclave)
            enclave.state = after
            enclave.account.stops += before is not after
        return OK

    def _resume(self, hart: Hart | None, eid: int, reason: int, ocall: int, _pa: int, size: int) -> SbiResult:
        with self._locked(eid) as enclave:
            if reason == ResumeReason.STOP:
                enclave.state = next_state(Call.RESUME, enclave.state)
                if enclave.ocall is not None:
                    enclave.state = State.OCALL
                return OK
            if reason == ResumeReason.TIMER:
                next_state(Call.ENTER, enclave.state)
                return self._go(hart, enclave)
            if reason == ResumeReason.OCALL:
                after = next_state(Call.ANSWER, enclave.state)
                if not calls.answer(enclave, ocall, size):
                    raise Refusal(ErrorCode.GENERIC, f"no ocall {ocall} waits for an answer")
                enclave.state = after
                return self._go(hart, enclave) if after is State.RUNNABLE else PREEMPTED
            raise bad_argument(f"resume reason {reason}")

    def _destroy(self, _hart: Hart | None, eid: int) -> SbiResult:
        with self._locked(eid) as enclave:
            after = next_state(Call.DESTROY, enclave.state)
            execution.take_off(self.platform, enclave)
            dissolve(self.platform, enclave, after)
        return OK

    def _extend(self, _hart: Hart | None, pa: int, size: int) -> SbiResult:
        self.platform.ownership.extend(pa, size)
        return OK

    def _info(self, _hart: Hart | None, eid: int, pa: int, final_pa: int) -> SbiResult:
        size = ctypes.sizeof(sbi.EnclaveInfo)
        for place in (pa, final_pa):
            if place:
                self.platform.ownership.check_host(place, size)
        with self._locked(eid) as enclave:
            report(self.platform, enclave, pa)
            if final_pa:
                enclave.final_info = final_pa
        return OK

    # ---- helpers -------------------------------------------------------------------------------

    def _new_eid(self) -> int:
        """An id that no enclave of this boot ever had."""
        eid = next(self._eids)
        if eid >= EID_LIMIT:
            raise Refusal(ErrorCode.ALLOCATION_FAILED, "no enclave ids are left in this boot")
        return eid

    def _go(self, hart: Hart | None, enclave: Enclave) -> SbiResult:
        """Enter a RUNNABLE enclave; without a hart it stays preempted before its next instruction."""
        return PREEMPTED if hart is None else execution.enter(self.platform, hart, enclave)

    @contextmanager
    def _locked(self, eid: int) -> Iterator[Enclave]:
        """The live enclave eid, under its lock; an ended one leaves the table.

        Raises Refusal (no such enclave).  The enclave may end while this waits for its lock: every call
        looks at its state before anything else.
        """
        enclave = self._enclaves.get(eid)
        if enclave is None:
            raise Refusal(ErrorCode.NO_SUCH_ENCLAVE, f"no enclave {eid}")
        with enclave.lock:
            if enclave.state not in LIVE:
                raise Refusal(ErrorCode.NO_SUCH_ENCLAVE, f"enclave {eid} has ended")
            try:
                yield enclave
            finally:
                if enclave.state not in LIVE:
                    self._enclaves.pop(eid, None)

    def enclaves(self) -> list[Enclave]:
        """The records of all live enclaves: for tests and tools inside the monitor's walls."""
        return list(self._enclaves.values())


_CALLS: dict[int, tuple[str, int, Callable[..., SbiResult]]] = {
    HostCall.CREATE: ("create", 1, Monitor._create),
    HostCall.RUN: ("run", 2, Monitor._run),
    HostCall.STOP: ("stop", 1, Monitor._stop),
    HostCall.RESUME: ("resume", 5, Monitor._resume),
    HostCall.DESTROY: ("destroy", 1, Monitor._destroy),
    HostCall.MEMORY_EXTEND: ("memory extend", 2, Monitor._extend),
    HostCall.INFO: ("info", 3, Monitor._info),
}
