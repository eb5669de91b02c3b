"""Archives, read back by a reader of another kind."""

import stat
from dataclasses import dataclass

import pytest
from hypothesis import given
from hypothesis import strategies as st

from penglai.guest.image.cpio import Archive


@dataclass(frozen=True)
class Entry:
    mode: int
    content: bytes
    device: tuple[int, int]


def read(data: bytes) -> dict[str, Entry]:
    """The entries of a newc archive, in order, up to its trailer."""
    entries: dict[str, Entry] = {}
    inodes = set()
    at = 0
    while True:
        assert at % 4 == 0
        assert data[at : at + 6] == b"070701"
        fields = [int(data[at + 6 + 8 * n : at + 14 + 8 * n], 16) for n in range(13)]
        inode, mode, uid, gid, links, mtime, size, _, _, major, minor, length, check = fields
        assert (uid, gid, mtime, check) == (0, 0, 0, 0)
        raw = data[at + 110 : at + 110 + length]
        assert raw.endswith(b"\0")
        name = raw.rstrip(b"\0").decode()
        start = -(-(at + 110 + length) // 4) * 4
        assert size == 0 or start % 8 == 0
        assert len(raw) - len(name.encode()) in (range(1, 9) if size else (1,))
        at = -(-(start + size) // 4) * 4
        if name == "TRAILER!!!":
            assert at == len(data)
            return entries
        assert links == 1
        assert inode not in inodes
        inodes.add(inode)
        assert name not in entries
        entries[name] = Entry(mode, data[start : start + size], (major, minor))


NAME = st.text(st.characters(codec="utf-8", exclude_characters="/\0"), min_size=1, max_size=20).filter(
    lambda name: name not in (".", "..")
)


@given(st.dictionaries(NAME, st.binary(max_size=5000)), st.integers(0, 0o7777))
def test_files_come_back_as_they_were(files: dict[str, bytes], mode: int):
    archive = Archive()
    for name, content in files.items():
        archive.add_file(f"dir/{name}", content, mode)
    found = read(archive.finish())
    assert {name: entry.content for name, entry in found.items() if name != "dir"} == {
        f"dir/{name}": content for name, content in files.items()
    }
    assert all(entry.mode == stat.S_IFREG | mode for name, entry in found.items() if name != "dir")


def test_directories_links_and_devices():
    archive = Archive()
    archive.add_directory("tmp", 0o1777)
    archive.add_link("bin/sh", "/bin/busybox")
    archive.add_device("dev/console", 5, 1)
    found = read(archive.finish())
    assert list(found) == ["tmp", "bin", "bin/sh", "dev", "dev/console"], "a directory before what is in it"
    assert found["tmp"].mode == stat.S_IFDIR | 0o1777
    assert found["bin"].mode == stat.S_IFDIR | 0o755
    assert (found["bin/sh"].mode, found["bin/sh"].content) == (stat.S_IFLNK | 0o777, b"/bin/busybox")
    assert (found["dev/console"].mode, found["dev/console"].device) == (stat.S_IFCHR | 0o600, (5, 1))


def test_the_same_input_makes_the_same_bytes_and_finishing_changes_nothing():
    first, second = Archive(), Archive()
    for archive in (first, second):
        archive.add_file("a/b/c", b"x")
    assert first.finish() == second.finish() == first.finish()
    first.add_file("d", b"")
    assert list(read(first.finish())) == ["a", "a/b", "a/b/c", "d"]


def test_archives_stand_one_after_the_other():
    archive = Archive()
    archive.add_file("odd", b"123")
    assert len(archive.finish()) % 4 == 0


@pytest.mark.parametrize("size", [0, 1, 2, 3, 4, 4096])
def test_content_of_any_length_is_aligned(size: int):
    archive = Archive()
    archive.add_file("file", b"x" * size)
    archive.add_file("next", b"y")
    assert read(archive.finish())["next"].content == b"y"
