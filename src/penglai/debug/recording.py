"""The file of a recording: what enclaves executed, and all that reached them from outside, in order.

A head, and then chunks of compressed events:

    head     8 bytes MAGIC, u16 VERSION, u16 flags, u64 bytes of memory, u64 its physical address
    chunk    u32 bytes of events, u32 bytes compressed, u32 crc32 of these, and these (zlib)
    end      a chunk of no bytes

An event is a byte that says which one, and its fields as in the classes below.  Numbers are little endian.
Whoever reads a file trusts nothing in it: every number has a limit, and what has not raises RecordingError.
"""

import os
import queue
import struct
import threading
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, NamedTuple

from penglai.abi.errors import BadArgumentError, RecordingError, StorageError
from penglai.abi.riscv import PAGE_SIZE, RAM_BASE
from penglai.abi.sbi import EnclaveType
from penglai.machine.board import start_thread

MAGIC = b"PENGLREC"
VERSION = 1
WITHOUT_FLOATS = 1
"""A flag: the harts had no floating-point unit."""

HEAD = struct.Struct("<8sHHQQ")
CHUNK = struct.Struct("<III")
CHUNK_BYTES = 256 << 10
MOST_CHUNK_BYTES = 4 << 20
MOST_WAITING = 16
"""Chunks that are not written yet."""
NOTHING = b""
MOST_MEMORY = 1 << 40
MOST_TIMES = 4096
"""Readings of the clock in one run; later ones are the last of these."""
MOST_BYTES = 1 << 30
"""Of a recording, compressed, unless somebody says otherwise."""

SPACE = struct.Struct("<IBQB")
PAGE = struct.Struct("<Q")
ZEROS = struct.Struct("<QQ")
WRITE = struct.Struct("<QH")
RUN = struct.Struct("<IQQQQ8sBH")
CHANGE = struct.Struct("<BQ")
DIGEST = struct.Struct("<I16sI")
ENDED = struct.Struct("<I")

REGISTERS = 66
"""x0 to x31, f0 to f31, fcsr and pc, in this order, are what changes of a context."""


@dataclass(frozen=True)
class Space:
    """An enclave is seen for the first time: the next number, from 0, is its.  satp: of its page table."""

    eid: int
    kind: EnclaveType
    satp: int
    name: str

    def pack(self) -> bytes:
        """Its fields as the file has them."""
        name = self.name.encode()[:255]
        return SPACE.pack(self.eid, self.kind, self.satp, len(name)) + name


@dataclass(frozen=True)
class Page:
    """A page of memory, by number, has become this."""

    number: int
    data: bytes

    def pack(self) -> bytes:
        """Its fields as the file has them."""
        return PAGE.pack(self.number) + self.data


@dataclass(frozen=True)
class Zeros:
    """So many pages from a number on have become zeros."""

    first: int
    count: int

    def pack(self) -> bytes:
        """Its fields as the file has them."""
        return ZEROS.pack(self.first, self.count)


@dataclass(frozen=True)
class Write:
    """These bytes were written at a physical address, inside a page."""

    address: int
    data: bytes

    def pack(self) -> bytes:
        """Its fields as the file has them."""
        return WRITE.pack(self.address, len(self.data)) + self.data


class Run(NamedTuple):
    """An enclave has run on the hart.

    changes: registers that were others than when it left the hart before, as (index, value).  times: what it
    read of the clock.  It ended with this cause and value, at this place (machine/where.c), with registers
    of this digest.
    """

    space: int
    cause: int
    tval: int
    jumps: int
    pc: int
    digest: bytes
    changes: tuple[tuple[int, int], ...]
    times: tuple[int, ...]

    def pack(self) -> bytes:
        """Its fields as the file has them."""
        head = RUN.pack(*self[:6], len(self.changes), len(self.times))
        return head + b"".join([CHANGE.pack(*change) for change in self.changes]) + _words(self.times)


@dataclass(frozen=True)
class Digest:
    """The pages that an enclave can write have this digest now.

    but: some of them that are left out, since the host can write to them too.
    """

    space: int
    digest: bytes
    but: tuple[int, ...]

    def pack(self) -> bytes:
        """Its fields as the file has them."""
        return DIGEST.pack(self.space, self.digest, len(self.but)) + _words(self.but)


