"""The machine's own storage: a few secrets that outlive a restart, and what it must not forget.

A directory that only its owner may enter, with one file for each secret.  The file `device` says which
device it is, by a random number, and which secrets that device has; every file says its own name and its
device.  So a file that was renamed, or comes from elsewhere, is refused, and one that is missing is missed
and not made anew.

Whoever makes a secret holds a lock, which the kernel takes back from a process that is killed.  First the
whole file is written beside its place, then `device` tells of it, then it is renamed into its place: what a
killed process left is finished by the next one, or nobody has ever seen it.
"""

import contextlib
import fcntl
import hashlib
import os
import secrets
import stat
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

from penglai.abi.errors import StorageError
from penglai.toolchain.places import STATE_VARIABLE

MAX_BYTES = 1 << 16
"""More than any secret has; nothing longer is read."""

DEVICE = "device"
"""Name of the file that says which device it is."""

ID_BYTES = 16
CHECKSUM_BYTES = 32
DOMAIN = b"penglai state 2\0"
"""Begins what a file's checksum is of."""


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

        name: a file name, not `device`.  Raises StorageError if the file is damaged, missing, another's or
        another device's, or others may read it or own it, or it cannot be written.
        """
        with self._lock:
            if self._directory is None:
                if name not in self._volatile:
                    self._volatile[name] = make()
                return self._volatile[name]
            try:
                return _load_or_create(self._directory, name, make)
            except OSError as error:
                raise _unusable(self._directory, error) from error

    def change(self, name: str, first: bytes, change: Callable[[bytes], bytes]) -> None:
        """Put what change makes of the content of this name in its place; in the beginning it is first.

        One after the other, also among processes.  It is on the disk on return; what change raises leaves
        everything as it was.  Raises StorageError as `load_or_create` does.
        """
        self.load_or_create(name, lambda: first)
        with self._lock:
            if self._directory is None:
                self._volatile[name] = change(self._volatile[name])
                return
            try:
                _change(self._directory, name, change)
            except OSError as error:
                raise _unusable(self._directory, error) from error


class _Device(NamedTuple):
    """What the file `device` says.  id: 16 random bytes.  names: of the secrets that were made."""

    id: bytes
    names: tuple[str, ...] = ()


def _load_or_create(directory: Path, name: str, make: Callable[[], bytes]) -> bytes:
    directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    _check_private(directory, directory.stat())
    path = directory / name
    with contextlib.suppress(FileNotFoundError):
        return _load(path, _load_device(directory).id)
    with _locked(directory / ".lock"):
        device = _own_device(directory)
        with contextlib.suppress(FileNotFoundError):
            return _load(path, device.id)  # another process was faster
        if name in device.names:
            return _finish(path, device.id)
        content = make()
        _prepare(path, device.id, content)
        _write(directory / DEVICE, device.id, "\n".join((*device.names, name)).encode())
        _put_in_place(path)
        return content


def _change(directory: Path, name: str, change: Callable[[bytes], bytes]) -> None:
    path = directory / name
    with _locked(directory / ".lock"):
        device = _load_device(directory)
        before = _load(path, device.id)
        after = change(before)
        if len(after) > MAX_BYTES:
            raise StorageError(f"{path} would have {len(after)} bytes, of at most {MAX_BYTES}")
        if after != before:
            _write(path, device.id, after)


def _unusable(directory: Path, error: OSError) -> StorageError:
    return StorageError(
        f"cannot keep the machine's keys in {directory}: {error.strerror or error}; make "
        f"it writable, or set {STATE_VARIABLE} to another directory"
    )


def _load_device(directory: Path) -> _Device:
    """Raises FileNotFoundError if the file is not there."""
    id_bytes, names = _read(directory / DEVICE)
    return _Device(id_bytes, tuple(names.decode().split("\n")))


def _own_device(directory: Path) -> _Device:
    """The device, or a new one in a directory without secrets.  Under the lock."""
    with contextlib.suppress(FileNotFoundError):
        return _load_device(directory)
    for path in directory.iterdir():
        if not path.name.startswith(".") and path.is_file() and _is_secret(path):
            raise StorageError(
                f"{directory} has {path.name} but no file {DEVICE}; bring that back from a copy, or move the "
                "directory away to become a new device, which cannot read what the old one sealed"
            )
    return _Device(secrets.token_bytes(ID_BYTES))


def _is_secret(path: Path) -> bool:
    """True for a file of this storage; disks and others may lie beside them.

    Raises StorageError for old ones.
    """
    try:
        _read(path)
    except _OldFormatError:
        raise
    except StorageError:
        return False
    return True


class _OldFormatError(StorageError):
    """A file of release 0.1.0."""


def _finish(path: Path, device: bytes) -> bytes:
    """Put a secret in its place that a process made which was killed behind telling of it.

    Under the lock.
    """
    try:
        content = _load(_beside(path), device, path.name)
    except FileNotFoundError:
        raise StorageError(
            f"{path} is missing; bring it back from a copy, or move {path.parent} away to become a new "
            "device, which cannot read what the old one sealed"
        ) from None
    _put_in_place(path)
    return content


def _load(path: Path, device: bytes, name: str = "") -> bytes:
    """The secret in a file.  name: the secret's, if it is not the file's.  Raises FileNotFoundError."""
    found, content = _read(path, name)
    if found != device:
        raise StorageError(
            f"{path} is another device's; bring the right one back from a copy, or move {path.parent} "
            "away to become a new device"
        )
    return content


def _read(path: Path, name: str = "") -> tuple[bytes, bytes]:
    """Device and content of a file.  Raises StorageError if it is damaged, or belongs in another place."""
    with os.fdopen(os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC), "rb") as file:
        status = os.fstat(file.fileno())
        if not stat.S_ISREG(status.st_mode):
            raise StorageError(f"{path} is not a regular file; move it away")
        _check_private(path, status)
        data = file.read(MAX_BYTES + ID_BYTES + CHECKSUM_BYTES + 1)
    body, checksum = data[:-CHECKSUM_BYTES], data[-CHECKSUM_BYTES:]
    content, device = body[:-ID_BYTES], body[-ID_BYTES:]
    if content and len(content) <= MAX_BYTES and _checksum(name or path.name, body) == checksum:
        return device, content
    if body and hashlib.sha256(body).digest() == checksum:
        raise _OldFormatError(
            f"{path} is of release 0.1.0, which did not say whose a file is; move {path.parent} away to "
            "become a new device"
        )
    raise StorageError(
        f"{path} is damaged; bring it back from a copy, or remove {path.parent} to become a new device, "
        "which cannot read what the old one sealed (a file under another's name counts as damaged)"
    )


def _checksum(name: str, body: bytes) -> bytes:
    """Of a file's name and all before the checksum."""
    raw = name.encode()
    return hashlib.sha256(DOMAIN + len(raw).to_bytes(2, "little") + raw + body).digest()


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


def _beside(path: Path) -> Path:
    """Where a file is written before it is put in its place."""
    return path.with_name(f".{path.name}.new")


def _write(path: Path, device: bytes, content: bytes) -> None:
    """Under the lock."""
    _prepare(path, device, content)
    _put_in_place(path)


def _prepare(path: Path, device: bytes, content: bytes) -> None:
    """Write a file beside its place.  What a killed process left there is nobody's, and is overwritten."""
    fresh = _beside(path)
    fresh.unlink(missing_ok=True)
    with os.fdopen(os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600), "wb") as file:
        body = content + device
        file.write(body + _checksum(path.name, body))
        file.flush()
        os.fsync(file.fileno())


def _put_in_place(path: Path) -> None:
    _beside(path).replace(path)
    handle = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
