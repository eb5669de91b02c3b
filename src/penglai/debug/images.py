"""Which program an enclave was made from: the file if it came from one, else its bytes."""

import threading
from collections import OrderedDict
from dataclasses import dataclass
from pathlib import Path

MOST = 16384
"""Of all, the latest."""

MOST_BYTES = 64 << 20
"""Of programs that came as bytes, the latest that are no more than this together."""


@dataclass(frozen=True)
class _File:
    """A file as it was when an enclave was made from it: time of its last change, ns, and size."""

    path: Path
    changed: int
    size: int

    def read(self) -> bytes | None:
        """The same file, if it still is."""
        try:
            stat = self.path.stat()
            same = (stat.st_mtime_ns, stat.st_size) == (self.changed, self.size)
            return self.path.read_bytes() if same else None
        except OSError:
            return None


class Images:
    """The programs of the latest enclaves.  Safe to use from any thread."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._known: OrderedDict[int, _File | bytes] = OrderedDict()
        self._bytes = 0

    def note(self, eid: int, origin: Path | bytes) -> None:
        """An enclave was made from this."""
        known = origin if isinstance(origin, bytes) else _remember(origin)
        if known is None:
            return
        with self._lock:
            self._known[eid] = known
            self._bytes += _size(known)
            while len(self._known) > MOST or self._bytes > MOST_BYTES:
                self._bytes -= _size(self._known.popitem(last=False)[1])

    def find(self, eid: int) -> bytes | None:
        """The program of an enclave, or None if it is not known any more, or the file is another now."""
        with self._lock:
            known = self._known.get(eid)
        return known.read() if isinstance(known, _File) else known


def _remember(path: Path) -> _File | None:
    try:
        stat = path.stat()
    except OSError:
        return None
    return _File(path.absolute(), stat.st_mtime_ns, stat.st_size)


def _size(known: _File | bytes) -> int:
    return len(known) if isinstance(known, bytes) else 0
