"""Archives for Linux's first file system."""

import stat

from penglai.guest.image.cpio import MAGIC, TRAILER, Archive
from tests.fuzz.choices import Choices

TITLE = "archives of the first file system"
NAMES = ("a", "b", "bin/a", "bin/b", "etc/x/y", "etc", "ä b", "-", ".x", "a" * 200)
FIELDS = 13


def one(data: bytes) -> None:
    """What is in the archive is what was put in, in order, each with the directories above it."""
    choices = Choices(data)
    archive = Archive()
    expected: dict[str, tuple[int, bytes]] = {}
    while choices.left:
        name, kind, mode = choices.pick(NAMES), choices.below(4), choices.number(2) & 0o7777
        if name in expected or any(above(name, other) for other in expected if not is_dir(expected, other)):
            continue
        content = choices.take(choices.below(600))
        parents = name.split("/")[:-1]
        for depth in range(len(parents)):
            expected.setdefault("/".join(parents[: depth + 1]), (stat.S_IFDIR | 0o755, b""))
        if kind == 0:
            archive.add_directory(name, mode)
            expected[name] = (stat.S_IFDIR | mode, b"")
        elif kind == 1:
            archive.add_link(name, content.decode("latin-1"))
            expected[name] = (stat.S_IFLNK | 0o777, content.decode("latin-1").encode())
        elif kind == 2:
            archive.add_device(name, choices.number(1), choices.number(1), mode)
            expected[name] = (stat.S_IFCHR | mode, b"")
        else:
            archive.add_file(name, content, mode)
            expected[name] = (stat.S_IFREG | mode, content)
    assert list(read(archive.finish()).items()) == list(expected.items())


def above(name: str, other: str) -> bool:
    return name.startswith(f"{other}/")


def is_dir(expected: dict[str, tuple[int, bytes]], name: str) -> bool:
    return stat.S_ISDIR(expected[name][0])


def read(archive: bytes) -> dict[str, tuple[int, bytes]]:
    """Mode and content by name, as Linux reads them; each inode's number is its own."""
    found: dict[str, tuple[int, bytes]] = {}
    inodes, at = set(), 0
    while True:
        assert archive[at : at + 6] == MAGIC
        fields = [int(archive[at + 6 + 8 * n : at + 14 + 8 * n], 16) for n in range(FIELDS)]
        inode, mode, size, name_size = fields[0], fields[1], fields[6], fields[11]
        start = at + 6 + 8 * FIELDS
        raw = archive[start : start + name_size]
        assert raw[-1:] == b"\0"
        name = raw.partition(b"\0")[0].decode()
        start = -(-(start + name_size) // 4) * 4
        content = archive[start : start + size]
        assert len(content) == size
        at = -(-(start + size) // 4) * 4
        if name == TRAILER:
            assert at == len(archive)
            return found
        assert name not in found
        assert inode not in inodes
        inodes.add(inode)
        found[name] = (mode, content)
