"""Where sectors live that enclaves store with the host.  The host may read and change them all."""

import threading
from pathlib import Path
from typing import Protocol

from penglai.abi.ecall import SECTOR_SIZE
from penglai.abi.errors import MachineError

MAX_SECTORS = 1 << 31
"""Sectors beyond this are refused: 1 TiB."""


class Disk(Protocol):
    """Sectors of 512 bytes by number; those never written are zeros."""

    def read(self, sector: int) -> bytes | None:
        """Content of a sector; None if there is no such sector."""

    def write(self, sector: int, data: bytes) -> bool:
        """Write a sector; False if there is no such sector."""


class MemoryDisk:
    """A disk that is gone with the machine."""

    def __init__(self) -> None:
        self._sectors: dict[int, bytes] = {}

    def read(self, sector: int) -> bytes | None:
        """Content of a sector."""
        return self._sectors.get(sector, bytes(SECTOR_SIZE)) if sector < MAX_SECTORS else None

    def write(self, sector: int, data: bytes) -> bool:
        """Write a sector."""
        if sector >= MAX_SECTORS:
            return False
        self._sectors[sector] = data
        return True


class FileDisk:
    """A disk in a file, which is made when it is first written."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._lock = threading.Lock()

    def read(self, sector: int) -> bytes | None:
        """Content of a sector.  Raises MachineError if the file cannot be read."""
        if sector >= MAX_SECTORS:
            return None
        try:
            with self._lock, self._path.open("rb") as file:
                file.seek(sector * SECTOR_SIZE)
                return file.read(SECTOR_SIZE).ljust(SECTOR_SIZE, b"\0")
        except FileNotFoundError:
            return bytes(SECTOR_SIZE)
        except OSError as error:
            raise MachineError(f"cannot read the disk {self._path}: {error.strerror}") from error

    def write(self, sector: int, data: bytes) -> bool:
        """Write a sector.  Raises MachineError if the file cannot be written."""
        if sector >= MAX_SECTORS:
            return False
        try:
            with self._lock:
                self._path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
                self._path.touch(mode=0o600)
                with self._path.open("r+b") as file:
                    file.seek(sector * SECTOR_SIZE)
                    file.write(data)
        except OSError as error:
            raise MachineError(f"cannot write the disk {self._path}: {error.strerror}") from error
        return True


class BufferDisk:
    """A disk in memory that a host program keeps, such as shared memory."""

    def __init__(self, buffer: memoryview) -> None:
        self._buffer = buffer

    def read(self, sector: int) -> bytes | None:
        """Content of a sector."""
        data = bytes(self._buffer[sector * SECTOR_SIZE : (sector + 1) * SECTOR_SIZE])
        return data if len(data) == SECTOR_SIZE else None

    def write(self, sector: int, data: bytes) -> bool:
        """Write a sector."""
        if (sector + 1) * SECTOR_SIZE > len(self._buffer):
            return False
        self._buffer[sector * SECTOR_SIZE : (sector + 1) * SECTOR_SIZE] = data
        return True
