"""The image that was built last, which is what is booted; quick to read, unlike what builds it."""

import json
from pathlib import Path
from typing import NamedTuple

from penglai.toolchain.places import cache_dir

CURRENT = "current.json"
SIZES = "sizes"


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

    def sizes(self) -> list[int]:
        """Bytes of kernel and ramfs: one that was cut off has others.  Raises OSError if one is not there."""
        return [self.kernel.stat().st_size, self.initrd.stat().st_size]


def current_image() -> Image | None:
    """The image that was built last; None if there is none (any more), or not whole."""
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
        sizes = raw.get(SIZES)  # of both files; earlier versions of ours did not keep them
        return image if sizes in (None, image.sizes()) else None
    except (OSError, ValueError, KeyError, TypeError, AttributeError):  # none, or of another version of ours
        return None
