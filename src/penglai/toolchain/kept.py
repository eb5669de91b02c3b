"""Directories of the cache that appear whole, and that are made again when they are found damaged."""

import hashlib
import os
from collections.abc import Callable
from pathlib import Path

from penglai.abi.errors import ToolchainError

SEAL = ".sha256"
"""Has the digest of a directory that was made."""

ALL, OUTERMOST = "**/*", "*"
"""Which files of a directory it is of."""


def make_whole(directory: Path, make: Callable[[Path], None]) -> None:
    """Make a directory, unless it is there: whole or not at all.  make is given an empty one to fill.

    Raises ToolchainError if it cannot be written.
    """
    if is_intact(directory):
        return
    from tempfile import TemporaryDirectory  # noqa: PLC0415 - slow, and needed once

    try:
        directory.parent.mkdir(parents=True, exist_ok=True)
        with TemporaryDirectory(prefix=f".{directory.name}.", dir=directory.parent) as fresh:
            made = Path(fresh, "made")
            made.mkdir()
            make(made)
            seal(made)
            _move(made, directory, Path(fresh, "damaged"))
    except OSError as error:
        reason = error.strerror or error
        raise ToolchainError(
            f"cannot write {directory}: {reason}; PENGLAI_CACHE names another place"
        ) from error


def _move(made: Path, directory: Path, aside: Path) -> None:
    """Put what was made in its place, unless another process was faster; what is damaged goes aside."""
    if directory.exists() and not is_intact(directory):
        directory.rename(aside)
    try:
        made.rename(directory)
    except OSError:
        if not is_intact(directory):
            raise


def seal(directory: Path, files: str = ALL) -> None:
    """Put a digest of a directory's files (a glob pattern) into it.  Raises OSError."""
    (directory / SEAL).write_text(_digest(directory, files), encoding="ascii")


def is_intact(directory: Path, files: str = ALL) -> bool:
    """False for a directory that is not there, or not as it was made: cut off by a full disk, or a crash."""
    try:
        return (directory / SEAL).read_text(encoding="ascii") == _digest(directory, files)
    except (OSError, ValueError):
        return False


def _digest(directory: Path, files: str) -> str:
    digest = hashlib.sha256()
    for path in sorted(directory.glob(files)):
        if path.is_file() and path.name != SEAL:
            digest.update(os.fsencode(f"{path.relative_to(directory)}\0{path.stat().st_size}\0"))
            digest.update(path.read_bytes())
    return digest.hexdigest()
