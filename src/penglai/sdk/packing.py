"""Packing: a Linux program, unchanged, becomes an enclave image, with files, arguments and the personality.

The result is an ELF like any other of an enclave's: created, measured and run as they are.  Its pieces lie at

    where the program is linked to, or PROGRAM_BASE    the program
    INTERPRETER_BASE, LIBRARY_BASE                     what loads it, and libraries
    0x8_0000_0000                                      the personality (sdk/linux)
    IMAGE                                              what it finds there: sdk/linux/image.h
"""

import os
import struct
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from os import PathLike
from pathlib import Path, PurePosixPath

from penglai.abi.errors import ImageError
from penglai.abi.riscv import PAGE_SIZE
from penglai.sdk.filetree import FileTree, Mount, Node
from penglai.sdk.linuxelf import EXECUTE, READ, WRITE, LinuxElf, Loaded, is_library, read_linux_elf
from penglai.sdk.personality import build_personality
from penglai.toolchain.whole import read_whole

IMAGE = 0x9_0000_0000
PROGRAM_BASE = 0x1000_0000
INTERPRETER_BASE = 0x4000_0000
LIBRARY_BASE = 0x2_0000_0000
LIBRARY_ALIGN = 0x1_0000
PERSONALITY_START = 0x8_0000_0000
MAGIC = b"pnglinx1"
ELF_HEADER = struct.Struct("<16sHHIQQQIHHHHHH")
SEGMENT = struct.Struct("<IIQQQQQQ")
LINUX_IMAGE = struct.Struct("<8s16Q32s")
NODE = struct.Struct("<II15Q")
ENTRY = struct.Struct("<QQQQQ")
LINUX_SEGMENT = struct.Struct("<QQQQQ")
ELF_FLAGS = ((READ, 4), (WRITE, 2), (EXECUTE, 1))
FIRST_NODE, FIRST_COOKIE = 2, 3
MEASUREMENT_BYTES = 32
MAX_TEXT = 1 << 20
"""Bytes of arguments and environment."""

Program = str | PathLike[str]


def pack(
    program: Program,
    args: Sequence[str] = (),
    *,
    env: Mapping[str, str] | None = None,
    root: str | PathLike[str] | None = None,
    files: Mapping[str, str | PathLike[str]] | None = None,
    directory: str = "/",
    mounts: Sequence[str] = (),
    protected: Mapping[str, bytes] | None = None,
) -> bytes:
    """An enclave image of a Linux program for riscv64, with all that it finds; the ELF's bytes.

    program: path of the executable, static or not.  args: its arguments, without its name.  env: its
    environment, by default only PATH and HOME.  root: a directory or a tar archive that becomes its /, with
    interpreter and libraries, if it has any.  files: more files or directories, by their path inside.
    directory: where it begins.  mounts: directories inside that are the host's, and lie there: what it
    gives them when it runs the enclave (`Mounts`) is neither measured nor trusted.  protected: directories
    inside that the file server keeps, sealed on a disk of the host's, each with the server's measurement: one
    server for all of them, and no other is ever asked.

    All of it is measured: two images with the same measurement hold the same program, files and arguments.
    Owners and times of files are not part of it.

    Raises ImageError.
    """
    path = Path(program)
    tree = FileTree()
    if root is not None:
        tree.add_root(Path(root))
    for inside, source in (files or {}).items():
        if not inside.startswith("/"):
            raise ImageError(f"{inside}: the path of a file inside has to begin with /")
        tree.add_file(inside, Path(source))
    tree.directory(PurePosixPath(directory))
    for place in mounts:
        tree.mount(place, Mount.HOSTS)
    for place in protected or {}:
        tree.mount(place, Mount.PROTECTED)
    name = _inside(path, root)
    environment = {"PATH": "/usr/bin:/bin", "HOME": "/"} if env is None else dict(env)
    texts = _Texts(name, [path.name, *args], [f"{key}={value}" for key, value in environment.items()])
    return _Packing(_load(path, tree), tree, texts, directory, _server(protected or {})).write()


def _server(protected: Mapping[str, bytes]) -> bytes:
    """The measurement of the server that keeps them."""
    servers = set(protected.values())
    if any(len(server) != MEASUREMENT_BYTES for server in servers) or len(servers) > 1:
        raise ImageError("protected directories are of one file server: give its measurement, 32 bytes")
    return next(iter(servers), b"")


