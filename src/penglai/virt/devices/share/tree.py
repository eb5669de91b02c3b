"""The client's handles (fids) on files of a directory, and what can be done with them.

Nothing here knows how a message looks.  Every argument comes from the guest, and every refusal is an OSError
whose errno the guest gets.  Whether a descriptor may be read, written or listed the system knows best: most
methods ask it and hand on what it says.
"""

import os
import resource
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from errno import EBADF, EBUSY, EEXIST, EINVAL, EMFILE, ENOENT, EPERM
from pathlib import Path

from penglai.virt.devices.share import attributes, entries, nodes
from penglai.virt.devices.share.entries import Entry
from penglai.virt.devices.share.wire import Attributes

MAX_FIDS = 1024
"""Handles at once, one descriptor each; fewer if the process itself may not have twice as many."""

NO_FID = 0xFFFF_FFFF

# flags of an open as they are in messages: Linux's, whatever machine the server is on
DOTL_ACCESS = 3
DOTL_EXCL = 0o200
DOTL_TRUNC = 0o1000
DOTL_DSYNC = 0o10000
DOTL_DIRECTORY = 0o200000
DOTL_SYNC = 0o4000000

_FLAGS = {
    DOTL_EXCL: os.O_EXCL,
    DOTL_TRUNC: os.O_TRUNC,
    DOTL_DSYNC: os.O_DSYNC,
    DOTL_DIRECTORY: os.O_DIRECTORY,
    DOTL_SYNC: os.O_SYNC,
}

AT_REMOVEDIR = 0x200


@dataclass
class Fid:
    """A handle of the client.

    fd: a node (see `nodes`) until it is opened, then the open file; it is the fid's own.
    access: None until it is opened, then O_RDONLY, O_WRONLY or O_RDWR.
    """

    fd: int
    access: int | None = None

    def another(self) -> int:
        """A node of the same file.  Raises OSError."""
        if self.access is None:
            return os.dup(self.fd)
        return os.open(nodes.path(self.fd), os.O_PATH)  # a copy would share the place in the directory

    def opened(self, fd: int, flags: int) -> None:
        """From now on fd is the handle's file."""
        os.close(self.fd)
        self.fd, self.access = fd, flags & os.O_ACCMODE


