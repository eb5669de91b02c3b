"""Ctrl-C must not cut a system call in half.

Python runs signal handlers in the main thread, between any two instructions, and the handler of SIGINT
raises there.  While the main thread is inside the driver the signal is noted, and delivered on the way
out.  Other threads never run handlers and need nothing.
"""

import inspect
import signal
import threading
from types import FrameType, TracebackType

_MAIN_THREAD = threading.main_thread().ident

_set_handler = inspect.unwrap(signal.signal)
_get_handler = inspect.unwrap(signal.getsignal)
"""What is below them: their conversions to and from enums take a quarter of the time of a stop."""


class Shield:
    """with Shield(): SIGINT waits until the end of the block, or of the outermost that is around it."""

    __slots__ = ("_handler", "_noted")

    outermost: "Shield | None" = None
    """That which the main thread is in."""

    def __enter__(self) -> None:
        self._handler = None
        if threading.get_ident() != _MAIN_THREAD or Shield.outermost is not None:
            return
        handler = _get_handler(signal.SIGINT)
        if callable(handler):
            self._noted: list[FrameType | None] = []
            _set_handler(signal.SIGINT, self._note)
            self._handler = handler
            Shield.outermost = self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._handler is None:
            return
        Shield.outermost = None
        _set_handler(signal.SIGINT, self._handler)
        if self._noted:
            self._handler(signal.SIGINT, self._noted[0])

    def _note(self, _number: int, frame: FrameType | None) -> None:
        self._noted.append(frame)
