"""What is booted: kernel, ramfs, command line."""

import importlib
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from penglai.abi.errors import ImageError
from penglai.guest.image.cpio import Archive
from penglai.guest.image.current import Image, current_image
from penglai.machine.system import Software

if TYPE_CHECKING:
    from penglai.guest.image.files import File

OUR_CONSOLE = "console=hvc1"
"""The virtio console, which our kernel has."""
ANY_CONSOLE = "console=hvc0"
"""The console of the firmware, which every kernel has."""
QUIET = "quiet"
NO_RETURN = "panic=-1"
"""A kernel that panics reboots at once, which ends a machine that only runs commands."""

RUN_FILE = "etc/penglai/run"
PLAIN_FILE = "etc/penglai/plain"
"""What our init looks for: commands instead of a shell; a console that is no terminal."""

EXECUTABLE = 0o755


@dataclass(frozen=True)
class Boot:
    """What a user wants booted.

    image: what was built; by default the current one.  kernel, initrd: instead of the image's.  append: more
    for the command line.  files: entries of SDK_FILES that are put into / beside the image's.  commands: a
    shell script to run instead of a shell.  plain: the console is no terminal.
    """

    image: Image | None = None
    kernel: Path | None = None
    initrd: Path | None = None
    append: str = ""
    files: tuple[str, ...] = ()
    commands: str | None = None
    plain: bool = False

    def software(self) -> Software:
        """Read it all; builds the image first if there is none.  Raises ImageError, ToolchainError."""
        kernel, initrd = self.kernel, self.initrd
        if kernel is None or initrd is None:
            image = self.image or current_image() or _build()
            kernel, initrd = kernel or image.kernel, initrd or image.initrd
        console = OUR_CONSOLE if self.kernel is None else ANY_CONSOLE
        words = [console, QUIET, *([NO_RETURN] if self.commands is not None else []), self.append]
        return Software(
            kernel=_read(kernel),
            initrd=_aligned(_read(initrd)) + self._extra(),
            append=" ".join(word for word in words if word),
            what=str(kernel),
        )

    def _extra(self) -> bytes:
        """One more archive, for what is of this boot alone: Linux unpacks one after the other."""
        archive = Archive()
        if self.commands is not None:
            archive.add_file(RUN_FILE, self.commands.encode() + b"\n")
        if self.plain:
            archive.add_file(PLAIN_FILE, b"")
        for file in _resolve(self.files):
            archive.add_file(file.name, _read(file.path), EXECUTABLE)
        return archive.finish()


def _build() -> Image:
    image: Image = importlib.import_module("penglai.guest.image.build").build_image()
    return image


def _resolve(entries: tuple[str, ...]) -> "list[File]":
    """Files by their entries; what builds them is not imported for nothing."""
    if not entries:
        return []
    found: list[File] = importlib.import_module("penglai.guest.image.files").resolve(entries)
    return found


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise ImageError(f"cannot read {path}: {error.strerror}") from error


def _aligned(archive: bytes) -> bytes:
    return archive.ljust(-(-len(archive) // 4) * 4, b"\0")
