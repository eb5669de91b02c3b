"""The first file system: BusyBox, our init, and the files of SDK_FILES."""

from collections.abc import Iterable
from pathlib import Path

from penglai.guest.image.busybox import BusyBox
from penglai.guest.image.cpio import Archive
from penglai.guest.image.files import File
from penglai.sdk.build import TARGET
from penglai.toolchain.cache import compile_cached

INIT = Path(__file__).parent / "init.c"
INIT_FLAGS = (*TARGET, "-O2", "-g0", "-Wall", "-Wextra", "-Werror", "-static", "-Wl,--strip-all")

DIRECTORIES = ("bin", "sbin", "usr/bin", "usr/sbin", "dev", "proc", "sys", "run", "root", "mnt")
EXECUTABLE = 0o755
PROGRAM = "bin/busybox"

ETC = {
    "etc/passwd": "root:x:0:0:root:/root:/bin/sh\n",
    "etc/group": "root:x:0:\n",
    "etc/hosts": "127.0.0.1 localhost penglai\n",
    "etc/profile": "export PS1='\\w # '\nalias ls='ls --color=auto'\n",
}


def make(busybox: BusyBox, files: Iterable[File]) -> bytes:
    """The archive.  Raises OSError if a file cannot be read, ToolchainError."""
    archive = Archive()
    for name in DIRECTORIES:
        archive.add_directory(name)
    archive.add_directory("tmp", 0o1777)
    archive.add_device("dev/console", 5, 1)
    archive.add_device("dev/null", 1, 3, 0o666)
    archive.add_file(PROGRAM, busybox.program.read_bytes(), EXECUTABLE)
    for link in busybox.links:
        if link.lstrip("/") != PROGRAM:
            archive.add_link(link.lstrip("/"), f"/{PROGRAM}")
    for name, text in ETC.items():
        archive.add_file(name, text.encode(errors="surrogateescape"))
    init = compile_cached("init", [*INIT_FLAGS, INIT], [INIT])
    archive.add_file("init", init.read_bytes(), EXECUTABLE)
    for file in files:
        archive.add_file(file.name, file.path.read_bytes(), EXECUTABLE)
    return archive.finish()
