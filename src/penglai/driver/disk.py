"""Where sectors live that enclaves store with the host.  The host may read and change them all."""

import threading
from pathlib import Path
from typing import Protocol

from penglai.abi.ecall import SECTOR_SIZE
from penglai.abi.errors import MachineError
from penglai.abi.limits import DISK_BYTES


class Disk(Protocol):
    """Sectors by number; those never written are zeros.

    Of 512 bytes, or of a multiple of that for all sides that agree on it: sector n begins at n times its
    size.
    """

    def read(self, sector: int, size: int = SECTOR_SIZE) -> bytes | None:
        """Content of a sector; None if there is no such sector."""

    def write(self, sector: int, data: bytes) -> bool:
        """Write a sector; False if there is no such sector."""


class MemoryDisk:
    """A disk of size bytes that is gone with the machine."""

    def __init__(self, size: int = DISK_BYTES) -> None:
        self._size = size
        self._sectors: dict[int, bytes] = {}

    def read(self, sector: int, size: int = SECTOR_SIZE) -> bytes | None:
        """Content of a sector."""
        start = sector * size
        if start + size > self._size:
            return None
        zeros = bytes(SECTOR_SIZE)
        first, last = start // SECTOR_SIZE, (start + size) // SECTOR_SIZE
        return b"".join(self._sectors.get(number, zeros) for number in range(first, last))

    def write(self, sector: int, data: bytes) -> bool:
        """Write a sector."""
        start = sector * len(data)
        if start + len(data) > self._size:
            return False
        for done in range(0, len(data), SECTOR_SIZE):
            self._sectors[(start + done) // SECTOR_SIZE] = data[done : done + SECTOR_SIZE]
        return True


class FileDisk:
    """A disk of size bytes in a file, which is made when it is first written, and grows as it is."""

    def __init__(self, path: Path, size: int = DISK_BYTES) -> None:
        self._path = path
        self._size = size
        self._lock = threading.Lock()

    def read(self, sector: int, size: int = SECTOR_SIZE) -> bytes | None:
        """Content of a sector.  Raises MachineError if the file cannot be read."""
        start = sector * size
        if start + size > self._size:
            return None
        try:
            with self._lock, self._path.open("rb") as file:
                file.seek(start)
                return file.read(size).ljust(size, b"\0")
        except FileNotFoundError:
            return bytes(size)
        except OSError as error:
            raise MachineError(f"cannot read the disk {self._path}: {error.strerror}") from error

    def write(self, sector: int, data: bytes) -> bool:
        """Write a sector.  Raises MachineError if the file cannot be written."""
        start = sector * len(data)
        if start + len(data) > self._size:
            return False
        try:
            with self._lock:
                self._path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
                self._path.touch(mode=0o600)
                with self._path.open("r+b") as file:
                    file.seek(start)
                    file.write(data)
        except OSError as error:
            raise MachineError(f"cannot write the disk {self._path}: {error.strerror}") from error
        return True
