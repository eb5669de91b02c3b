"""The compiler: Zig's C front end from the `ziglang` package.

It needs nothing else on the machine and brings the headers of every target.
"""

import logging
import os
import shlex
import subprocess
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path

from penglai.abi.errors import ToolchainError
from penglai.toolchain.cache import cache_dir, package_dir

log = logging.getLogger(__name__)


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
