"""The monitor: the host's calls, decoded and dispatched.

`_CALLS` is the map of the monitor towards the host: function number, name, arity, handler.
"""

import ctypes
import functools
import logging
from collections.abc import Callable
from contextlib import ExitStack

from penglai.abi import sbi
from penglai.abi.errors import ErrorCode, MonitorBug
from penglai.abi.firmware import Status
from penglai.abi.limits import Limit
from penglai.abi.report import REPORT_BYTES
from penglai.abi.riscv import PAGE_SIZE
from penglai.abi.sbi import EnclaveType, HostCall, ResumeReason, RunParam, RunValue, SbiResult
from penglai.abi.state import State
from penglai.machine.board import Board
from penglai.machine.hart import Hart
from penglai.monitor import calls, create, execution, firstpiece, relay, reports, restore, snapshot
from penglai.monitor.enclave import Enclave
from penglai.monitor.ending import dissolve, end, report
from penglai.monitor.freshness import Freshness
from penglai.monitor.keys import Keys
from penglai.monitor.lifecycle import LIVE, Call, next_state
from penglai.monitor.ownership import Ownership
from penglai.monitor.platform import Platform, Profile
from penglai.monitor.refusal import Refusal, bad_argument

log = logging.getLogger(__name__)

OK = SbiResult(ErrorCode.OK, 0)
STOP, TIMER, OCALL = ResumeReason.STOP, ResumeReason.TIMER, ResumeReason.OCALL
ENTER, ANSWER, RUNNABLE = Call.ENTER, Call.ANSWER, State.RUNNABLE
PREEMPTED = SbiResult(ErrorCode.OK, RunValue.TIMER)


