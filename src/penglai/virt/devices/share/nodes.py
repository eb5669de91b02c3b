"""Descriptors that stand for files, and cannot be led out of a directory.

A node is a descriptor from O_PATH: it stands for one file, a symbolic link itself included, whatever becomes
of the names that led there, and it cannot be read or written.  From node to node goes only one name at a
time, and none is followed if it is a symbolic link.  ".." is never given to the system: somebody may have
moved the directory meanwhile.

For I/O a node is opened through /proc/self/fd, which leads to the very file it stands for, and only once that
is known to be a regular file or a directory: to open a pipe or a device does something already.
"""

import os
import stat
from errno import EFBIG, EINVAL, EISDIR, ELOOP, ENOENT, ENOTDIR, EPERM

NODE = os.O_PATH | os.O_NOFOLLOW

IO = os.O_NONBLOCK | os.O_NOCTTY
"""Always with an open for I/O: there are regular files that would wait, in /proc."""

MAX_OFFSET = (1 << 63) - 1


def check_offset(offset: int) -> None:
    """Raise OSError EFBIG for a place, or an end, where no file can be."""
    if offset > MAX_OFFSET:
        raise OSError(EFBIG, f"offset {offset:#x} is beyond the end of all files")


def component(name: bytes) -> bytes:
    """The name, if it is one name.  Raises OSError EINVAL for a path, and for "." and ".."."""
    if name in {b"", b".", b".."} or b"/" in name or b"\0" in name:
        raise OSError(EINVAL, f"{name!r} is not the name of a file")
    return name


def path(fd: int) -> bytes:
    """A path that leads to the very file of a descriptor, for calls that take no descriptor of a node."""
    return b"/proc/self/fd/%d" % fd


def child(directory: int, name: bytes) -> int:
    """The node of a name in a directory.  Raises OSError."""
    return os.open(component(name), NODE, dir_fd=directory)


def same(directory: int) -> int:
    """Another node of a directory.  Raises OSError ENOTDIR if it is none."""
    return os.open(b".", NODE | os.O_DIRECTORY, dir_fd=directory)


def names(root: int, fd: int) -> list[bytes]:
    """The names that lead from root to the file of a descriptor now; none if it is root.

    Raises OSError ENOENT if it is not below root any more.  A file without a name any more gets one that
    is not there, or is another's.
    """
    top, place = (os.readlink(path(each)) for each in (root, fd))  # noqa: PTH115 - Path has no bytes
    if place == top:
        return []
    above = top.rstrip(b"/") + b"/"
    if not place.startswith(above):
        raise OSError(ENOENT, "it was moved away")
    return place[len(above) :].split(b"/")


def descend(root: int, steps: list[bytes]) -> int:
    """The node at the end of some names from root on.  Raises OSError."""
    node = same(root)
    for name in steps:
        try:
            below = child(node, name)
        finally:
            os.close(node)
        node = below
    return node


def parent(root: int, directory: int) -> int:
    """The node of the directory above; root itself is above root.  Raises OSError."""
    if not stat.S_ISDIR(os.fstat(directory).st_mode):
        raise OSError(ENOTDIR, "only a directory has one above it")
    return descend(root, names(root, directory)[:-1])


def open_io(node: int, flags: int) -> int:
    """A descriptor for I/O on the file of a node.  flags: as of open(2), without O_CREAT.

    Raises OSError; ELOOP for a symbolic link, EPERM for what is neither file nor directory.
    """
    mode = os.fstat(node).st_mode
    if stat.S_ISLNK(mode):
        raise OSError(ELOOP, "a symbolic link is not followed")
    if not stat.S_ISREG(mode) and not stat.S_ISDIR(mode):
        raise OSError(EPERM, "neither a regular file nor a directory")
    if stat.S_ISDIR(mode) and flags & (os.O_ACCMODE | os.O_TRUNC):
        raise OSError(EISDIR, "a directory is not written")
    return os.open(path(node), flags | IO)


def create_io(directory: int, name: bytes, flags: int, mode: int) -> int:
    """A descriptor for I/O on a new regular file; without O_EXCL in flags, on what is there already.

    Raises OSError.
    """
    new = flags & ~os.O_DIRECTORY | os.O_CREAT | os.O_EXCL | IO  # O_EXCL: and no link is followed
    try:
        return os.open(component(name), new, mode, dir_fd=directory)
    except FileExistsError:
        if flags & os.O_EXCL:
            raise
    node = child(directory, name)
    try:
        return open_io(node, flags)
    finally:
        os.close(node)