def _inside(program: Path, root: str | PathLike[str] | None) -> str:
    """The path by which a program knows itself."""
    if root is not None and Path(root).is_dir() and program.resolve().is_relative_to(Path(root).resolve()):
        return f"/{program.resolve().relative_to(Path(root).resolve())}"
    return f"/{program.name}"


@dataclass(frozen=True)
class _Texts:
    path: str
    arguments: list[str]
    environment: list[str]

    def __post_init__(self) -> None:
        every = [self.path, *self.arguments, *self.environment]
        if any("\0" in text for text in every):
            raise ImageError("an argument has a NUL in it")
        if sum(len(os.fsencode(text)) + 1 for text in every) > MAX_TEXT:
            raise ImageError(f"arguments and environment have more than {MAX_TEXT} bytes")


@dataclass(frozen=True)
class _Library:
    """A library of the tree, at its place."""

    node: Node
    elf: LinuxElf


@dataclass(frozen=True)
class _Loading:
    """The program at its place, what loads it, and the libraries that it may load."""

    program: LinuxElf
    interpreter: LinuxElf | None
    libraries: tuple[_Library, ...]

    @property
    def entry(self) -> int:
        return (self.interpreter or self.program).entry


def _load(path: Path, tree: FileTree) -> _Loading:
    try:
        data = read_whole(path)
    except OSError as error:
        raise ImageError(f"cannot read {path}: {error.strerror}") from error
    program = read_linux_elf(data, str(path))
    program = program.at(PROGRAM_BASE) if program.moves else program
    if program.end > PERSONALITY_START or program.segments[0].address < PAGE_SIZE:
        raise ImageError(f"{path} is linked to addresses that an enclave does not have")
    if not program.interpreter:
        return _Loading(program, None, ())
    node = tree.find(program.interpreter)
    if node is None or not node.is_file:
        raise ImageError(
            f"{path} needs {program.interpreter} and its libraries: give a directory that has them as root"
        )
    interpreter = read_linux_elf(node.content, program.interpreter).at(INTERPRETER_BASE)
    return _Loading(program, interpreter, tuple(_libraries(tree)))


