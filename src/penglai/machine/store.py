"""The machine's own storage: a few secrets that outlive a restart.

A directory that only its owner may enter, with one file for each secret: the content, then its SHA-256.
A file appears whole or not at all: whoever makes it holds a lock, which the kernel takes back from a
process that is killed, and renames it into place.
"""

import contextlib
import fcntl
import hashlib
import os
import stat
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

from penglai.abi.errors import StorageError
from penglai.toolchain.cache import user_dir

STATE_VARIABLE = "PENGLAI_STATE"
"""Environment variable that names another directory for the machine's storage."""

MAX_BYTES = 1 << 16
"""More than any secret has; nothing longer is read."""

CHECKSUM_BYTES = 32


def default_state_dir() -> Path:
    """The directory of a machine that outlives a restart: $PENGLAI_STATE, or the user's state directory."""
    override = os.environ.get(STATE_VARIABLE)
    return Path(override) if override else user_dir("XDG_STATE_HOME", "~/.local/state")


class Store:
    """Secrets by name.  Safe to use from any thread, and from several processes at once.

    directory: made on first use, for its owner alone; None: nothing outlives this object.
    """

    def __init__(self, directory: Path | None) -> None:
        self._directory = directory
        self._volatile: dict[str, bytes] = {}
        self._lock = threading.Lock()

    def load_or_create(self, name: str, make: Callable[[], bytes]) -> bytes:
        """The secret of this name; the first time, what make returns.

        name: a file name.  Raises StorageError if the file is damaged, or others may read it or own it, or
        it cannot be written.
        """
        with self._lock:
            if self._directory is None:
                if name not in self._volatile:
                    self._volatile[name] = make()
                return self._volatile[name]
            try:
                return _load_or_create(self._directory, name, make)
            except OSError as error:
                raise StorageError(
                    f"cannot keep the machine's keys in {self._directory}: {error.strerror or error}; make "
                    f"it writable, or set {STATE_VARIABLE} to another directory"
                ) from error


def _load_or_create(directory: Path, name: str, make: Callable[[], bytes]) -> bytes:
    directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    _check_private(directory, directory.stat())
    path = directory / name
    with contextlib.suppress(FileNotFoundError):
        return _load(path)
    with _locked(directory / ".lock"):
        with contextlib.suppress(FileNotFoundError):
            return _load(path)  # another process was faster
        content = make()
        _write(directory, path, content)
        return content


def _load(path: Path) -> bytes:
    with os.fdopen(os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC), "rb") as file:
        status = os.fstat(file.fileno())
        if not stat.S_ISREG(status.st_mode):
            raise StorageError(f"{path} is not a regular file; move it away")
        _check_private(path, status)
        data = file.read(MAX_BYTES + CHECKSUM_BYTES + 1)
    content, checksum = data[:-CHECKSUM_BYTES], data[-CHECKSUM_BYTES:]
    if not content or len(content) > MAX_BYTES or hashlib.sha256(content).digest() != checksum:
        raise StorageError(
            f"{path} is damaged; bring it back from a copy, or remove {path.parent} to become a new "
            "device, which cannot read what the old one sealed"
        )
    return content


def _check_private(path: Path, status: os.stat_result) -> None:
    if status.st_uid != os.geteuid():
        raise StorageError(
            f"{path} belongs to user {status.st_uid}, not to you; name a directory of your own "
            f"with {STATE_VARIABLE}"
        )
    if stat.S_IMODE(status.st_mode) & 0o077:
        right = "700" if stat.S_ISDIR(status.st_mode) else "600"
        raise StorageError(
            f"{path} holds the machine's keys, and others may use it (mode {stat.S_IMODE(status.st_mode):o});"
            f" if nobody did, run: chmod {right} {path}"
        )


@contextlib.contextmanager
def _locked(path: Path) -> Iterator[None]:
    handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)


def _write(directory: Path, path: Path, content: bytes) -> None:
    """Under the lock, so that what a killed process left of a fresh file is nobody's and is overwritten."""
    fresh = directory / f".{path.name}.new"
    fresh.unlink(missing_ok=True)
    with os.fdopen(os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600), "wb") as file:
        file.write(content + hashlib.sha256(content).digest())
        file.flush()
        os.fsync(file.fileno())
    fresh.replace(path)
    handle = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
