"""Sources in C of others, from source archives on PyPI: fetched when they are first needed, and checked.

Nothing of an archive is executed: no file of it but those that are named is taken.
"""

import hashlib
import io
import logging
import tarfile
import urllib.error
import urllib.request
from dataclasses import dataclass
from pathlib import Path

from penglai.abi.errors import ToolchainError
from penglai.toolchain.cache import made_once

log = logging.getLogger(__name__)

PLACE = "https://files.pythonhosted.org/packages"
PATIENCE = 60.0
"""Seconds without a byte after which a server counts as gone."""


@dataclass(frozen=True)
class Archive:
    """A source archive.  path: of the file on PyPI.  digest: its SHA-256.  files: names in it, without its
    outermost directory."""

    name: str
    path: str
    digest: str
    files: tuple[str, ...]


LITTLEFS = Archive(
    name="littlefs",
    path="d8/2d/22e8b009632efa8c917724e4e20e30b57be8b9ae6acf403ac8f1887bb205/littlefs_python-0.19.0.tar.gz",
    digest="4ce8c6eeeb2703abaf8cb60f2dab624b17af42b13df3dbc6c42d4142bad79a59",
    files=tuple(f"littlefs/{name}" for name in ("lfs.c", "lfs.h", "lfs_util.c", "lfs_util.h", "LICENSE.md")),
)
MONOCYPHER = Archive(
    name="monocypher",
    path="dc/cc/67a71aed2e4ba8134460a60f9b2fc89c5e7e6e7f8d44d7bd6c7474544152/pymonocypher-4.0.3.5.tar.gz",
    digest="b6f96c4fa56212a7c13aee8fc27a89d7531b622ce8aabbd6e82a9d2e93071d71",
    files=("monocypher.c", "monocypher.h", "LICENSE.txt"),
)


def source(archive: Archive) -> Path:
    """The directory with the files of an archive; fetched if it is not there.  Raises ToolchainError."""
    return made_once(
        f"source-{archive.name}", archive.digest[:24], lambda fresh: unpack(archive, _fetch(archive), fresh)
    )


def unpack(archive: Archive, content: bytes, directory: Path) -> None:
    """Put the files of an archive into a directory.  Raises ToolchainError if it is another archive."""
    if hashlib.sha256(content).hexdigest() != archive.digest:
        raise ToolchainError(f"{PLACE}/{archive.path} is not the archive that it was: its SHA-256 differs")
    with tarfile.open(fileobj=io.BytesIO(content)) as tar:
        members = {member.name.partition("/")[2]: member for member in tar.getmembers() if member.isfile()}
        for name in archive.files:
            file = tar.extractfile(members[name])
            assert file is not None
            (directory / Path(name).name).write_bytes(file.read())


def _fetch(archive: Archive) -> bytes:
    url = f"{PLACE}/{archive.path}"
    log.info("fetching %s", archive.name)
    try:
        with urllib.request.urlopen(url, timeout=PATIENCE) as answer:  # noqa: S310 - the scheme is ours
            return bytes(answer.read())
    except (OSError, urllib.error.URLError) as error:
        raise ToolchainError(
            f"cannot fetch the source of {archive.name}, which is needed once, from {url}: {error}"
        ) from error