class Tree:
    """A directory, and the handles on what is in it.

    Raises OSError if the directory cannot be opened.  `close` gives all descriptors back; so does the end
    of the object.
    """

    def __init__(self, directory: Path) -> None:
        self._root = -1
        self._fids: dict[int, Fid] = {}
        self._limit = _fid_limit()
        self._root = os.open(directory, os.O_PATH | os.O_DIRECTORY)

    def clear(self) -> None:
        """Forget all handles."""
        while self._fids:
            with suppress(OSError):  # a file system that is late to say so; nobody is there to be told
                os.close(self._fids.popitem()[1].fd)

    def close(self) -> None:
        """Forget the directory too; more than once does nothing."""
        self.clear()
        root, self._root = self._root, -1
        if root >= 0:
            os.close(root)

    def __del__(self) -> None:
        self.close()

    # ---- handles -------------------------------------------------------------------------------

    def attach(self, number: int) -> os.stat_result:
        """Make a handle on the directory itself."""
        self._check_free(number)
        fd = nodes.same(self._root)
        self._fids[number] = Fid(fd)
        return os.fstat(fd)

    def walk(self, number: int, target: int, names: list[bytes]) -> list[os.stat_result]:
        """Make the handle `target` by going along names from another one; it may be the same.

        The files on the way: if they are fewer than the names, the next could not be reached and there is no
        new handle.  Raises OSError if not even the first could.
        """
        source = self._fid(number)
        if target != number:
            self._check_free(target)
        elif source.access is not None:
            raise OSError(EBUSY, "an open file goes nowhere")
        node, found = source.another(), []
        try:
            for name in names:
                below = self._step(node, name)
                os.close(node)
                node = below
                found.append(os.fstat(node))
        except OSError:
            os.close(node)
            if not found:
                raise
            return found
        if target == number:
            os.close(source.fd)
        self._fids[target] = Fid(node)
        return found

    def clunk(self, number: int) -> None:
        """Give a handle back."""
        fid = self._fid(number)
        del self._fids[number]
        os.close(fid.fd)

    def check(self, number: int) -> None:
        """Raise OSError EBADF unless there is such a handle."""
        self._fid(number)

    def _fid(self, number: int) -> Fid:
        fid = self._fids.get(number)
        if fid is None:
            raise OSError(EBADF, f"there is no fid {number}")
        return fid

    def _unopened(self, number: int) -> Fid:
        fid = self._fid(number)
        if fid.access is not None:
            raise OSError(EBUSY, f"fid {number} is open")
        return fid

    def _check_free(self, number: int) -> None:
        if number in self._fids or number == NO_FID:
            raise OSError(EEXIST, f"fid {number} cannot be made")
        if len(self._fids) >= self._limit:
            raise OSError(EMFILE, f"{self._limit} fids and no more")

    def _step(self, node: int, name: bytes) -> int:
        if name == b".":
            return nodes.same(node)
        if name == b"..":
            return nodes.parent(self._root, node)
        return nodes.child(node, name)

    # ---- files ---------------------------------------------------------------------------------

    def open(self, number: int, flags: int) -> os.stat_result:
        """Open a handle's file for I/O."""
        fid, native = self._unopened(number), open_flags(flags)
        fid.opened(nodes.open_io(fid.fd, native & ~os.O_EXCL), native)
        return os.fstat(fid.fd)

    def create(self, number: int, name: bytes, flags: int, mode: int) -> os.stat_result:
        """Make a regular file in a handle's directory; from now on the handle is the new file's, open."""
        fid, native = self._unopened(number), open_flags(flags)
        fid.opened(nodes.create_io(fid.fd, name, native, mode & attributes.MODE_BITS), native)
        return os.fstat(fid.fd)

    def read(self, number: int, offset: int, count: int) -> bytes:
        """Up to count bytes from an offset of an open file; none at its end."""
        fid = self._fid(number)
        nodes.check_offset(offset + count)
        return os.pread(fid.fd, count, offset)

    def write(self, number: int, offset: int, data: memoryview) -> int:
        """Write at an offset of an open file; how many bytes."""
        fid = self._fid(number)
        nodes.check_offset(offset + len(data))
        return os.pwrite(fid.fd, data, offset)

    def sync(self, number: int, data_only: bool) -> None:
        """Bring an open file to the disk."""
        fid = self._fid(number)
        (os.fdatasync if data_only else os.fsync)(fid.fd)

    # ---- directories ---------------------------------------------------------------------------

    def entries(self, number: int, position: int) -> Iterator[Entry]:
        """What is in an open directory, from a position on.  What is above the shared one is not told."""
        fid = self._fid(number)
        nodes.check_offset(position)
        inode = os.fstat(fid.fd).st_ino
        for entry in entries.read(fid.fd, position):
            if entry.name == b".." and self._is_root(fid):
                yield entry._replace(inode=inode)
            else:
                yield entry

    def make_directory(self, number: int, name: bytes, mode: int) -> os.stat_result:
        """Make a directory in a handle's."""
        fid = self._fid(number)
        os.mkdir(nodes.component(name), mode & attributes.MODE_BITS, dir_fd=fid.fd)
        return _look(fid.fd, name)

    def make_node(self, number: int, name: bytes, mode: int) -> os.stat_result:
        """Make a regular file in a handle's directory.  Raises OSError EPERM for anything else."""
        fid = self._fid(number)
        if stat.S_IFMT(mode) not in {0, stat.S_IFREG}:
            raise OSError(EPERM, "only regular files are made")
        os.mknod(nodes.component(name), stat.S_IFREG | mode & attributes.MODE_BITS, dir_fd=fid.fd)
        return _look(fid.fd, name)

    def make_symlink(self, number: int, name: bytes, target: bytes) -> os.stat_result:
        """Make a symbolic link in a handle's directory.  target: any text; it is the guest that follows."""
        fid = self._fid(number)
        if b"\0" in target:
            raise OSError(EINVAL, "a target has no zeros")
        os.symlink(target, nodes.component(name), dir_fd=fid.fd)
        return _look(fid.fd, name)

    def link(self, directory: int, number: int, name: bytes) -> None:
        """Give a handle's file another name in a directory."""
        into, fid = self._fid(directory), self._fid(number)
        mode = os.fstat(fid.fd).st_mode
        if not stat.S_ISREG(mode) and not stat.S_ISLNK(mode):
            raise OSError(EPERM, "only regular files and symbolic links have several names")
        os.link(nodes.path(fid.fd), nodes.component(name), dst_dir_fd=into.fd, follow_symlinks=True)

    def unlink(self, number: int, name: bytes, flags: int) -> None:
        """Take a name out of a handle's directory.  flags: AT_REMOVEDIR, for that of a directory."""
        fid = self._fid(number)
        if flags & ~AT_REMOVEDIR:
            raise OSError(EINVAL, f"flags {flags:#x}")
        remove = os.rmdir if flags else os.unlink
        remove(nodes.component(name), dir_fd=fid.fd)

    def remove(self, number: int) -> None:
        """Take a handle's file out of its directory, and give the handle back even if that fails."""
        fid = self._fid(number)
        try:
            with self._place(fid) as (directory, name):
                remove = os.rmdir if stat.S_ISDIR(os.fstat(fid.fd).st_mode) else os.unlink
                remove(name, dir_fd=directory)
        finally:
            self.clunk(number)

    def rename(self, directory: int, name: bytes, into: int, new: bytes) -> None:
        """Move a name from one handle's directory to another's."""
        source, target = self._fid(directory), self._fid(into)
        os.rename(nodes.component(name), nodes.component(new), src_dir_fd=source.fd, dst_dir_fd=target.fd)

    def move(self, number: int, into: int, new: bytes) -> None:
        """Move a handle's file to a directory."""
        fid, target = self._fid(number), self._fid(into)
        with self._place(fid) as (directory, name):
            os.rename(name, nodes.component(new), src_dir_fd=directory, dst_dir_fd=target.fd)

    def _is_root(self, fid: Fid) -> bool:
        return os.path.samestat(os.fstat(fid.fd), os.fstat(self._root))

    @contextmanager
    def _place(self, fid: Fid) -> Iterator[tuple[int, bytes]]:
        """The directory in which a file is now, and its name there."""
        steps = nodes.names(self._root, fid.fd)
        if not steps:
            raise OSError(EBUSY, "the shared directory stays where it is")
        directory = nodes.descend(self._root, steps[:-1])
        try:
            if not os.path.samestat(_look(directory, nodes.component(steps[-1])), os.fstat(fid.fd)):
                raise OSError(ENOENT, "it has no name any more")
            yield directory, steps[-1]
        finally:
            os.close(directory)

    # ---- attributes ----------------------------------------------------------------------------

    def status(self, number: int) -> os.stat_result:
        """What the system knows of a handle's file."""
        return os.fstat(self._fid(number).fd)

    def space(self, number: int) -> os.statvfs_result:
        """The file system of a handle's file."""
        return os.fstatvfs(self._fid(number).fd)

    def target(self, number: int) -> bytes:
        """What a symbolic link says."""
        fid = self._fid(number)
        if not stat.S_ISLNK(os.fstat(fid.fd).st_mode):
            raise OSError(EINVAL, "not a symbolic link")
        return os.readlink(b"", dir_fd=fid.fd)

    def change(self, number: int, wanted: Attributes) -> None:
        """Set attributes of a handle's file."""
        fid = self._fid(number)
        attributes.change(fid.fd, fid.access in {os.O_WRONLY, os.O_RDWR}, wanted)


def open_flags(flags: int) -> int:
    """Flags of an open in a message as the system has them; those that say nothing to a server are left out.

    O_APPEND is one of these: the client says where each write goes.  Raises OSError EINVAL for no access.
    """
    access = flags & DOTL_ACCESS
    if access == DOTL_ACCESS:
        raise OSError(EINVAL, "neither reading nor writing")
    native = (os.O_RDONLY, os.O_WRONLY, os.O_RDWR)[access]
    for bits, same in _FLAGS.items():
        if flags & bits == bits:
            native |= same
    return native


def _fid_limit() -> int:
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return MAX_FIDS if soft == resource.RLIM_INFINITY else min(MAX_FIDS, soft // 2)


def _look(directory: int, name: bytes) -> os.stat_result:
    return os.stat(name, dir_fd=directory, follow_symlinks=False)
