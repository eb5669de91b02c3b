"""The machine's console: what enclaves have written."""

import threading
from collections.abc import Callable

from penglai.abi.errors import WaitTimeoutError

KEPT_BYTES = 16 << 20
"""The console keeps this many bytes, the latest; an enclave cannot fill the host's memory."""


class Console:
    """Text of all enclaves in the order it came.  Safe to use from any thread.

    listener: called as listener(eid, text) for each write, on a thread of its own; the enclave that wrote
    waits (in state OCALL) until it returns.
    """

    def __init__(self, listener: Callable[[int, bytes], None] | None = None) -> None:
        self.listener = listener
        self._lock = threading.Lock()
        self._changed = threading.Condition(self._lock)
        self._waiting = 0
        self._data = bytearray()
        self._read = 0
        self._dropped = 0

    def write(self, eid: int, text: bytes) -> None:  # noqa: ARG002 - the driver tells who wrote
        """Append text."""
        with self._lock:
            self._data += text
            excess = len(self._data) - KEPT_BYTES
            if excess > 0:
                excess += KEPT_BYTES // 4
                del self._data[:excess]
                self._dropped += excess
                self._read = max(0, self._read - excess)
            if self._waiting:
                self._changed.notify_all()

    def read(self) -> bytes:
        """What was written since the last read (of the latest 16 MiB)."""
        with self._lock:
            unread = self._data[self._read :]
            self._read = len(self._data)
            return bytes(unread)

    def getvalue(self) -> bytes:
        """Everything written so far (the latest 16 MiB of it)."""
        with self._lock:
            return bytes(self._data)

    @property
    def text(self) -> str:
        """Everything written so far, as text."""
        return self.getvalue().decode("utf-8", "replace")

    @property
    def dropped(self) -> int:
        """How many bytes were forgotten because there were too many."""
        return self._dropped

    def clear(self) -> None:
        """Forget what was written."""
        with self._lock:
            self._data.clear()
            self._read = 0

    def wait_for(self, text: bytes | str, timeout: float | None = None) -> None:
        """Wait until text was written.  Raises WaitTimeoutError after timeout seconds."""
        wanted = text.encode() if isinstance(text, str) else text
        with self._changed:
            self._waiting += 1
            try:
                found = self._changed.wait_for(lambda: wanted in self._data, timeout)
            finally:
                self._waiting -= 1
        if not found:
            raise WaitTimeoutError(f"{text!r} was not written within {timeout} seconds")

    def __str__(self) -> str:
        return self.text

    def __bytes__(self) -> bytes:
        return self.getvalue()

    def __contains__(self, text: bytes | str) -> bool:
        return (text.encode() if isinstance(text, str) else text) in self.getvalue()

    def __repr__(self) -> str:
        return f"<Console {len(self._data)} bytes>"