class Monitor:
    """The secure monitor of one board.

    It answers every SBI call of the host, from any number of harts and host threads at once.  Calls on
    one enclave are serialised by its lock; what they do to the ownership of pages, by the memory's lock,
    which is always taken last.
    """

    def __init__(self, board: Board, profile: Profile = calls.NATIVE) -> None:
        ownership = Ownership(board.memory)
        keys = Keys(board.store, debuggable=board.debuggable)
        freshness = Freshness(board.store)
        self.platform = Platform(board.memory, ownership, board.harts, board.clock, keys, freshness, profile)
        self._bug: str | None = None
        board.install(self.handle)

    def handle(
        self, hart: Hart | None, extension: int, function: int, arguments: tuple[int, ...]
    ) -> SbiResult:
        """Answer an SBI call.  hart: the caller's, None for a host thread that holds no hart.

        Raises MonitorBug, then and at every later call, if an invariant was found broken or the call could
        not be completed for a reason of Python's.
        """
        if self._bug is not None:
            raise MonitorBug(self._bug)
        call = _CALLS.get(function)
        if extension != sbi.EXTENSION or call is None:
            return SbiResult(Status.NOT_SUPPORTED, 0)
        name, arity, handler = call
        if len(arguments) != arity:
            arguments = (*arguments, *([0] * arity))[:arity]
        try:
            return handler(self, hart, *arguments)
        except Refusal as refusal:
            log.debug("%s%r refused: %s", name, arguments, refusal.reason)
            return SbiResult(refusal.code, refusal.value)
        except BaseException as error:  # whatever it is: the call may have been cut in half
            self._bug = f"{name} failed inside the monitor: {error!r}; the machine is stopped"
            log.critical("%s", self._bug, exc_info=True)
            if not isinstance(error, Exception):
                raise
            raise MonitorBug(self._bug) from error

    # ---- the host's calls: making and running --------------------------------------------------

    def _create(self, _hart: Hart | None, param_pa: int, kind: EnclaveType) -> SbiResult:
        platform = self.platform
        request = create.decode(platform.ownership, param_pa, kind)
        server = kind is EnclaveType.SERVER
        if server:
            platform.registry.reserve(request.name)
        try:
            enclave = create.build(platform, request)
        except BaseException:
            if server:
                platform.registry.unreserve(request.name)
            raise
        platform.registry.add(enclave)
        return SbiResult(ErrorCode.OK, enclave.eid)

    def _run(self, hart: Hart | None, eid: int, param_pa: int) -> SbiResult:
        param = RunParam.from_buffer_copy(
            self.platform.ownership.read_host(param_pa, ctypes.sizeof(RunParam))
        )
        enclave = self._find(eid)
        with enclave.lock:
            _check_alive(enclave)
            after = next_state(Call.RUN, enclave.state)
            relay.prepare_start(self.platform, enclave, param.relay_pa, param.relay_size)
            enclave.state, enclave.sealing = after, None
            return self._go(hart, enclave)

    def _run_shadow(self, hart: Hart | None, eid: int, param_pa: int) -> SbiResult:
        platform = self.platform
        request = create.decode_instance(platform.ownership, param_pa, platform.memory.page_count)
        with ExitStack() as held:
            shadow = self._find(eid)
            with shadow.lock:
                _check_alive(shadow)
                next_state(Call.INSTANTIATE, shadow.state)
                enclave = create.instantiate(platform, shadow, request)
                held.enter_context(enclave.lock)  # whoever has guessed its eid finds it started
                platform.registry.add(enclave)
            try:
                relay.prepare_start(platform, enclave, request.relay, request.relay_size)
            except Refusal:
                dissolve(platform, enclave, State.DESTROYED)
                raise
            enclave.state = next_state(Call.RUN, enclave.state)
            return self._go(hart, enclave)

    def _stop(self, _hart: Hart | None, eid: int) -> SbiResult:
        enclave = self._find(eid)
        with enclave.lock:
            _check_alive(enclave)
            before = enclave.state
            after = next_state(Call.STOP, before)
            execution.take_off(self.platform, enclave)
            enclave.state = after
            enclave.account.stops += before is not after
        return OK

    def _resume(self, hart: Hart | None, eid: int, reason: int, ocall: int, pa: int, size: int) -> SbiResult:
        enclave = self._find(eid)
        with enclave.lock:
            if reason == STOP:
                enclave.state, enclave.sealing = next_state(Call.RESUME, enclave.state), None
                if enclave.ocall is not None:
                    enclave.state = State.OCALL
                return OK
            if reason == TIMER:
                next_state(ENTER, enclave.state)
                return self._go(hart, enclave)
            if reason == OCALL:
                after = next_state(ANSWER, enclave.state)
                calls.answer(self.platform, enclave, ocall, pa, size)
                enclave.state, enclave.sealing = after, None
                return self._go(hart, enclave) if after is RUNNABLE else PREEMPTED
            _check_alive(enclave)
            raise bad_argument(f"resume reason {reason}")

    def _destroy(self, _hart: Hart | None, eid: int, kind: EnclaveType) -> SbiResult:
        platform = self.platform
        enclave = self._find(eid)
        with enclave.lock:
            _check_alive(enclave)
            before = enclave.state
            after = next_state(Call.DESTROY, before)
            if enclave.kind is not kind:
                raise Refusal(ErrorCode.GENERIC, f"destroy: the enclave is of type {enclave.kind.name}")
            if kind is EnclaveType.SERVER and not platform.registry.change_state(enclave, before, after):
                raise Refusal(ErrorCode.GENERIC, "destroy: the server is being called")
            execution.take_off(platform, enclave)
            end(platform, enclave, after)
        return OK

    def _attest(self, _hart: Hart | None, eid: int, report_pa: int, nonce: int) -> SbiResult:
        ownership = self.platform.ownership
        ownership.check_host(report_pa, REPORT_BYTES)
        enclave = self._find(eid)
        with enclave.lock:
            _check_alive(enclave)
            next_state(Call.ATTEST, enclave.state)
        ownership.write_host(report_pa, reports.sign(self.platform, enclave, nonce))
        return OK

    # ---- the host's calls: snapshots -----------------------------------------------------------

    def _snapshot(self, _hart: Hart | None, eid: int, options: int, pa: int, size: int) -> SbiResult:
        enclave = self._find(eid)
        with enclave.lock:
            _check_alive(enclave)
            next_state(Call.SNAPSHOT, enclave.state)
            return SbiResult(ErrorCode.OK, snapshot.begin(self.platform, enclave, options, pa, size))

    def _snapshot_piece(self, _hart: Hart | None, eid: int, number: int, pa: int, size: int) -> SbiResult:
        enclave = self._find(eid)
        with enclave.lock:
            _check_alive(enclave)
            next_state(Call.SNAPSHOT, enclave.state)
            return SbiResult(ErrorCode.OK, snapshot.next_piece(self.platform, enclave, number, pa, size))

    def _snapshot_move(self, _hart: Hart | None, eid: int, number: int) -> SbiResult:
        enclave = self._find(eid)
        with enclave.lock:
            _check_alive(enclave)
            snapshot.move(self.platform, enclave, number, next_state(Call.MOVE, enclave.state))
        return OK

    def _restore(self, _hart: Hart | None, param_pa: int) -> SbiResult:
        platform = self.platform
        request = firstpiece.decode(platform, param_pa)
        with ExitStack() as held:
            shadow = restore.shadow_of(platform, request)
            if shadow is not None:
                held.enter_context(shadow.lock)
                _check_alive(shadow)
            enclave = restore.build(platform, request, shadow)
            platform.registry.add(enclave)
        return SbiResult(ErrorCode.OK, enclave.eid)

    def _restore_piece(self, _hart: Hart | None, eid: int, pa: int, size: int) -> SbiResult:
        enclave = self._find(eid)
        with enclave.lock:
            _check_alive(enclave)
            next_state(Call.FILL, enclave.state)
            return SbiResult(ErrorCode.OK, int(restore.fill(self.platform, enclave, pa, size)))

    # ---- the host's calls: memory --------------------------------------------------------------

    def _extend(self, _hart: Hart | None, pa: int, size: int) -> SbiResult:
        self.platform.ownership.extend(pa, size)
        return OK

    def _reclaim(self, _hart: Hart | None) -> SbiResult:
        return SbiResult(ErrorCode.OK, self.platform.ownership.reclaim() or 0)

    def _check_relay(self, _hart: Hart | None, pa: int, size: int) -> SbiResult:
        """Would these pages do as relay pages?  They stay the host's until an enclave gets them."""
        self.platform.ownership.check_host(pa, size, align=PAGE_SIZE)
        return OK

    def _debug_print(self, _hart: Hart | None) -> SbiResult:
        for enclave in self.enclaves():
            log.info("%r", enclave)
        return OK

    def _init(self, _hart: Hart | None) -> SbiResult:
        """A driver begins or ends.  What enclaves that are gone have left on its way is dropped."""
        relay.drop_parcels(self.platform)
        return OK

    def _info(self, _hart: Hart | None, eid: int, pa: int, final_pa: int) -> SbiResult:
        size = ctypes.sizeof(sbi.EnclaveInfo)
        for place in (pa, final_pa):
            if place:
                self.platform.ownership.check_host(place, size)
        enclave = self._find(eid)
        with enclave.lock:
            _check_alive(enclave)
            report(self.platform, enclave, pa)
            if final_pa:
                enclave.final_info = final_pa
        return OK

    def _limit(self, _hart: Hart | None, eid: int, kind: int, value: int) -> SbiResult:
        if kind not in tuple(Limit):
            raise bad_argument(f"there is no limit of kind {kind}")
        if not eid:
            registry = self.platform.registry
            with registry.lock:
                registry.limits = registry.limits.changed(Limit(kind), value)
            return OK
        enclave = self._find(eid)
        with enclave.lock:
            _check_alive(enclave)
            enclave.limits = enclave.limits.changed(Limit(kind), value)
        return OK

    # ---- helpers -------------------------------------------------------------------------------

    def _go(self, hart: Hart | None, enclave: Enclave) -> SbiResult:
        """Enter a RUNNABLE enclave; without a hart it stays preempted before its next instruction."""
        return PREEMPTED if hart is None else execution.enter(self.platform, hart, enclave)

    def _find(self, eid: int) -> Enclave:
        """The enclave eid.  Raises Refusal (no such enclave).

        Who takes its lock then calls _check_alive or next_state before anything else.
        """
        enclave = self.platform.registry.find(eid)
        if enclave is None:
            raise Refusal(ErrorCode.NO_SUCH_ENCLAVE, f"no enclave {eid}")
        return enclave

    def enclaves(self) -> list[Enclave]:
        """The records of all live enclaves: for tests and tools inside the monitor's walls."""
        return self.platform.registry.enclaves()


