"""The system calls of Linux programs in enclaves, as strace shows them.

Like a trace it is of the machine's owner: it reads registers and memory of enclaves, which no host can.  It
learns of calls where the monitor hands them to the handler inside the enclave, and of results where that
handler lets the program go on.  While there is none, nothing of this is there.
"""

import logging
from collections.abc import Callable
from dataclasses import dataclass, field
from types import TracebackType
from typing import Self

from penglai.abi.errors import StateError
from penglai.abi.riscv import Cause
from penglai.driver.shield import Shield
from penglai.monitor import usermem
from penglai.monitor.enclave import ECALL_BYTES, Enclave
from penglai.monitor.monitor import Monitor
from penglai.monitor.refusal import Refusal
from penglai.tracing.syscalls import CALLS, NO_RETURN, describe

log = logging.getLogger(__name__)

CLONE, TLS = 220, 3
"""Number of clone, and which of its arguments is the new thread's pointer."""


@dataclass(frozen=True)
class _Call:
    """Where it was made, and with what."""

    pc: int
    number: int
    arguments: tuple[int, ...]


@dataclass
class _Program:
    """calls: under way, by thread pointer.  ids: of threads that clone has made, by thread pointer."""

    calls: dict[int, _Call] = field(default_factory=dict)
    ids: dict[int, int] = field(default_factory=dict)


class Strace:
    """Writes a line for each call; made by `Machine.strace`.  A context manager; leaving it ends it.

    tell: called with each line, on a hart's thread, which waits.  If it raises, that is logged, and the end.
    """

    def __init__(self, monitor: Monitor, tell: Callable[[str], None]) -> None:
        self._platform = monitor.platform
        if self._platform.registry.watch_handlers is not None:
            raise StateError("system calls of this machine are being watched already")
        self._tell = tell
        self._programs: dict[int, _Program] = {}
        self._platform.registry.watch_handlers = self._pass

    def close(self) -> None:
        """Write no more.  More than once does nothing."""
        with Shield():
            if self._platform.registry.watch_handlers == self._pass:
                self._platform.registry.watch_handlers = None

    def _pass(self, me: Enclave) -> None:
        """An enclave has entered its handler, or goes on behind it."""
        program = self._programs.setdefault(me.eid, _Program())
        if me.reflected is None:
            self._returns(me, program)
        elif me.reflected.cause == Cause.ECALL_U:
            self._enters(me, program)

    def _enters(self, me: Enclave, program: _Program) -> None:
        context, reflected = me.context, me.reflected
        assert reflected is not None
        call = _Call(reflected.pc, reflected.a7, tuple(context.x[10:16]))
        if call.number in CALLS and CALLS[call.number].name in NO_RETURN:
            self._write(me, program, call, None)
        else:
            program.calls[context.x[4]] = call

    def _returns(self, me: Enclave, program: _Program) -> None:
        context = me.context
        call = program.calls.get(context.x[4])
        if call is None or context.pc != call.pc + ECALL_BYTES:
            return  # another thread, a handler of signals, or a call that is made again
        del program.calls[context.x[4]]
        if call.number == CLONE and context.a0 >> 63 == 0:
            program.ids[call.arguments[TLS]] = context.a0
        self._write(me, program, call, context.a0)

    def _write(self, me: Enclave, program: _Program, call: _Call, result: int | None) -> None:
        def read(address: int, size: int) -> bytes | None:
            try:
                return usermem.read(self._platform.memory, me.table, address, size)
            except Refusal:
                return None

        number = program.ids.get(me.context.x[4])
        who = f"[{number}] " if number else ""
        try:
            self._tell(who + describe(call.number, call.arguments, result, read))
        except Exception:
            log.exception("a line was not taken: system calls are shown no more")
            self._platform.registry.watch_handlers = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
