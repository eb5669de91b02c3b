"""What is booted: kernel, ramfs, command line."""

import mmap
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from penglai.abi.errors import ImageError
from penglai.guest.image.cpio import CONTENT_ALIGNMENT, Archive
from penglai.guest.image.current import Image, current_image
from penglai.toolchain.whole import read_whole
from penglai.virt.system import Software

if TYPE_CHECKING:
    from penglai.guest.image.files import File

OUR_CONSOLE = "console=hvc1"
"""The virtio console, which our kernel has."""
ANY_CONSOLE = "console=hvc0"
"""The console of the firmware, which every kernel has."""
QUIET = "quiet"
EARLY = "earlycon=sbi"
"""What a kernel says before it has its console goes through the firmware, instead of nowhere.  For kernels of
which we do not know that they get so far: it costs 4 % of the boot."""
POLLING = "noirqdebug"
"""Linux waits for its console by polling, and turns the interrupt off after 100,000 that it did not need."""
NO_RETURN = "panic=-1"
"""A kernel that panics reboots at once, which ends a machine that only runs commands."""

RUN_FILE = "etc/penglai/run"
PLAIN_FILE = "etc/penglai/plain"
"""What our init looks for: commands instead of a shell; a console that is no terminal."""

EXECUTABLE = 0o755

KERNEL_NEEDS = {"": 16 << 20, "debug": 546 << 20}
"""Bytes of memory that a kernel needs beside what is in /, by variant; measured, with a little to spare."""
RAMFS_NEEDS = 4.2
"""And for each byte in /: archive, files, as much again (they may fill half of the memory), and a quarter of
the memory is kept for enclaves."""


class Boot(NamedTuple):
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

    @property
    def ours(self) -> bool:
        """True if kernel and init are ours: they do as this package's parts expect of each other."""
        return self.kernel is None and self.initrd is None

    def software(self, build: Callable[[], Image] | None = None) -> Software:
        """Read it all.

        build: makes the image if there is none; by default build_image, which says nothing for minutes.
        Raises ImageError, ToolchainError.
        """
        extra = self._extra()  # what is wrong with it, or cannot be read, is said before minutes of building
        kernel: bytes | mmap.mmap | None = None if self.kernel is None else _read(self.kernel)
        initrd: bytes | mmap.mmap | None = None if self.initrd is None else _read(self.initrd)
        what, needs = str(self.kernel), 0
        if kernel is None or initrd is None:
            image = self.image or current_image() or (build or _build)()
            initrd = _show(image.initrd) if initrd is None else initrd
            if kernel is None:
                kernel, what = _show(image.kernel), str(image.kernel)
                needs = KERNEL_NEEDS[image.variant] + int(RAMFS_NEEDS * (len(initrd) + len(extra)))
        return Software(kernel, _joined(initrd, extra), self._command_line(), what, needs)

    def _command_line(self) -> str:
        console = [OUR_CONSOLE] if self.kernel is None else [ANY_CONSOLE, EARLY]
        words = [*console, QUIET, POLLING]
        if self.commands is not None:
            words.append(NO_RETURN)
        return " ".join([*words, self.append] if self.append else words)

    def _extra(self) -> bytes:
        """One more archive, for what is of this boot alone: Linux unpacks one after the other."""
        archive = Archive()
        if self.commands is not None:
            archive.add_file(RUN_FILE, self.commands.encode(errors="surrogateescape") + b"\n")
        if self.plain:
            archive.add_file(PLAIN_FILE, b"")
        for file in _resolve(self.files):
            archive.add_file(file.name, _read(file.path), EXECUTABLE)
        return archive.finish()


def _build() -> Image:
    from penglai.guest.image.build import build_image  # noqa: PLC0415 - only if there is no image

    return build_image()


def _resolve(entries: tuple[str, ...]) -> "list[File]":
    """Files by their entries, which may first have to be built."""
    if not entries:
        return []
    from penglai.guest.image.files import resolve  # noqa: PLC0415 - only if there are files

    return resolve(entries)


def _read(path: Path) -> bytes:
    try:
        return read_whole(path)
    except OSError as error:
        raise ImageError(f"cannot read {path}: {error.strerror}") from error


def _show(path: Path) -> mmap.mmap:
    """A file of an image, which never changes: it is mapped, which is quicker than to read it."""
    try:
        with path.open("rb") as file:
            return mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
    except (OSError, ValueError) as error:
        raise ImageError(f"cannot read {path}: {error}") from error


def _joined(archive: bytes | mmap.mmap, extra: bytes) -> bytes:
    """One archive behind the other, where Linux looks for it."""
    return b"".join([archive, bytes(-len(archive) % CONTENT_ALIGNMENT), extra])
