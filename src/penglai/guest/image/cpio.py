"""Writing cpio archives ("newc"), from which Linux makes its first file system.

No root is needed: owners are 0, and device nodes are entries like any other.  The same input makes the same
bytes.  Linux unpacks several archives that stand one after the other.  Source: Linux,
Documentation/driver-api/early-userspace/buffer-format.rst.
"""

import os
import stat

MAGIC = b"070701"
HEADER_BYTES = 110
TRAILER = "TRAILER!!!"
ALIGNMENT = 4
CONTENT_ALIGNMENT = 8
"""What files hold lies so, behind NULs at the end of their names: Linux copies it by words, else by bytes."""

DIRECTORY = 0o755
FILE = 0o644


class Archive:
    """An archive that is being made.  Names are relative to /; the directories above them are made."""

    def __init__(self) -> None:
        self._data = bytearray()
        self._names: set[str] = set()

    def add_directory(self, name: str, mode: int = DIRECTORY) -> None:
        """A directory; one that is there already stays as it is."""
        if name not in self._names:
            self._add(name, stat.S_IFDIR | mode)

    def add_file(self, name: str, content: bytes, mode: int = FILE) -> None:
        """A regular file."""
        self._add(name, stat.S_IFREG | mode, content)

    def add_link(self, name: str, target: str) -> None:
        """A symbolic link."""
        self._add(name, stat.S_IFLNK | 0o777, os.fsencode(target))

    def add_device(self, name: str, major: int, minor: int, mode: int = 0o600) -> None:
        """A character device."""
        self._add(name, stat.S_IFCHR | mode, device=(major, minor))

    def finish(self) -> bytes:
        """The whole archive, with its end."""
        done = Archive()
        done._data += self._data
        done._write(TRAILER, 0, b"", (0, 0), 0)
        return bytes(done._data)

    def _add(self, name: str, mode: int, content: bytes = b"", device: tuple[int, int] = (0, 0)) -> None:
        above = name.rpartition("/")[0]
        if above:
            self.add_directory(above)
        self._names.add(name)
        self._write(name, mode, content, device, len(self._names))

    def _write(self, name: str, mode: int, content: bytes, device: tuple[int, int], inode: int) -> None:
        path = os.fsencode(name) + b"\0"
        if content:
            path += bytes(-(len(self._data) + HEADER_BYTES + len(path)) % CONTENT_ALIGNMENT)
        fields = [inode, mode, 0, 0, 1, 0, len(content), 0, 0, *device, len(path), 0]
        self._data += MAGIC + b"".join(b"%08X" % field for field in fields) + path
        self._align()
        self._data += content
        self._align()

    def _align(self) -> None:
        self._data += bytes(-len(self._data) % ALIGNMENT)
