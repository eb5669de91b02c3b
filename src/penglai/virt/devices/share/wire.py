"""Messages of 9P2000.L: what they are made of, and taking them apart without trust.

Layouts are strings, one letter for each field:

    b h d q   number of 1, 2, 4 or 8 bytes, little endian
    s         string: its length (h) and its bytes
    W         names of a walk: how many (h), and as many strings
    D         data: its length (d) and its bytes
    A         Attributes
    Q         Qid

Sources: diod's protocol.md; Linux's include/net/9p/9p.h and net/9p/client.c.
"""

import struct
from collections.abc import Callable
from errno import EBADMSG, EINVAL
from typing import Any, NamedTuple

HEADER = struct.Struct("<IBH")
"""Of every message: size with the header, number, tag."""

RLERROR = 7
ERROR_SIZE = HEADER.size + 4
"""Bytes of the answer that says no."""

IO_HEADER_SIZE = 24
"""Bytes of a message that Linux keeps free of data: more than the header of any that carries some."""

MAX_WALK = 16
"""Names in one walk."""

QID_DIRECTORY = 0x80
QID_SYMLINK = 0x02


class Qid(NamedTuple):
    """What identifies a file.  version: differs after a change.  path: the same for no other file."""

    type: int
    version: int
    path: int


class Attributes(NamedTuple):
    """What is to be set.  valid: which of the others count; those that do not may be anything.

    size: bytes.  Times: seconds since 1970, which may be negative, and nanoseconds.
    """

    valid: int
    mode: int
    uid: int
    gid: int
    size: int
    atime_sec: int
    atime_nsec: int
    mtime_sec: int
    mtime_nsec: int


_QID = struct.Struct("<BIQ")
_ATTRIBUTES = struct.Struct("<IIIIQqQqQ")
_ENTRY = struct.Struct("<BIQQBH")


class Cursor:
    """Goes through the bytes of a message.  Every method raises OSError EBADMSG if too few are left."""

    def __init__(self, data: memoryview) -> None:
        self._left = data

    def take(self, size: int) -> memoryview:
        """The next size bytes."""
        if size > len(self._left):
            raise OSError(EBADMSG, f"{size} bytes are said to follow, and {len(self._left)} do")
        taken, self._left = self._left[:size], self._left[size:]
        return taken

    def number(self, size: int) -> int:
        """A number of size bytes."""
        return int.from_bytes(self.take(size), "little")

    def string(self) -> bytes:
        """A copy of a string."""
        return bytes(self.take(self.number(2)))

    def data(self) -> memoryview:
        """Data, not copied."""
        return self.take(self.number(4))

    def names(self) -> list[bytes]:
        """The names of a walk.  Raises OSError EINVAL if they are too many."""
        count = self.number(2)
        if count > MAX_WALK:
            raise OSError(EINVAL, f"a walk of {count} names")
        return [self.string() for _ in range(count)]

    def attributes(self) -> Attributes:
        """Attributes that are to be set."""
        return Attributes._make(_ATTRIBUTES.unpack(self.take(_ATTRIBUTES.size)))

    def end(self) -> None:
        """Nothing is left; or else OSError EBADMSG."""
        if self._left:
            raise OSError(EBADMSG, f"{len(self._left)} bytes too many")


_TAKE: dict[str, Callable[[Cursor], Any]] = {
    "b": lambda cursor: cursor.number(1),
    "h": lambda cursor: cursor.number(2),
    "d": lambda cursor: cursor.number(4),
    "q": lambda cursor: cursor.number(8),
    "s": Cursor.string,
    "W": Cursor.names,
    "D": Cursor.data,
    "A": Cursor.attributes,
}

_PUT: dict[str, Callable[[Any], bytes]] = {
    "b": lambda value: value.to_bytes(1, "little"),
    "h": lambda value: value.to_bytes(2, "little"),
    "d": lambda value: value.to_bytes(4, "little"),
    "q": lambda value: value.to_bytes(8, "little"),
    "s": lambda value: len(value).to_bytes(2, "little") + value,
    "D": lambda value: len(value).to_bytes(4, "little") + value,
    "Q": lambda value: _QID.pack(*value),
}


def unpack(layout: str, body: memoryview) -> list[Any]:
    """The fields of a body that has this layout, whole.  Raises OSError EBADMSG, EINVAL."""
    cursor = Cursor(body)
    fields = [_TAKE[letter](cursor) for letter in layout]
    cursor.end()
    return fields


def pack(layout: str, *fields: Any) -> bytes:
    """A body.  The fields fit their places."""
    return b"".join(_PUT[letter](value) for letter, value in zip(layout, fields, strict=True))


def pack_entry(qid: Qid, following: int, kind: int, name: bytes) -> bytes:
    """One entry of a directory.  following: where the next one is read from."""
    return _ENTRY.pack(*qid, following, kind, len(name)) + name


def message(number: int, tag: int, body: bytes) -> bytes:
    """A whole message."""
    return HEADER.pack(HEADER.size + len(body), number, tag) + body
