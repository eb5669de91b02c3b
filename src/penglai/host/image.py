"""What an enclave can be made from."""

from collections.abc import Callable
from enum import StrEnum
from os import PathLike, fspath
from pathlib import Path

from penglai.abi.errors import BadArgumentError, ImageError

Image = str | PathLike[str] | bytes | bytearray | memoryview
"""The path of an ELF, its bytes, or the name of a shipped demo."""

UNNAMED = "the image"
"""How messages call an image that came as bytes."""


class Kind(StrEnum):
    """Kinds of enclaves, by the names that programs and commands use."""

    NORMAL = "normal"
    SERVER = "server"
    """Runs when enclaves call it."""
    SHADOW = "shadow"
    """A template: its instances bring their stacks."""

    @classmethod
    def named(cls, name: str) -> "Kind":
        """The kind of this name.  Raises BadArgumentError if there is none."""
        if name not in list(cls):
            raise BadArgumentError(f"no kind {name!r} of enclaves; there are {', '.join(cls)}")
        return cls(name)


def load(image: Image, find_image: Callable[[str], Path]) -> tuple[bytes, str, Path | bytes]:
    """An image's bytes, how messages call it, and where it came from: its file, or the bytes.

    find_image: the file that a name means.  Raises ImageError if there is none or it cannot be read.
    """
    if isinstance(image, bytes | bytearray | memoryview):
        data = bytes(image)
        return data, UNNAMED, data
    try:
        path = find_image(fspath(image))
    except TypeError:
        raise ImageError(f"{image!r} is no image: give a path, bytes, or the name of a demo") from None
    try:
        return path.read_bytes(), str(image), path
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise ImageError(f"cannot read {path}: {reason}") from error
