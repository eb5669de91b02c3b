"""Directories of the host's that a Linux program in an enclave sees: plain files, for whoever trusts them.

The enclave is hostile to the host: it chooses every path.  Whatever it says, it reaches what is in the
directories and nothing else.  A path is walked name by name, each a directory that is no link; nothing is
opened but regular files, and nothing is made but these and directories.
"""

import contextlib
import os
import stat
from collections.abc import Iterator, Mapping
from errno import EINVAL, EIO, ELOOP, ENOENT, EXDEV
from pathlib import PurePosixPath
from typing import Self

from penglai.abi.errors import BadArgumentError
from penglai.abi.question import PATH, SECOND, AboutFile, Question
from penglai.abi.riscv import PAGE_SIZE
from penglai.driver.task import Buffer

DONE = 1
FILE, DIRECTORY = 1, 2
INSIDE = os.O_CLOEXEC | os.O_NOFOLLOW
NS = 10**9
NEW_FILE, NEW_DIRECTORY = 0o666, 0o777
"""Rights, of which the umask takes some."""


class Mounts:
    """Directories by the paths at which the program sees them; `pack` has to have been told these too.

    Raises BadArgumentError if one is no directory.
    """

    def __init__(self, directories: Mapping[str, str | os.PathLike[str]]) -> None:
        self._roots: dict[tuple[str, ...], int] = {}
        for path, directory in directories.items():
            try:
                root = os.open(directory, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
            except OSError as error:
                self.close()
                raise BadArgumentError(f"cannot mount {os.fspath(directory)}: {error.strerror}") from error
            self._roots[_names(path)] = root

    def answer(self, question: int, argument: int, buffer: Buffer) -> int:
        """Answer a question about files; see penglai.abi.question.Question."""
        content = buffer.read()
        try:
            return self._answer(question, argument, content, buffer)
        except OSError as error:
            return -(error.errno or EIO)

    def _answer(self, question: int, argument: int, content: bytes, buffer: Buffer) -> int:
        path = _path(content, PATH)
        if question == Question.LIST:
            return self._list(path, argument, buffer)
        if question == Question.RENAME:
            return self._rename(path, _path(content, SECOND))
        with self._parent(path) as (directory, name):
            if question == Question.STAT:
                buffer.write(bytes(_about(directory, name)))
            elif question == Question.GET:
                return _get(directory, name, argument, buffer)
            elif question == Question.PUT:
                size, offset = argument >> 32, argument & 0xFFFF_FFFF
                _put(directory, name, content[SECOND : SECOND + size], offset)
            elif question == Question.MAKE:
                _make(directory, name, is_directory=argument == 1)
            elif question == Question.RESIZE:
                with _opened(directory, name, os.O_WRONLY) as file:
                    os.ftruncate(file, argument)
            elif question == Question.REMOVE:
                (os.rmdir if argument == 1 else os.unlink)(name, dir_fd=directory)
            else:
                raise OSError(EINVAL, "no question about files")
        return DONE

    def _list(self, path: tuple[str, ...], first: int, buffer: Buffer) -> int:
        with self._directory(path) as directory:
            opened = os.open(".", os.O_RDONLY | os.O_DIRECTORY | INSIDE, dir_fd=directory)
            try:
                with os.scandir(opened) as entries:
                    names = sorted(os.fsencode(entry.name) for entry in entries)
            finally:
                os.close(opened)
        found = bytearray()
        count = 0
        for name in names[first:]:
            if len(found) + len(name) + 1 > PAGE_SIZE:
                break
            found += name + b"\0"
            count += 1
        buffer.write(bytes(found))
        return count

    def _rename(self, old: tuple[str, ...], new: tuple[str, ...]) -> int:
        if self._root(old) != self._root(new):
            raise OSError(EXDEV, "another mount")
        with self._parent(old) as (source, name), self._parent(new) as (target, new_name):
            os.rename(name, new_name, src_dir_fd=source, dst_dir_fd=target)
        return DONE

    # ---- paths ---------------------------------------------------------------------------------

    def _root(self, path: tuple[str, ...]) -> tuple[str, ...]:
        """Where the mount that a path lies in is: the nearest one above."""
        for length in range(len(path), 0, -1):
            if path[:length] in self._roots:
                return path[:length]
        raise OSError(ENOENT, "nothing is mounted there")

    @contextlib.contextmanager
    def _directory(self, path: tuple[str, ...]) -> Iterator[int]:
        """A descriptor of the directory at a path."""
        root = self._root(path)
        at = os.dup(self._roots[root])
        try:
            for name in path[len(root) :]:
                below = os.open(name, os.O_PATH | os.O_DIRECTORY | INSIDE, dir_fd=at)
                os.close(at)
                at = below
            yield at
        finally:
            os.close(at)

    @contextlib.contextmanager
    def _parent(self, path: tuple[str, ...]) -> Iterator[tuple[int, str]]:
        """The directory that something lies in, and its name there."""
        if len(path) <= len(self._root(path)):
            raise OSError(EINVAL, "a mount point itself")
        with self._directory(path[:-1]) as directory:
            yield directory, path[-1]

    def close(self) -> None:
        """Let go of the directories.  More than once does nothing."""
        while self._roots:
            os.close(self._roots.popitem()[1])

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __del__(self) -> None:
        self.close()


def _names(path: str) -> tuple[str, ...]:
    names = PurePosixPath(path).parts[1:]
    if not path.startswith("/") or not names or ".." in names:
        raise BadArgumentError(f"{path}: a mount point is an absolute path, and not / itself")
    return names


def _path(content: bytes, at: int) -> tuple[str, ...]:
    """The path that begins there in the buffer, checked: names, one below the other."""
    text, end, _ = content[at : at + SECOND].partition(b"\0")
    first, *names = os.fsdecode(text).split("/")
    if not end or first or not names or any(name in ("", ".", "..") for name in names):
        raise OSError(EINVAL, "no path")
    return tuple(names)


@contextlib.contextmanager
def _opened(directory: int, name: str, flags: int) -> Iterator[int]:
    """A regular file.  A pipe is not waited for."""
    file = os.open(name, flags | INSIDE | os.O_NONBLOCK | os.O_NOCTTY, dir_fd=directory)
    try:
        if not stat.S_ISREG(os.fstat(file).st_mode):
            raise OSError(ELOOP, "no regular file")
        yield file
    finally:
        os.close(file)


def _about(directory: int, name: str) -> AboutFile:
    about = os.stat(name, dir_fd=directory, follow_symlinks=False)
    kind = FILE if stat.S_ISREG(about.st_mode) else DIRECTORY if stat.S_ISDIR(about.st_mode) else 0
    if not kind:
        raise OSError(ELOOP, "neither a file nor a directory")
    return AboutFile(kind, about.st_size, *divmod(about.st_mtime_ns, NS))


def _get(directory: int, name: str, offset: int, buffer: Buffer) -> int:
    with _opened(directory, name, os.O_RDONLY) as file:
        data = os.pread(file, PAGE_SIZE, offset & 0xFFFF_FFFF)
    buffer.write(data)
    return len(data)


def _put(directory: int, name: str, data: bytes, offset: int) -> None:
    with _opened(directory, name, os.O_WRONLY) as file:
        while data:
            written = os.pwrite(file, data, offset)
            data, offset = data[written:], offset + written


def _make(directory: int, name: str, *, is_directory: bool) -> None:
    if is_directory:
        os.mkdir(name, NEW_DIRECTORY, dir_fd=directory)
    else:
        os.close(os.open(name, os.O_CREAT | os.O_EXCL | os.O_WRONLY | INSIDE, NEW_FILE, dir_fd=directory))
