"""The names of images: paths, and what the package ships."""

from pathlib import Path

from penglai.abi.errors import ImageError
from penglai.sdk.build import build_demo, demos
from penglai.sdk.services import build_service, services


def find_image(name: str) -> Path:
    """The file that an image's name means: a path that exists, else a shipped demo or server.

    Raises ImageError if it is none of them, ToolchainError if it cannot be built.
    """
    path = Path(name)
    if path.is_file():
        return path
    if name in demos():
        return build_demo(name)
    if name in services():
        return build_service(name)
    if not path.exists():
        shipped = ", ".join([*demos(), *services()])
        raise ImageError(f"no such file: {name} (and no demo of that name; there are {shipped})")
    if path.is_char_device():
        raise ImageError(f"cannot read {name}: it is a device")
    return path
