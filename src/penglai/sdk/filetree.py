"""A tree of files that is packed with a program: from a directory, an archive, or single files.

Of the host's files it has names, contents, links and who may execute: neither owners nor times nor other
rights, which would make a measurement depend on where a tree was unpacked.
"""

import os
import stat
import tarfile
from dataclasses import dataclass, field
from enum import IntEnum
from pathlib import Path, PurePosixPath

from penglai.abi.errors import ImageError
from penglai.toolchain.whole import read_whole

DIRECTORY_MODE = stat.S_IFDIR | 0o755
FILE_MODE = stat.S_IFREG | 0o644
PROGRAM_MODE = stat.S_IFREG | 0o755
LINK_MODE = stat.S_IFLNK | 0o777
MAX_NAME = 255
MAX_LINKS = 40


class Mount(IntEnum):
    """Who keeps the files of a directory: sdk/linux/image.h."""

    NONE = 0
    HOSTS = 1
    PROTECTED = 2


@dataclass(eq=False)
class Node:
    """A directory with its children, a file with its content, or a link with where it leads to.

    mount: who has the files of a directory that is empty here.
    """

    mode: int
    content: bytes = b""
    children: dict[bytes, "Node"] = field(default_factory=dict)
    mount: Mount = Mount.NONE

    @property
    def is_directory(self) -> bool:
        """True if it can have children."""
        return stat.S_ISDIR(self.mode)

    @property
    def is_file(self) -> bool:
        """True if its content is a file's."""
        return stat.S_ISREG(self.mode)


class FileTree:
    """The tree, as it grows.  Raises ImageError for what cannot be read or put into it."""

    def __init__(self) -> None:
        self.root = Node(DIRECTORY_MODE)

    def add_root(self, source: Path) -> None:
        """All of a directory, or of a tar archive."""
        if source.is_dir():
            self._add_directory(source, self.root)
            return
        try:
            with tarfile.open(source) as archive:
                for member in archive:
                    self._add_member(archive, member)
        except (OSError, tarfile.TarError) as error:
            raise ImageError(f"cannot read {source}: give a directory, or a tar archive ({error})") from error

    def add_file(self, path: str, source: Path) -> None:
        """One file, or a directory with all that is in it, under an absolute path."""
        if source.is_dir():
            self._add_directory(source, self.directory(PurePosixPath(path)))
            return
        self.put(path, _read(source), executable=os.access(source, os.X_OK))

    def put(self, path: str, content: bytes, *, executable: bool = False) -> Node:
        """A file with this content."""
        where = PurePosixPath(path)
        node = Node(PROGRAM_MODE if executable else FILE_MODE, content)
        self._enter(self.directory(where.parent), where.name, node)
        return node

    def directory(self, path: PurePosixPath) -> Node:
        """The directory of this path, made if there is none; links to directories are followed."""
        return self._walk(self.root, str(path), 0)

    def mount(self, path: str, kind: Mount) -> None:
        """Make somebody else keep the directory of this path."""
        if not path.startswith("/") or path.strip("/") == "":
            raise ImageError(f"{path}: a mount point is an absolute path, and not / itself")
        node = self.directory(PurePosixPath(path))
        if node.children:
            raise ImageError(f"{path} has files; a mount point is an empty directory")
        node.mount = kind

    def find(self, path: str) -> Node | None:
        """The file of this path, links followed, or None."""
        at = PurePosixPath(path)
        for _ in range(MAX_LINKS):
            directory = self._existing(at.parent)
            node = directory.children.get(os.fsencode(at.name)) if directory else None
            if node is None or not stat.S_ISLNK(node.mode):
                return node
            at = at.parent / os.fsdecode(node.content)
        return None

    def _existing(self, path: PurePosixPath) -> Node | None:
        node: Node | None = self.root
        done = PurePosixPath("/")
        for part in _parts(path):
            node = node.children.get(part) if node else None
            if node is not None and stat.S_ISLNK(node.mode):
                node = self.find(str(done / os.fsdecode(node.content)))
            done /= os.fsdecode(part)
        return node

    def _walk(self, node: Node, path: str, depth: int) -> Node:
        above = [node]
        for part in _parts(PurePosixPath(path)):
            if part == b"..":
                above[1:] = above[1:-1]
                continue
            child = above[-1].children.get(part)
            if child is None:
                child = Node(DIRECTORY_MODE)
                self._enter(above[-1], os.fsdecode(part), child)
            elif stat.S_ISLNK(child.mode):
                if depth > MAX_LINKS:
                    raise ImageError(f"{path} leads round in a circle")
                target = os.fsdecode(child.content)
                start = self.root if target.startswith("/") else above[-1]
                child = self._walk(start, target, depth + 1)
            if not child.is_directory:
                raise ImageError(f"{path}: {os.fsdecode(part)} is a file, not a directory")
            above.append(child)
        return above[-1]

    def _add_directory(self, source: Path, target: Node) -> None:
        try:
            entries = sorted(os.scandir(source), key=lambda entry: entry.name)
        except OSError as error:
            raise ImageError(f"cannot read {source}: {error.strerror}") from error
        for entry in entries:
            path = Path(entry.path)
            if entry.is_symlink():
                self._enter(target, entry.name, Node(LINK_MODE, os.fsencode(path.readlink())))
            elif entry.is_dir():
                child = target.children.get(os.fsencode(entry.name))
                if child is None or not child.is_directory:
                    child = Node(DIRECTORY_MODE)
                    self._enter(target, entry.name, child)
                self._add_directory(path, child)
            elif entry.is_file():
                mode = PROGRAM_MODE if entry.stat().st_mode & 0o111 else FILE_MODE
                self._enter(target, entry.name, Node(mode, _read(path)))

    def _add_member(self, archive: tarfile.TarFile, member: tarfile.TarInfo) -> None:
        path = PurePosixPath("/") / member.name
        if member.isdir():
            self.directory(path)
        elif member.issym():
            self._enter(self.directory(path.parent), path.name, Node(LINK_MODE, os.fsencode(member.linkname)))
        elif member.isfile() or member.islnk():
            content = archive.extractfile(member)
            mode = PROGRAM_MODE if member.mode & 0o111 else FILE_MODE
            self._enter(
                self.directory(path.parent), path.name, Node(mode, content.read() if content else b"")
            )

    def _enter(self, directory: Node, name: str, node: Node) -> None:
        raw = os.fsencode(name)
        if not raw or len(raw) > MAX_NAME or raw in (b".", b".."):
            raise ImageError(f"{name!r} is no name for a file")
        directory.children[raw] = node


def _parts(path: PurePosixPath) -> list[bytes]:
    return [os.fsencode(part) for part in path.parts if part not in ("/", "//", ".")]


def _read(path: Path) -> bytes:
    try:
        return read_whole(path)
    except OSError as error:
        raise ImageError(f"cannot read {path}: {error.strerror}") from error
