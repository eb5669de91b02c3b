"""The compiler and the cache: everything that is built on the user's machine is built here.

The compiler is Zig's C front end from the `ziglang` package: it needs nothing else on the machine and
brings the headers of every target.  What it makes is kept in a cache directory under a key that covers
all inputs, so each thing is built once; two processes that build the same thing at once both succeed.
"""

import hashlib
import importlib
import importlib.util
import logging
import os
import shlex
import subprocess
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path

import platformdirs

from penglai.abi.errors import ToolchainError

log = logging.getLogger(__name__)

CACHE_VARIABLE = "PENGLAI_CACHE"
"""Environment variable that names another cache directory."""


def cache_dir() -> Path:
    """The directory that holds what was built: $PENGLAI_CACHE, or the user's cache directory."""
    override = os.environ.get(CACHE_VARIABLE)
    return Path(override) if override else platformdirs.user_cache_path("penglai")


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


def zig_path() -> Path:
    """The `zig` program of the ziglang package."""
    return package_dir("ziglang") / "zig"


def compile_c(arguments: Sequence[str | Path], output: Path, *, cxx: bool = False) -> None:
    """Run `zig cc ARGUMENTS -o OUTPUT`; OUTPUT appears whole or not at all.

    cxx: as `zig c++`, which links the C++ library.  Raises ToolchainError with the compiler's own messages.
    """
    _compile(lambda fresh: ["c++" if cxx else "cc", *map(str, arguments), "-o", str(fresh)], output)


def compile_zig(arguments: Sequence[str | Path], output: Path) -> None:
    """Compile Zig to an object file, which appears whole or not at all.  Raises ToolchainError."""
    _compile(lambda fresh: ["build-obj", *map(str, arguments), f"-femit-bin={fresh}"], output)


def _compile(command: Callable[[Path], list[str]], output: Path) -> None:
    """Run zig with command(path of the result), and move the result to its place when it is whole."""
    log.info("compiling %s", output.name)
    try:
        output.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(prefix=f".{output.name}.", dir=output.parent)
    except OSError as error:
        raise ToolchainError(f"cannot write {output}: {error.strerror}") from error
    os.close(handle)
    fresh = Path(name)
    line = [str(zig_path()), *command(fresh)]
    zig_cache = str(cache_dir() / "zig")
    environment = {**os.environ, "ZIG_GLOBAL_CACHE_DIR": zig_cache, "ZIG_LOCAL_CACHE_DIR": zig_cache}
    try:
        done = subprocess.run(line, env=environment, capture_output=True, text=True, check=False)
        if done.returncode != 0:
            raise ToolchainError(f"{shlex.join(line)}\n{done.stderr.strip()}")
        fresh.chmod(0o755)
        fresh.replace(output)
    except OSError as error:
        raise ToolchainError(f"cannot run the compiler {line[0]}: {error}") from error
    finally:
        fresh.unlink(missing_ok=True)


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
        if make is None:
            compile_c(arguments, output)
        else:
            make(output)
    return output
