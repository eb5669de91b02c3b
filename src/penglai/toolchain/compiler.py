"""The compiler: Zig's C front end from the `ziglang` package.

It needs nothing else on the machine and brings the headers of every target.
"""

import contextlib
import logging
import os
import shlex
import signal
import subprocess
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextvars import ContextVar
from pathlib import Path

from penglai.abi.errors import ToolchainError
from penglai.toolchain.places import cache_dir, package_dir

log = logging.getLogger(__name__)

FILE_NAMES = "surrogateescape"
"""How text is decoded that has names of files, which are any bytes."""


_listener: ContextVar[Callable[[str], object] | None] = ContextVar("listener", default=None)


@contextlib.contextmanager
def telling(listener: Callable[[str], object]) -> Iterator[None]:
    """Call listener(name of the result) for whatever this thread compiles meanwhile."""
    token = _listener.set(listener)
    try:
        yield
    finally:
        _listener.reset(token)


def zig_path() -> Path:
    """The `zig` program of the ziglang package."""
    return package_dir("ziglang") / "zig"


def want_of_memory(done: subprocess.CompletedProcess[str]) -> str | None:
    """What to say of a run of zig that failed for want of memory; None if it was not that."""
    if done.returncode == -signal.SIGKILL or "OutOfMemory" in done.stderr:
        return "the compiler had too little memory, or address space (ulimit -v)"
    return None


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
    if (listener := _listener.get()) is not None:
        listener(output.name)
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
        done = subprocess.run(
            line, env=environment, capture_output=True, text=True, errors=FILE_NAMES, check=False
        )
        if done.returncode != 0:
            raise ToolchainError(want_of_memory(done) or f"{shlex.join(line)}\n{done.stderr.strip()}")
        fresh.chmod(0o755)
        fresh.replace(output)
    except OSError as error:
        raise ToolchainError(f"cannot run the compiler {line[0]}: {error}") from error
    finally:
        fresh.unlink(missing_ok=True)