def _check_alive(enclave: Enclave) -> None:
    """It may have ended while its lock was waited for.  Raises Refusal (no such enclave)."""
    if enclave.state not in LIVE:
        raise Refusal(ErrorCode.NO_SUCH_ENCLAVE, f"enclave {enclave.eid} has ended")


def _of(kind: EnclaveType, handler: Callable[..., SbiResult]) -> Callable[..., SbiResult]:
    """The handler of a call that exists once for each kind of enclave."""
    return functools.partial(handler, kind=kind)


NORMAL, SERVER, SHADOW = EnclaveType.NORMAL, EnclaveType.SERVER, EnclaveType.SHADOW

_CALLS: dict[int, tuple[str, int, Callable[..., SbiResult]]] = {
    HostCall.SM_INIT: ("init", 0, Monitor._init),
    HostCall.CREATE: ("create", 1, _of(NORMAL, Monitor._create)),
    HostCall.CREATE_SERVER: ("create server", 1, _of(SERVER, Monitor._create)),
    HostCall.CREATE_SHADOW: ("create shadow", 1, _of(SHADOW, Monitor._create)),
    HostCall.ATTEST: ("attest", 3, Monitor._attest),
    HostCall.ATTEST_SHADOW: ("attest shadow", 3, Monitor._attest),
    HostCall.RUN: ("run", 2, Monitor._run),
    HostCall.RUN_SHADOW: ("run instance", 2, Monitor._run_shadow),
    HostCall.STOP: ("stop", 1, Monitor._stop),
    HostCall.RESUME: ("resume", 5, Monitor._resume),
    HostCall.DESTROY: ("destroy", 1, _of(NORMAL, Monitor._destroy)),
    HostCall.DESTROY_SERVER: ("destroy server", 1, _of(SERVER, Monitor._destroy)),
    HostCall.DESTROY_SHADOW: ("destroy shadow", 1, _of(SHADOW, Monitor._destroy)),
    HostCall.MEMORY_EXTEND: ("memory extend", 2, Monitor._extend),
    HostCall.MEMORY_RECLAIM: ("memory reclaim", 0, Monitor._reclaim),
    HostCall.SCHRODINGER_INIT: ("schrodinger init", 2, Monitor._check_relay),
    HostCall.DEBUG_PRINT: ("debug print", 0, Monitor._debug_print),
    HostCall.INFO: ("info", 3, Monitor._info),
    HostCall.LIMIT: ("limit", 3, Monitor._limit),
    HostCall.SNAPSHOT: ("snapshot", 4, Monitor._snapshot),
    HostCall.SNAPSHOT_PIECE: ("snapshot piece", 4, Monitor._snapshot_piece),
    HostCall.SNAPSHOT_MOVE: ("move", 2, Monitor._snapshot_move),
    HostCall.RESTORE: ("restore", 1, Monitor._restore),
    HostCall.RESTORE_PIECE: ("restore piece", 3, Monitor._restore_piece),
}
