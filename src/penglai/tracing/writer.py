"""Writes a file in the trace event format, as the events come.

The format ("Trace Event Format", JSON object form): a slice is an event of phase X with ts and dur in
microseconds, a moment one of phase i, an arrow two, of phases s and f, a number that changes one of phase C;
names of processes and threads are metadata, phase M.  Events are in no order.  Here a "process" is a group of
tracks, a "thread" a track.
"""

import itertools
import json
import os
from dataclasses import dataclass, replace
from pathlib import Path

BUFFER_BYTES = 64 << 10
"""What waits in memory to be written."""

HEAD = b'{"displayTimeUnit":"ns","traceEvents":[\n'
TAIL = b"\n]}\n"
FIRST_TRACK = 1001
"""Viewers show the number behind the name: "hart 0 1001" is not taken for hart 1001."""


@dataclass(frozen=True)
class Track:
    """Where slices are: of one group, none of them overlapping another unless it contains it.

    category: of what is on it.
    """

    group: int
    number: int
    category: str


class Writer:
    """One file; its user sees to it that one thread at a time calls.

    Raises OSError if the file cannot be made.  Later, when a disk is full, nothing more is written and
    `failure` says why.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.failure: OSError | None = None
        self.events = 0
        self._file = Path(path).open("wb", buffering=0)  # noqa: SIM115 - `close` closes it
        self._waiting = bytearray(HEAD)
        self._tracks = itertools.count(FIRST_TRACK)
        self._arrows = itertools.count(1)

    def group(self, name: str, number: int, order: int) -> int:
        """A new group of tracks.

        number: viewers show it behind the name.  order: the least is the uppermost, if the viewer cares.
        """
        self._name("process_name", number, 0, name=name)
        self._name("process_sort_index", number, 0, sort_index=order)
        return number

    def track(self, group: int, name: str, category: str) -> Track:
        """A new track of a group, below its others."""
        track = Track(group, next(self._tracks), category)
        self._name("thread_name", group, track.number, name=name)
        self._name("thread_sort_index", group, track.number, sort_index=track.number)
        return track

    def slice(self, track: Track, name: str, start: int, end: int, **details: object) -> None:
        """Something that lasted from start to end, ns."""
        times = f'"ts":{_at(start)},"dur":{_lasting(end - start)}'
        self._event("X", track, name, times, details)

    def moment(self, track: Track, name: str, at: int, **details: object) -> None:
        """Something that happened at a moment, ns."""
        self._event("i", track, name, f'"ts":{_at(at)},"s":"t"', details)

    def counter(self, group: int, name: str, at: int, value: int) -> None:
        """A number of a group has this value from a moment on, ns."""
        self._append(
            f'{{"ph":"C","name":{json.dumps(name)},"pid":{group},"tid":0,"ts":{_at(at)},'
            f'"args":{{{json.dumps(name)}:{value}}}}}'
        )

    def arrow(self, tail: Track, head: Track, name: str, at: int) -> None:
        """From what is on one track at a moment, ns, to what is on another then."""
        times = f'"ts":{_at(at)},"id":{next(self._arrows)}'
        head = replace(head, category=tail.category)  # viewers pair ends by category, name and id
        self._event("s", tail, name, times, {})
        self._event("f", head, name, f'{times},"bp":"e"', {})

    def close(self) -> None:
        """Complete the file.  More than once does nothing."""
        if not self._file.closed:
            self._waiting += TAIL
            self._flush()
            self._file.close()

    def _name(self, what: str, group: int, track: int, **details: object) -> None:
        self._append(f'{{"ph":"M","name":"{what}","pid":{group},"tid":{track},"args":{json.dumps(details)}}}')

    def _event(self, phase: str, track: Track, name: str, times: str, details: dict[str, object]) -> None:
        self._append(
            f'{{"ph":"{phase}","name":{json.dumps(name)},"cat":"{track.category}","pid":{track.group},'
            f'"tid":{track.number},{times},"args":{json.dumps(details)}}}'
        )

    def _append(self, event: str) -> None:
        if self.events:
            self._waiting += b",\n"
        self.events += 1
        self._waiting += event.encode()
        if len(self._waiting) > BUFFER_BYTES:
            self._flush()

    def _flush(self) -> None:
        rest = memoryview(bytes(self._waiting))
        self._waiting.clear()
        try:
            while rest and self.failure is None:
                rest = rest[self._file.write(rest) :]
        except OSError as error:
            self.failure = error


def _at(ns: int) -> str:
    """A moment in microseconds, and 0.3 ns more: viewers cut off below a ns, binary fractions being what they
    are."""
    return f"{ns // 1000}.{ns % 1000:03}3"


def _lasting(ns: int) -> str:
    """A time in microseconds, and 0.2 ns less: start and length, added as binary fractions, must not go
    beyond the start of the next slice, which a viewer would then put inside this one."""
    tenths = max(0, 10 * ns - 2)
    return f"{tenths // 10_000}.{tenths % 10_000:04}"
