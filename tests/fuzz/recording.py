"""Recordings whose events say anything, and the machine of a replay that applies them."""

import functools
import tempfile
import zlib
from pathlib import Path

from penglai.abi.errors import RecordingError
from penglai.abi.riscv import PAGE_SIZE, RAM_BASE
from penglai.debug import recording
from penglai.debug.recording import Digest, Page, Reader, Run, Write, Zeros
from penglai.debug.replay import Player
from tests.fuzz.choices import Choices, says_why

TITLE = "recordings, as a replay reads them"

MEMORY = 4 << 20
PAGES = MEMORY // PAGE_SIZE
MOST_EVENTS = 64


@functools.cache
def place() -> Path:
    return Path(tempfile.mkdtemp(prefix="penglai-fuzz-"), "run.rec")


def written(events: bytes, *, torn: bool) -> Path:
    """A file that is in order but for its events, or that ends too soon as well."""
    packed = zlib.compress(events, 1)
    head = recording.HEAD.pack(recording.MAGIC, recording.VERSION, 0, MEMORY, RAM_BASE)
    chunk = recording.CHUNK.pack(len(events), len(packed), zlib.crc32(packed)) + packed
    place().write_bytes(head + chunk + (b"" if torn else recording.CHUNK.pack(0, 0, 0)))
    return place()


def one(data: bytes) -> None:
    """Events are within the limits, or there is an error that says why; applied, they change only RAM."""
    choices = Choices(data)
    torn = choices.below(8) == 7
    path = written(choices.take(choices.left), torn=torn)
    try:
        for event in Reader(path):
            judge(event)
    except RecordingError as error:
        says_why(error)
    apply(path)


def judge(event: recording.Event) -> None:
    if isinstance(event, Page):
        assert (0 <= event.number < PAGES, len(event.data)) == (True, PAGE_SIZE)
    elif isinstance(event, Zeros):
        assert event.first + event.count <= PAGES
    elif isinstance(event, Write):
        assert RAM_BASE <= event.address <= event.address + len(event.data) <= RAM_BASE + MEMORY
    elif isinstance(event, Run):
        assert len(event.times) <= recording.MOST_TIMES
        assert all(0 < index < recording.REGISTERS for index, _ in event.changes)


def apply(path: Path) -> None:
    """All but runs, which end when they want to; and of these the beginning."""
    player = Player(Reader(path), "unicorn")
    try:
        for number, event in enumerate(Reader(path)):
            if number == MOST_EVENTS:
                break
            if isinstance(event, Run):
                player.begin(event)
            else:
                player.apply(event)
            if isinstance(event, Digest):
                assert all(0 <= page < PAGES for page in player.reach(player.spaces[event.space]).pages)
    except RecordingError as error:
        says_why(error)
    finally:
        player.close()
