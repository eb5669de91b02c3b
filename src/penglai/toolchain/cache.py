"""The cache: what is built on the user's machine is kept under a key that covers all inputs.

Each thing is built once; two processes that build the same thing at once both succeed.
"""

import hashlib
import importlib
import importlib.util
import os
from collections.abc import Callable, Sequence
from pathlib import Path

from penglai.abi.errors import ToolchainError

CACHE_VARIABLE = "PENGLAI_CACHE"
"""Environment variable that names another cache directory."""


def user_dir(variable: str, default: str) -> Path:
    """Our directory below one of the user's, as the XDG Base Directory Specification has them.

    variable: of the environment, names it; what is not absolute counts as nothing.  default: where else.
    Raises ToolchainError for a user without a home directory.
    """
    named = Path(os.environ.get(variable, ""))
    try:
        return (named if named.is_absolute() else Path(default).expanduser()) / "penglai"
    except RuntimeError as error:
        raise ToolchainError(f"you have no home directory; set HOME, or {variable}") from error


def cache_dir() -> Path:
    """The directory that holds what was built: $PENGLAI_CACHE, or the user's cache directory."""
    override = os.environ.get(CACHE_VARIABLE)
    return Path(override) if override else user_dir("XDG_CACHE_HOME", "~/.cache")


def package_dir(name: str) -> Path:
    """Where an installed package lies, without importing it.  Raises ToolchainError if it is missing."""
    spec = importlib.util.find_spec(name)
    if spec is None or not spec.submodule_search_locations:
        raise ToolchainError(f"the Python package {name!r} is not installed; run: pip install {name}")
    return Path(spec.submodule_search_locations[0])


def package_version(name: str) -> str:
    """Version of an installed distribution.  Raises ToolchainError if it is missing."""
    metadata = importlib.import_module("importlib.metadata")  # slow: not where it can be helped
    try:
        return str(metadata.version(name))
    except metadata.PackageNotFoundError:
        raise ToolchainError(
            f"the Python package {name!r} is not installed; run: pip install {name}"
        ) from None


def package_record(name: str) -> str:
    """What tells versions of an installed package apart; quicker than its version."""
    records = [path.name for path in package_dir(name).parent.glob(f"{name}-*.dist-info")]
    return records[0] if len(records) == 1 else package_version(name)


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
        key.update(f"\0{argument}".encode())
    for path in inputs:
        key.update(hashlib.sha256(path.read_bytes()).digest())
    output = cache_dir() / key.hexdigest()[:24] / name
    if not output.exists():
        if make is None:  # what compiles is imported when there is something to compile
            importlib.import_module("penglai.toolchain.compiler").compile_c(arguments, output)
        else:
            make(output)
    return output
