"""The image that was built last, which is what is booted; quick to read, unlike what builds it."""

import json
from pathlib import Path
from typing import NamedTuple

from penglai.toolchain.cache import cache_dir

CURRENT = "current.json"


def root() -> Path:
    """Where all that belongs to Linux is kept."""
    return cache_dir() / "linux"


class Image(NamedTuple):
    """What is booted.

    kernel: a Linux Image.  initrd: a cpio archive.  variant: "" or "debug".  files: names in /.  linux,
    busybox: Debian's versions.
    """

    kernel: Path
    initrd: Path
    variant: str
    files: tuple[str, ...]
    linux: str
    busybox: str


def current_image() -> Image | None:
    """The image that was built last; None if there is none (any more)."""
    try:
        raw = json.loads((root() / CURRENT).read_text())
        image = Image(
            kernel=Path(raw["kernel"]),
            initrd=Path(raw["initrd"]),
            variant=raw["variant"],
            files=tuple(raw["files"]),
            linux=raw["linux"],
            busybox=raw["busybox"],
        )
    except (FileNotFoundError, ValueError, KeyError, TypeError):  # none, or one of another version of ours
        return None
    return image if image.kernel.exists() and image.initrd.exists() else None
