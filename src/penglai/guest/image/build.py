"""The image: all of it, from Debian's sources to the ramfs."""

import json
from collections.abc import Sequence

from penglai.abi.errors import ImageError
from penglai.guest.image import busybox, kernel, packages, ramfs
from penglai.guest.image.busybox import BusyBox
from penglai.guest.image.current import CURRENT, SIZES, Image, root
from penglai.guest.image.files import ALWAYS, File, default_files, resolve
from penglai.guest.image.kernel import VARIANTS, Kernel
from penglai.guest.image.keys import key_of
from penglai.guest.image.work import Tell, compiling, once, quiet, write_whole


def build_image(
    files: Sequence[str] | None = None, *, variant: str = "", update: bool = False, tell: Tell = quiet
) -> Image:
    """Build an image as make_image does, and make it the current one: what penglai boot boots."""
    image = make_image(files, variant=variant, update=update, tell=tell)
    remember(image)
    return image


def remember(image: Image) -> None:
    """This one is what is booted from now on.  Raises ToolchainError."""
    kept = {**image._asdict(), SIZES: image.sizes()}
    write_whole(root() / CURRENT, json.dumps(kept, default=str).encode())


def make_image(
    files: Sequence[str] | None = None, *, variant: str = "", update: bool = False, tell: Tell = quiet
) -> Image:
    """Build kernel, module, BusyBox and ramfs, as far as they are not in the cache.

    files: entries of SDK_FILES, by default all that is shipped; penglai.ko and install.sh are always in.
    variant: "debug" for a kernel that looks for mistakes.  update: ask Debian for newer sources.  tell: is
    called with what is being done.

    Raises ImageError for files, ToolchainError if something cannot be built or fetched.
    """
    if variant not in VARIANTS:
        raise ImageError(f"no variant {variant!r} of the kernel; there are {', '.join(VARIANTS)}")
    versions = packages.versions(tell, update=update)
    built = build_kernel(variant, tell)
    programs = busybox.build(versions.busybox, tell)
    with compiling("programs", tell):
        named = resolve(default_files() if files is None else files, built, tell)
        names = {file.name for file in named}
        found = [*resolve((name for name in ALWAYS if name not in names), built, tell), *named]
        archive = _archive(programs, found)
    directory = once(
        root() / f"ramfs-{key_of(archive)}", lambda fresh: write_whole(fresh / "initrd.cpio", archive)
    )
    return Image(
        kernel=built.image,
        initrd=directory / "initrd.cpio",
        variant=variant,
        files=tuple(file.name for file in found),
        linux=versions.linux,
        busybox=versions.busybox,
    )


def _archive(programs: BusyBox, files: Sequence[File]) -> bytes:
    try:
        return ramfs.make(programs, files)
    except OSError as error:
        raise ImageError(f"cannot read {error.filename}: {error.strerror}") from error


def build_kernel(variant: str = "", tell: Tell = quiet) -> Kernel:
    """The kernel of a variant alone.  Raises ToolchainError."""
    return kernel.build(packages.versions(tell).linux, variant, tell)