@dataclass(frozen=True)
class Ended:
    """The enclave is gone, and its page table with it."""

    space: int

    def pack(self) -> bytes:
        """Its fields as the file has them."""
        return ENDED.pack(self.space)


Event = Space | Page | Zeros | Write | Run | Digest | Ended


def _words(words: tuple[int, ...]) -> bytes:
    return struct.pack(f"<{len(words)}Q", *words) if words else b""


class Writer:
    """Writes a recording; several threads may.

    without_floats: the harts have no floating-point unit.  most: bytes of the file; what comes when it has
    them is left out, and `full` is true.  Raises StorageError if the file cannot be written: from `close`,
    if it has begun.
    """

    def __init__(
        self, path: str | os.PathLike[str], memory: int, *, without_floats: bool, most: int = MOST_BYTES
    ) -> None:
        self.path = Path(path)
        self.full = False
        self.runs = 0
        self.bytes = 0
        self._closed = False
        self._most = most
        self._failure: OSError | None = None
        self._events = bytearray()
        self._lock = threading.Lock()
        self._waiting: queue.Queue[bytes] = queue.Queue(MOST_WAITING)
        self._thread = threading.Thread(target=self._work, name="penglai-recording", daemon=True)
        try:
            self._file: BinaryIO = self.path.open("wb", buffering=0)
        except OSError as error:
            raise BadArgumentError(f"a recording cannot be written to {path}: {error.strerror}") from error
        self._put(HEAD.pack(MAGIC, VERSION, WITHOUT_FLOATS if without_floats else 0, memory, RAM_BASE))
        start_thread(self._thread)

    def add(self, event: Event) -> None:
        """The next event."""
        kind = type(event)
        packed = event.pack()
        with self._lock:
            if self.full or self._closed:
                return
            self.runs += kind is Run
            self._events.append(KINDS[kind])
            self._events += packed
            if len(self._events) >= CHUNK_BYTES:
                self._hand_over()

    def close(self) -> None:
        """Complete the file.  More than once does nothing.  Raises StorageError."""
        with self._lock:
            if self._closed:
                return
            self._closed = True
            if self._events:
                self._hand_over()
            self._waiting.put(NOTHING)
        self._thread.join()
        self._put(CHUNK.pack(0, 0, 0))
        self._file.close()
        if self._failure is not None:
            raise StorageError(f"the recording {self.path} is incomplete: {self._failure.strerror}")

    def _hand_over(self) -> None:
        self._waiting.put(bytes(self._events))
        self._events.clear()

    def _work(self) -> None:
        """Compress and write on a thread of its own: nobody waits for it unless much is waiting."""
        while events := self._waiting.get():
            packed = zlib.compress(events, 1)
            if not self.full:
                self._put(CHUNK.pack(len(events), len(packed), zlib.crc32(packed)) + packed)
            self.full = self.bytes >= self._most

    def _put(self, data: bytes) -> None:
        rest = memoryview(data)
        try:
            while rest and self._failure is None:
                rest = rest[self._file.write(rest) :]
        except OSError as error:
            self._failure = error
        self.bytes += len(data)


