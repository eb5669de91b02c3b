"""The file of a recording: what is written is read, and what is damaged gives one clear line."""

import random
import struct
import zlib
from pathlib import Path

import pytest

from penglai.abi.errors import RecordingError, StorageError
from penglai.abi.riscv import RAM_BASE
from penglai.abi.sbi import EnclaveType
from penglai.debug import recording
from penglai.debug.recording import Digest, Ended, Event, Page, Reader, Run, Space, Write, Writer, Zeros
from penglai.debug.replay import replay

MEMORY = 4 << 20
EVENTS: list[Event] = [
    Space(7, EnclaveType.SERVER, 8 << 60 | RAM_BASE >> 12, "zwölf"),
    Page(3, bytes(range(256)) * 16),
    Zeros(4, 9),
    Write(RAM_BASE + 4096 - 3, b"abc"),
    Run(0, 8, 0, 5, 0x1000, b"12345678", ((1, 2), (65, (1 << 64) - 1)), (10, 20)),
    Digest(0, b"0123456789abcdef", (3,)),
    Ended(0),
]


def written(path: Path, events: list[Event]) -> Path:
    writer = Writer(path, MEMORY, without_floats=False)
    for event in events:
        writer.add(event)
    writer.close()
    return path


def with_chunk(path: Path, events: bytes) -> Path:
    """A recording of these bytes as its only chunk, and all else in order."""
    packed = zlib.compress(events)
    head = recording.HEAD.pack(recording.MAGIC, recording.VERSION, 0, MEMORY, RAM_BASE)
    chunk = recording.CHUNK.pack(len(events), len(packed), zlib.crc32(packed)) + packed
    path.write_bytes(head + chunk + recording.CHUNK.pack(0, 0, 0))
    return path


def test_what_is_written_is_read(tmp_path: Path):
    path = written(tmp_path / "run.rec", EVENTS * 3000)
    assert path.stat().st_size > recording.HEAD.size
    reader = Reader(path)
    assert reader.memory == MEMORY
    assert list(reader) == EVENTS * 3000


def test_a_full_file_is_complete_and_says_so(tmp_path: Path):
    writer = Writer(tmp_path / "run.rec", MEMORY, without_floats=True, most=1)
    for event in EVENTS * 1000:
        writer.add(event)
    writer.close()
    assert writer.full
    found = list(Reader(tmp_path / "run.rec"))
    assert found
    assert found == (EVENTS * 1000)[: len(found)]


def test_a_file_that_cannot_be_written_is_an_error_at_the_end():
    writer = Writer("/dev/full", MEMORY, without_floats=False)
    writer.add(EVENTS[0])
    with pytest.raises(StorageError, match="No space left"):
        writer.close()


def test_what_is_no_recording_says_so(tmp_path: Path):
    path = tmp_path / "run.rec"
    with pytest.raises(RecordingError, match="cannot be read: No such file"):
        Reader(path)
    path.write_bytes(b"#!/bin/sh")
    with pytest.raises(RecordingError, match="is no recording"):
        Reader(path)
    path.write_bytes(recording.HEAD.pack(recording.MAGIC, 9, 0, MEMORY, RAM_BASE))
    with pytest.raises(RecordingError, match="version 9, and this Penglai reads version 1"):
        Reader(path)
    for memory in (0, 1 << 63, 3):
        path.write_bytes(
            recording.HEAD.pack(recording.MAGIC, 1, 0, memory, RAM_BASE) + recording.CHUNK.pack(0, 0, 0)
        )
        with pytest.raises(RecordingError):
            replay(path)


@pytest.mark.parametrize(
    "events",
    [
        b"\x07",
        b"\xff" * 40,
        b"\x01" + struct.pack("<Q", MEMORY >> 12) + bytes(4096),
        b"\x01" + struct.pack("<Q", 0) + bytes(4095),
        b"\x02" + struct.pack("<QQ", 1, (1 << 64) - 1),
        b"\x03" + struct.pack("<QH", RAM_BASE + 4095, 2) + b"ab",
        b"\x03" + struct.pack("<QH", 0, 2) + b"ab",
        b"\x04" + recording.RUN.pack(0, 8, 0, 0, 0, bytes(8), 0, 0),
        b"\x00" + recording.SPACE.pack(1, 3, 0, 0),
        b"\x00" + recording.SPACE.pack(1, 0, 0, 2) + b"\xff\xff",
        b"\x00"
        + recording.SPACE.pack(1, 0, 0, 0)
        + b"\x04"
        + recording.RUN.pack(0, 8, 0, 0, 0, bytes(8), 0, 5000),
        b"\x00" + recording.SPACE.pack(1, 0, 0, 0) + b"\x05" + recording.DIGEST.pack(0, bytes(16), 1 << 31),
        *(
            b"\x00"
            + recording.SPACE.pack(1, 0, 0, 0)
            + b"\x04"
            + recording.RUN.pack(0, 8, 0, 0, 0, bytes(8), 1, 0)
            + recording.CHANGE.pack(index, 3)
            for index in (0, 66, 255)
        ),
    ],
)
def test_events_that_are_none_are_damage(tmp_path: Path, events: bytes):
    path = with_chunk(tmp_path / "run.rec", events)
    with pytest.raises(RecordingError, match=r"run.rec is damaged near byte \d+: record it again"):
        list(Reader(path))


def test_damage_anywhere_is_found_and_nothing_else_happens(tmp_path: Path):
    whole = written(tmp_path / "whole", EVENTS).read_bytes()
    path, chance = tmp_path / "run.rec", random.Random(3)
    for _ in range(300):
        damaged = bytearray(whole)
        for _ in range(chance.randrange(1, 4)):
            damaged[chance.randrange(len(damaged))] ^= 1 << chance.randrange(8)
        if chance.random() < 0.3:
            del damaged[chance.randrange(len(damaged)) :]
        path.write_bytes(damaged)
        if bytes(damaged) != whole:
            with pytest.raises(RecordingError, match=r"run\.rec"):
                replay(path)


def test_a_chunk_that_unpacks_to_more_than_it_says_is_damage(tmp_path: Path):
    packed = zlib.compress(bytes(1 << 20))
    head = recording.HEAD.pack(recording.MAGIC, recording.VERSION, 0, MEMORY, RAM_BASE)
    for size in (100, recording.MOST_CHUNK_BYTES + 1):
        chunk = recording.CHUNK.pack(size, len(packed), zlib.crc32(packed)) + packed
        (tmp_path / "run.rec").write_bytes(head + chunk)
        with pytest.raises(RecordingError, match="damaged"):
            list(Reader(tmp_path / "run.rec"))


def test_a_file_that_was_cut_off_says_so(tmp_path: Path):
    path = written(tmp_path / "run.rec", EVENTS)
    path.write_bytes(path.read_bytes()[: -recording.CHUNK.size])
    with pytest.raises(RecordingError, match="is cut off at byte"):
        list(Reader(path))
