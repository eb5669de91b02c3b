"""Kernel modules: penglai.ko, and those of tests."""

from pathlib import Path

from penglai.guest.image import packages
from penglai.guest.image.current import root
from penglai.guest.image.kernel import FLAGS, Kernel
from penglai.guest.image.keys import key_of
from penglai.guest.image.work import Tell, once, quiet, run

SOURCES = ("Kbuild", "*.c", "*.h", "*.S")


def build_module(kernel: Kernel, sources: Path, name: str, tell: Tell = quiet) -> Path:
    """Build NAME.ko from a directory with a Kbuild file, or find it in the cache.

    Warnings are errors.  Raises ToolchainError.
    """
    files = sorted(path for pattern in SOURCES for path in sources.glob(pattern))
    contents = [part for path in files for part in (path.name, path.read_bytes())]
    key = key_of(kernel.key, name, *contents)
    directory = once(root() / f"module-{key}", lambda fresh: _make(kernel, files, name, fresh, tell))
    return directory / f"{name}.ko"


def _make(kernel: Kernel, files: list[Path], name: str, fresh: Path, tell: Tell) -> None:
    packages.ensure_tools(tell)
    tell(f"compiling {name}.ko", 0)
    work = fresh / "work"
    work.mkdir()
    for path in files:
        (work / path.name).write_bytes(path.read_bytes())
    line = ["make", "-C", str(kernel.tree), f"M={work}", *FLAGS, "KCFLAGS=-Werror", "modules"]
    run(line, work, log=f"{name}.ko")
    (work / f"{name}.ko").rename(fresh / f"{name}.ko")
    for path in sorted(work.rglob("*"), reverse=True):
        path.rmdir() if path.is_dir() else path.unlink()
    work.rmdir()
