"""Snapshots in files: what the host keeps of an enclave, and behind it what the monitor has sealed."""

import ctypes
import hashlib
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

from penglai.abi.errors import BadArgumentError, NoSuchEnclaveError, SnapshotError, StateError
from penglai.abi.riscv import PAGE_SIZE
from penglai.abi.snapshot import NAME_BYTES, Option
from penglai.driver.shield import Shield
from penglai.driver.snapshots import SnapshotDriver
from penglai.driver.task import Task

MAGIC = b"penglai-snapshot"
VERSION = 1
CHECKSUM_BYTES = 32
FOR_ITS_OWNER_ALONE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
"""What the host keeps of an enclave is not sealed."""


class HostPart(ctypes.LittleEndianStructure):
    """What a file begins with: the host's own, which no monitor vouches for.

    kernel_buffer: the page that the enclave shares with the host.  checksum: SHA-256 of all before it.
    """

    _fields_ = (
        ("magic", ctypes.c_char * len(MAGIC)),
        ("version", ctypes.c_uint64),
        ("stack_bytes", ctypes.c_uint64),
        ("name", ctypes.c_char * NAME_BYTES),
        ("kernel_buffer", ctypes.c_uint8 * PAGE_SIZE),
        ("checksum", ctypes.c_uint8 * CHECKSUM_BYTES),
    )


def save(driver: SnapshotDriver, task: Task, path: str | os.PathLike[str], *, clone: bool) -> None:
    """Write a snapshot of an enclave into a new file, and let the enclave move there unless it is a clone's.

    When the file is safe on the disk the enclave ends here, and not before.  Raises BadArgumentError for a
    file that is there or cannot be written, and what Driver.snapshot raises.
    """
    place = Path(path)
    driver.settle(task)
    with Shield():  # Ctrl-C finds it here and no file, or the file and nothing here
        _save(driver, task, place, clone=clone)


def _save(driver: SnapshotDriver, task: Task, place: Path, *, clone: bool) -> None:
    try:
        with os.fdopen(os.open(place, FOR_ITS_OWNER_ALONE, 0o600), "wb") as file:
            number = _write(driver, task, file, Option.CLONE if clone else 0)
        _sync_directory(place.parent)
    except FileExistsError:
        raise BadArgumentError(
            f"{place} is there already, and may be all that is left of an enclave; choose another name"
        ) from None
    except OSError as error:
        _forget(place)
        raise BadArgumentError(f"cannot write the snapshot {place}: {error.strerror or error}") from error
    except BaseException:
        _forget(place)
        raise
    if clone:
        return
    try:
        driver.move_away(task, number)
    except (SnapshotError, StateError, NoSuchEnclaveError):
        _forget(place)  # it did not move; after any other error nobody knows, and the file is kept
        raise


@contextmanager
def opened(path: str | os.PathLike[str]) -> Iterator[tuple[BinaryIO, HostPart]]:
    """A file, up to behind the host's part, and that.  Raises BadArgumentError, SnapshotError."""
    try:
        with Path(path).open("rb") as file:
            yield file, _read(file, path)
    except OSError as error:
        raise BadArgumentError(f"cannot read the snapshot {path}: {error.strerror or error}") from error


def _write(driver: SnapshotDriver, task: Task, file: BinaryIO, options: int) -> int:
    """Write all of a file; the snapshot's number."""
    part = HostPart(MAGIC, VERSION, task.stack_size, os.fsencode(task.name))
    file.seek(ctypes.sizeof(part))
    number = driver.snapshot(task, file.write, options)
    # Last: an answer that changes the buffer from here on is one to the enclave, too, which has gone on then.
    part.kernel_buffer[:] = driver.kernel_buffer(task)
    part.checksum[:] = _checksum(part)
    file.seek(0)
    file.write(bytes(part))
    file.flush()
    os.fsync(file.fileno())
    return number


def _read(file: BinaryIO, path: str | os.PathLike[str]) -> HostPart:
    raw = file.read(ctypes.sizeof(HostPart))
    if len(raw) < ctypes.sizeof(HostPart) or not raw.startswith(MAGIC):
        raise SnapshotError(f"{os.fspath(path)} is no snapshot")
    part = HostPart.from_buffer_copy(raw)
    if part.version != VERSION:
        raise SnapshotError(f"{os.fspath(path)} is a snapshot of another version of this package")
    if bytes(part.checksum) != _checksum(part):
        raise SnapshotError(f"{os.fspath(path)} is damaged")
    return part


def _checksum(part: HostPart) -> bytes:
    return hashlib.sha256(bytes(part)[:-CHECKSUM_BYTES]).digest()


def _forget(path: Path) -> None:
    with suppress(OSError):
        path.unlink()


def _sync_directory(directory: Path) -> None:
    handle = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