class Reader:
    """Reads a recording: what it says of the machine at once, its events as they are asked for.

    Raises RecordingError for a file that is none, or is damaged, or cannot be read.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = Path(path)
        try:
            self._data = self.path.read_bytes()
        except OSError as error:
            raise RecordingError(f"{path} cannot be read: {error.strerror}") from error
        if len(self._data) < HEAD.size or not self._data.startswith(MAGIC):
            raise RecordingError(f"{path} is no recording; `penglai record -o {path}` makes one")
        _, version, flags, self.memory, base = HEAD.unpack_from(self._data)
        if version != VERSION:
            raise RecordingError(
                f"{path} is a recording of version {version}, and this Penglai reads version {VERSION}: "
                "replay it with the one that made it"
            )
        if flags & ~WITHOUT_FLOATS or base != RAM_BASE or not 0 < self.memory <= MOST_MEMORY:
            raise self._damaged(0)
        self.without_floats = bool(flags & WITHOUT_FLOATS)

    def __iter__(self) -> Iterator[Event]:
        """From the beginning.  Raises RecordingError where the file is damaged or cut off."""
        spaces = 0
        for place, chunk in self._chunks():
            parser = _Parser(chunk, self.memory, spaces)
            try:
                yield from parser
            except (struct.error, ValueError, IndexError, KeyError) as error:
                raise self._damaged(place) from error
            spaces = parser.spaces

    def _chunks(self) -> Iterator[tuple[int, bytes]]:
        place = HEAD.size
        while True:
            if place + CHUNK.size > len(self._data):
                raise RecordingError(f"{self.path} is cut off at byte {len(self._data)}: record it again")
            size, packed_size, crc = CHUNK.unpack_from(self._data, place)
            if size == packed_size == 0:
                return
            packed = self._data[place + CHUNK.size : place + CHUNK.size + packed_size]
            if size > MOST_CHUNK_BYTES or len(packed) != packed_size or zlib.crc32(packed) != crc:
                raise self._damaged(place)
            yield place, self._unpacked(packed, size, place)
            place += CHUNK.size + packed_size

    def _unpacked(self, packed: bytes, size: int, place: int) -> bytes:
        unpacker = zlib.decompressobj()
        try:
            chunk = unpacker.decompress(packed, size)
        except zlib.error as error:
            raise self._damaged(place) from error
        if len(chunk) != size or unpacker.unconsumed_tail:
            raise self._damaged(place)
        return chunk

    def _damaged(self, place: int) -> RecordingError:
        return RecordingError(f"{self.path} is damaged near byte {place}: record it again")


class _Parser:
    """Events of one chunk.  Raises ValueError and its like for whatever is none."""

    def __init__(self, chunk: bytes, memory: int, spaces: int) -> None:
        self.spaces = spaces
        self._chunk = chunk
        self._memory = memory
        self._at = 0

    def __iter__(self) -> Iterator[Event]:
        while self._at < len(self._chunk):
            kind = self._chunk[self._at]
            self._at += 1
            yield PARSERS[kind](self)

    def _take(self, form: struct.Struct) -> tuple[int, ...]:
        found = form.unpack_from(self._chunk, self._at)
        self._at += form.size
        return found

    def _bytes(self, count: int) -> bytes:
        found = self._chunk[self._at : self._at + count]
        if len(found) != count:
            raise ValueError
        self._at += count
        return found

    def _known(self, space: int) -> int:
        if space >= self.spaces:
            raise ValueError
        return space

    def space(self) -> Space:
        eid, kind, satp, size = self._take(SPACE)
        self.spaces += 1
        return Space(eid, EnclaveType(kind), satp, self._bytes(size).decode())

    def page(self) -> Page:
        (number,) = self._take(PAGE)
        if number >= self._memory // PAGE_SIZE:
            raise ValueError
        return Page(number, self._bytes(PAGE_SIZE))

    def zeros(self) -> Zeros:
        first, count = self._take(ZEROS)
        if first + count > self._memory // PAGE_SIZE:
            raise ValueError
        return Zeros(first, count)

    def write(self) -> Write:
        address, size = self._take(WRITE)
        offset = address - RAM_BASE
        if not 0 <= offset < self._memory or offset % PAGE_SIZE + size > PAGE_SIZE:
            raise ValueError
        return Write(address, self._bytes(size))

    def run(self) -> Run:
        space, cause, tval, jumps, pc, digest, changes, times = RUN.unpack_from(self._chunk, self._at)
        self._at += RUN.size
        if times > MOST_TIMES:
            raise ValueError
        changed = tuple(self._change() for _ in range(changes))
        return Run(self._known(space), cause, tval, jumps, pc, digest, changed, self._words(times))

    def _words(self, count: int) -> tuple[int, ...]:
        return struct.unpack(f"<{count}Q", self._bytes(8 * count))

    def _change(self) -> tuple[int, int]:
        index, value = self._take(CHANGE)
        if not 0 < index < REGISTERS:
            raise ValueError
        return index, value

    def digest(self) -> Digest:
        space, digest, count = DIGEST.unpack_from(self._chunk, self._at)
        self._at += DIGEST.size
        return Digest(self._known(space), digest, self._words(count))

    def ended(self) -> Ended:
        (space,) = self._take(ENDED)
        return Ended(self._known(space))


KINDS = {kind: number for number, kind in enumerate((Space, Page, Zeros, Write, Run, Digest, Ended))}
PARSERS = (
    _Parser.space,
    _Parser.page,
    _Parser.zeros,
    _Parser.write,
    _Parser.run,
    _Parser.digest,
    _Parser.ended,
)
