"""SDK_FILES: which files are put into the ramfs, and where they come from."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

from penglai.abi.errors import ImageError
from penglai.guest.image.kernel import Kernel
from penglai.guest.image.module import build_module
from penglai.guest.image.work import Tell, quiet
from penglai.sdk.build import build_demo, demos
from penglai.sdk.hostbuild import build_host_demo, host_demos, module_dir
from penglai.sdk.services import build_service, services

MODULE = "penglai.ko"
INSTALL = "install.sh"
ALWAYS = (MODULE, INSTALL)
"""In every image, named or not: without them there is no Penglai."""

TAKEN = frozenset(
    ("bin", "dev", "etc", "init", "mnt", "proc", "root", "run", "sbin", "share", "sys", "tmp", "usr")
)
"""What the system itself has in /."""

KERNEL_NEEDED = "penglai.ko is built for a kernel: put it in with penglai image build"


@dataclass(frozen=True)
class File:
    """A file of the ramfs: /name has the content of path."""

    name: str
    path: Path


def default_files() -> tuple[str, ...]:
    """All that is shipped."""
    return (*ALWAYS, *host_demos(), *demos())


def resolve(entries: Iterable[str], kernel: Kernel | None = None, tell: Tell = quiet) -> list[File]:
    """The files that entries mean.

    An entry is the path of a file, which is put into / under its own name; NAME=PATH for another name; or the
    name of something that is shipped, which is built if there is no file of that name.  kernel: for which
    penglai.ko is built.

    Raises ImageError for an entry that is nothing, two for the same place, or one in the system's own place.
    """
    shipped = _shipped(kernel, tell)
    found: dict[str, File] = {}
    for entry in entries:
        file = _resolve(entry, shipped)
        if file.name in found and found[file.name].path != file.path:
            raise ImageError(f"two files for /{file.name}: {found[file.name].path} and {file.path}")
        found[file.name] = file
    return list(found.values())


def _resolve(entry: str, shipped: dict[str, Callable[[], Path]]) -> File:
    name, separator, place = entry.partition("=")
    path = Path(place if separator else entry)
    name = name.lstrip("/") if separator else path.name
    if path.is_file():
        if name in ("", "..") or name != Path(name).name:
            raise ImageError(f"{entry}: {name!r} is no name for a file in /")
        if name in TAKEN:
            raise ImageError(f"{entry}: the system has a /{name} of its own; name another: OTHER={path}")
        return File(name, path.absolute())
    if not separator and entry in shipped:
        return File(entry, shipped[entry]())
    what = "is no regular file" if path.exists() else "is not there"
    raise ImageError(f"{path} {what}, and nothing of that name is shipped; there are {', '.join(shipped)}")


def _shipped(kernel: Kernel | None, tell: Tell) -> dict[str, Callable[[], Path]]:
    """What is shipped, with the function that builds it."""
    makers: dict[str, Callable[[], Path]] = {
        MODULE: lambda: _module(kernel, tell),
        INSTALL: lambda: module_dir() / INSTALL,
    }
    for name in host_demos():
        makers[name] = lambda name=name: build_host_demo(name)  # type: ignore[misc]
    for name in demos():
        makers[name] = lambda name=name: build_demo(name)  # type: ignore[misc]
    for name in services():
        makers[name] = lambda name=name: build_service(name)  # type: ignore[misc]
    return makers


def _module(kernel: Kernel | None, tell: Tell) -> Path:
    if kernel is None:
        raise ImageError(KERNEL_NEEDED)
    return build_module(kernel, module_dir(), "penglai", tell)
