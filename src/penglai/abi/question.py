"""Enclave to whoever runs it: questions, which the ocall ASK carries past the monitor, and their answers.

The Linux personality asks them.  Every answer is the host's word.
"""

import ctypes
from enum import IntEnum, IntFlag


class Question(IntEnum):
    """a1 of ASK.  The result is the host's word: 0 also where nobody answers, or knows it not."""

    READ = 1
    """Input, at most a2 bytes (PAGE_SIZE), into the kernel buffer: how many; 0 at its end, NOTHING_YET."""
    WAIT = 2
    """Comes back, with 1, when a signal has come, after a2 >> 1 ns (INDEFINITELY: never), or, if a2 is odd,
    when READ has an answer."""
    SIGNALS = 3
    """Bit n: signal n has come since the last time.  Bit 0: somebody answers."""
    TERMINAL = 4
    """Descriptor a2 (0 to 2) is a terminal: 1 << 32 | rows << 16 | columns.  0: it is none."""
    STAT = 5
    """Of what is at PATH, as an AboutFile, into the buffer.  This and the others: 1, or a negative errno."""
    LIST = 6
    """Names of the directory at PATH from number a2 on, each with a NUL, into the buffer: how many."""
    GET = 7
    """Content of the file at PATH from a2 on, into the buffer: how many bytes."""
    PUT = 8
    """a2 >> 32 bytes from SECOND on to the file at PATH, at offset a2 & 0xFFFF_FFFF."""
    MAKE = 9
    """A file at PATH, or a directory if a2 is 1."""
    RESIZE = 10
    """The file at PATH gets a2 bytes."""
    REMOVE = 11
    """The file at PATH, or the directory if a2 is 1."""
    RENAME = 12
    """What is at PATH gets the path at SECOND."""
    MODE = 13
    """How the terminal gives input: a2 has bits of Mode.  1 if it does so now."""

    LISTEN = 14
    """Somebody listens at port a2 >> 1, or, if a2 is even, does so no more.  1 if the port is published.
    This and the others are of connections, whose numbers the enclave chooses, below CONNECTIONS: 1, or a
    negative errno."""
    ACCEPT = 15
    """Whoever wants to connect to port a2 & 0xFFFF becomes connection a2 >> 16; a Peer in the buffer."""
    CONNECT = 16
    """Connection a2 >> 48 is to lead to the IPv4 address a2 >> 16 & 0xFFFF_FFFF, port a2 & 0xFFFF."""
    CONNECTED = 17
    """Connection a2 is there now; NOTHING_YET, or why it is not."""
    READY = 18
    """What has come since: where an answer was NOTHING_YET, or less than asked for.  Each is told once, as a
    Told in the buffer: how many.  WAIT comes back when there is one."""
    RECEIVE = 19
    """At most a2 & 0xFFFF_FFFF bytes of connection a2 >> 32 into the buffer: how many, 0 at its end."""
    SEND = 20
    """a2 & 0xFFFF_FFFF bytes of the buffer to connection a2 >> 32: how many it has taken."""
    SHUT = 21
    """To connection a2 >> 32 no more is sent if a2 is odd, else it is over."""


class What(IntFlag):
    """Of a Told."""

    READABLE = 1
    WRITABLE = 2
    OF_PORT = 4
    """Its number is that of a port, and somebody wants to connect."""


class Mode(IntFlag):
    """a2 of MODE."""

    SIGNALS = 1
    """Ctrl-C and its like are signals, and no input."""
    LINES = 2
    NEWLINES = 4
    """Return is a newline."""
    ECHO = 8


PATH, SECOND = 0, 1024
"""Offsets in the kernel buffer, of questions about files: a path inside, and what else belongs to it."""


NOTHING_YET = -11
"""Answer to READ and the like: -EAGAIN."""

CONNECTIONS = 256
"""Of one enclave at a time."""

INDEFINITELY = (1 << 63) - 1
"""ns of WAIT."""


class AboutFile(ctypes.LittleEndianStructure):
    """Answer to STAT, 32 bytes.  kind: 1 file, 2 directory.  size: bytes.  When it was changed last."""

    _fields_ = (
        ("kind", ctypes.c_uint64),
        ("size", ctypes.c_uint64),
        ("seconds", ctypes.c_uint64),
        ("nanoseconds", ctypes.c_uint64),
    )


class Peer(ctypes.LittleEndianStructure):
    """Answer to ACCEPT, 8 bytes: an IPv4 address and a port, as numbers."""

    _fields_ = (("address", ctypes.c_uint32), ("port", ctypes.c_uint32))


class Told(ctypes.LittleEndianStructure):
    """One of READY's, 8 bytes.  what: a What."""

    _fields_ = (("number", ctypes.c_uint32), ("what", ctypes.c_uint32))