def _libraries(tree: FileTree) -> Iterable[_Library]:
    """Every library of the tree, each at a place of its own; also those that a program may load later."""
    base = LIBRARY_BASE
    waiting = [tree.root]
    while waiting:
        node = waiting.pop()
        waiting += [node.children[name] for name in sorted(node.children, reverse=True)]
        if not node.is_file or not is_library(node.content):
            continue
        elf = read_linux_elf(node.content, "a library of the tree")
        if elf.end > PERSONALITY_START - base:
            raise ImageError("the libraries of the tree are too large")
        yield _Library(node, elf.at(base))
        base += -(-elf.end // LIBRARY_ALIGN) * LIBRARY_ALIGN


class _Area:
    """Bytes that grow from an address on, and the address of each piece."""

    def __init__(self, start: int) -> None:
        self.start = start
        self.data = bytearray()

    def add(self, piece: bytes, align: int = 8) -> int:
        self.data += bytes(-len(self.data) % align)
        address = self.start + len(self.data)
        self.data += piece
        return address

    def reserve(self, size: int) -> int:
        return self.add(bytes(size))

    def set(self, address: int, piece: bytes) -> None:
        self.data[address - self.start : address - self.start + len(piece)] = piece


class _Packing:
    """Lays out an image: in `own` what the personality changes as it runs, in `fixed` what is only read."""

    def __init__(
        self, loading: _Loading, tree: FileTree, texts: _Texts, directory: str, file_server: bytes
    ) -> None:
        self._loading = loading
        self._tree = tree
        self._texts = texts
        self._directory = directory
        self._file_server = file_server
        self._own = _Area(IMAGE)
        self._addresses: dict[Node, int] = {}
        self._parents: dict[Node, Node] = {tree.root: tree.root}
        self._nodes = list(self._every_node())
        own_size = LINUX_IMAGE.size + (NODE.size + ENTRY.size) * len(self._nodes)
        self._fixed = _Area(IMAGE + -(-own_size // PAGE_SIZE) * PAGE_SIZE)

    def _every_node(self) -> Iterable[Node]:
        waiting = [self._tree.root]
        while waiting:
            node = waiting.pop()
            yield node
            for name in sorted(node.children, reverse=True):
                self._parents[node.children[name]] = node
                waiting.append(node.children[name])

    def write(self) -> bytes:
        """The ELF."""
        head = self._own.reserve(LINUX_IMAGE.size)
        for node in self._nodes:
            self._addresses[node] = self._own.reserve(NODE.size)
        for number, node in enumerate(self._nodes, FIRST_NODE):
            self._write_node(node, number)
        self._own.set(head, self._head())
        personality = read_linux_elf(build_personality().read_bytes(), "the personality")
        own = Loaded(IMAGE, _pages(len(self._own.data)), bytes(self._own.data), READ | WRITE, 0)
        fixed = Loaded(self._fixed.start, _pages(len(self._fixed.data)), bytes(self._fixed.data), READ, 0)
        loading = self._loading
        parts = [loading.program, *([loading.interpreter] if loading.interpreter else [])]
        parts += [library.elf for library in loading.libraries]
        segments = [segment for part in [*parts, personality] for segment in part.segments]
        return _write_elf(personality.entry, [*segments, own, fixed])

    def _write_node(self, node: Node, number: int) -> None:
        links = 2 + sum(child.is_directory for child in node.children.values()) if node.is_directory else 1
        data = self._fixed.add(node.content, 16) if node.content else 0
        values = (node.mode, links, number, len(node.content), 0, 0, 0, 0, data, 0, self._write_entries(node))
        parent = self._addresses[self._parents[node]]
        self._own.set(self._addresses[node], NODE.pack(*values, parent, 0, 0, 0, 0, node.mount))

    def _write_entries(self, node: Node) -> int:
        """The list of a directory's names; the address of the first one, or 0."""
        after = 0
        names = list(enumerate(sorted(node.children), FIRST_COOKIE))
        for cookie, name in reversed(names):
            target = self._addresses[node.children[name]]
            text = self._fixed.add(name + b"\0", 1)
            after = self._own.add(ENTRY.pack(after, target, text, len(name), cookie))
        return after

    def _head(self) -> bytes:
        loading, texts = self._loading, self._texts
        segments = self._segments()
        table = self._fixed.add(b"".join(LINUX_SEGMENT.pack(*segment) for segment in segments))
        here = self._addresses[self._tree.directory(PurePosixPath(self._directory))]
        return LINUX_IMAGE.pack(
            MAGIC,
            loading.entry,
            loading.program.entry,
            loading.program.headers,
            loading.program.header_count,
            INTERPRETER_BASE if loading.interpreter else 0,
            len(texts.arguments),
            len(texts.environment),
            self._list(texts.arguments),
            self._list(texts.environment),
            self._text(texts.path),
            self._addresses[self._tree.root],
            here,
            len(segments),
            table,
            FIRST_NODE + len(self._nodes),
            0,
            self._file_server,
        )

    def _segments(self) -> list[tuple[int, int, int, int, int]]:
        """Of the program and what loads it, then of libraries, which are not there until they are mapped."""
        loading = self._loading
        found: list[tuple[int, int, int, int, int]] = []
        for elf in (loading.program, loading.interpreter):
            for part in sorted(elf.segments, key=lambda part: part.address) if elf else ():
                start = max(part.address, found[-1][1]) if found and found[-1][1] < part.end else part.address
                found.append((start, part.end, part.protection, 0, part.offset))
        for library in loading.libraries:
            node = self._addresses[library.node]
            found += [
                (part.address, part.end, part.protection, node, part.offset) for part in library.elf.segments
            ]
        return found

    def _text(self, text: str) -> int:
        return self._fixed.add(os.fsencode(text) + b"\0", 1)

    def _list(self, texts: list[str]) -> int:
        addresses = [self._text(text) for text in texts]
        return self._fixed.add(struct.pack(f"<{len(addresses)}Q", *addresses))


def _pages(size: int) -> int:
    return -(-size // PAGE_SIZE) * PAGE_SIZE


def _write_elf(entry: int, segments: Sequence[Loaded]) -> bytes:
    ident = b"\x7fELF\x02\x01\x01" + bytes(9)
    count = len(segments)
    header = (2, 243, 1, entry, ELF_HEADER.size, 0, 5, ELF_HEADER.size, SEGMENT.size, count, 64, 0, 0)
    out = bytearray(ELF_HEADER.pack(ident, *header))
    offset = _pages(ELF_HEADER.size + SEGMENT.size * count)
    content = bytearray()
    for part in segments:
        flags = sum(flag for bit, flag in ELF_FLAGS if part.protection & bit)
        at = offset + len(content)
        out += SEGMENT.pack(1, flags, at, part.address, part.address, len(part.data), part.size, PAGE_SIZE)
        content += part.data + bytes(-len(part.data) % PAGE_SIZE)
    return bytes(out) + bytes(offset - len(out)) + bytes(content)
