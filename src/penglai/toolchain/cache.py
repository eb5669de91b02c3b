"""The cache: what is built on the user's machine is kept under a key that covers all inputs.

Each thing is built once; two processes that build the same thing at once both succeed.
"""

import hashlib
import os
from collections.abc import Callable, Sequence
from pathlib import Path

from penglai.toolchain.kept import make_whole
from penglai.toolchain.places import cache_dir, package_record


def compile_cached(
    name: str,
    arguments: Sequence[str | Path],
    inputs: Sequence[Path],
    make: Callable[[Path], None] | None = None,
) -> Path:
    """Compile into the cache and return the path; later calls with the same inputs return at once.

    name: file name of the result.  inputs: every file whose content decides the result; with the
    arguments and the compiler's version they make the key.  make: called with the path of the result, if
    it takes more than `compile_c` with the arguments.
    """
    key = hashlib.sha256(package_record("ziglang").encode())
    for argument in arguments:
        key.update(os.fsencode(f"\0{argument}"))
    for path in inputs:
        key.update(hashlib.sha256(path.read_bytes()).digest())

    def compile_into(directory: Path) -> None:
        if make is None:
            from penglai.toolchain.compiler import compile_c  # noqa: PLC0415 - only if there is work for it

            compile_c(arguments, directory / name)
        else:
            make(directory / name)

    return made_once(name, key.hexdigest()[:24], compile_into) / name


def made_once(name: str, key: str, make: Callable[[Path], None]) -> Path:
    """A directory of the cache, whole or not at all; make is given an empty one to fill.

    key: tells apart what is made from other inputs.  What is found damaged, by a full disk or a crash, is
    made again.  Raises ToolchainError if it cannot be written.
    """
    directory = cache_dir() / f"{name}-{key}"
    make_whole(directory, make)
    return directory
