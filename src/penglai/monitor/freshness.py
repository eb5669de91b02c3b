"""Which snapshots may still be restored: the device remembers each until it is, and once.

So an enclave that has moved into a snapshot has one life: an older one, one that was restored already, and
one that was never finished are nobody's.  The list is in the machine's storage, and survives a restart.
"""

from collections.abc import Callable

from penglai.abi.errors import StorageError
from penglai.abi.snapshot import ID_BYTES, Why
from penglai.machine.store import Store
from penglai.monitor.refusal import no_snapshot

NAME = "snapshots"
HEAD = b"penglai snapshots, 1".ljust(2 * ID_BYTES, b"\0")
"""Begins the list.  Behind it, for each snapshot: uid of the enclave, id of the snapshot."""

MOST = 2000
"""Snapshots that wait to be restored, at most."""

List = dict[bytes, bytes]
"""By the uid of the enclave, the id of its latest snapshot."""


class Freshness:
    """The list of one device.  Safe from any thread, and for several processes at once."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def expect(self, uid: bytes, snapshot: bytes) -> None:
        """This snapshot is where the enclave is from now on.  Raises Refusal if there are too many."""

        def add(known: List) -> None:
            if uid not in known and len(known) >= MOST:
                raise no_snapshot(Why.FULL, f"{MOST} snapshots wait to be restored")
            known[uid] = snapshot

        self._change(add, lambda known: known.get(uid) == snapshot)

    def check(self, uid: bytes, snapshot: bytes) -> None:
        """Raise Refusal unless this snapshot is where the enclave is."""
        self._change(lambda known: _check(known, uid, snapshot), lambda _: False)

    def spend(self, uid: bytes, snapshot: bytes) -> None:
        """The enclave is no more in this snapshot but here.  Raises Refusal if it was not in it."""

        def remove(known: List) -> None:
            _check(known, uid, snapshot)
            del known[uid]

        self._change(remove, lambda known: uid not in known)

    def _change(self, change: Callable[[List], None], done: Callable[[List], bool]) -> None:
        """Change the list.  done: whether it is changed, for a disk that fails behind that.

        Raises Refusal, and the list is as it was.
        """

        def changed(raw: bytes) -> bytes:
            known = _read(raw)
            change(known)
            return HEAD + b"".join(uid + snapshot for uid, snapshot in known.items())

        try:
            self._store.change(NAME, HEAD, changed)
        except StorageError as error:
            if not self._is(done):
                raise no_snapshot(Why.STORAGE, str(error)) from error

    def _is(self, done: Callable[[List], bool]) -> bool:
        try:
            return done(_read(self._store.load_or_create(NAME, lambda: HEAD)))
        except StorageError:
            return False


def _read(raw: bytes) -> List:
    size = 2 * ID_BYTES
    if raw[:size] != HEAD or len(raw) % size:
        raise StorageError("the list of snapshots in the machine's storage is of another version")
    rows = [raw[start : start + size] for start in range(size, len(raw), size)]
    return {row[:ID_BYTES]: row[ID_BYTES:] for row in rows}


def _check(known: List, uid: bytes, snapshot: bytes) -> None:
    if uid not in known:
        raise no_snapshot(Why.SPENT, "it was restored already, or never finished")
    if known[uid] != snapshot:
        raise no_snapshot(Why.OLD, "there is a later snapshot of the enclave")
