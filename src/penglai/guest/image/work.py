"""Doing long things: programs that run to their end, results that appear whole, and telling what goes on."""

import contextlib
import fcntl
import itertools
import os
import shlex
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

from penglai.abi.errors import ToolchainError
from penglai.guest.image.current import root
from penglai.toolchain.compiler import telling
from penglai.toolchain.kept import OUTERMOST, SEAL, is_intact, seal

LINES_SHOWN = 20
"""Of a program that failed."""

Tell = Callable[[str, int], None]
"""tell(what, steps): what is being done, and how many small steps of it are."""


def quiet(_what: str, _steps: int) -> None:
    """Tells nobody."""


@contextlib.contextmanager
def compiling(what: str, tell: Tell) -> Iterator[None]:
    """Tell of what the toolchain compiles meanwhile; of what is in the cache nothing is told."""
    count = itertools.count(1)
    with telling(lambda _name: tell(f"compiling {what}", next(count))):
        yield


def run(
    line: Sequence[str | Path],
    directory: Path,
    *,
    environment: Mapping[str, str] | None = None,
    on_line: Callable[[str], None] = lambda _line: None,
    stdin: bytes = b"",
    log: str = "",
) -> None:
    """Run a program to its end, with its output line by line.

    log: name of the file that has all of its output if it fails; by default the program's.

    Raises ToolchainError with the end of its output if it fails.  It stays in this process's group: Ctrl-C
    reaches it and its children at whatever moment it comes.
    """
    words = [str(word) for word in line]
    output: list[str] = []
    with tempfile.TemporaryFile() as source:
        source.write(stdin)
        source.seek(0)
        try:
            process = subprocess.Popen(
                words,
                cwd=directory,
                env={**os.environ, "LC_ALL": "C", **(environment or {})},
                stdin=source,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
                errors="replace",
            )
        except OSError as error:
            raise ToolchainError(f"cannot run {words[0]}: {error.strerror}") from error
        with process, _terminated(process):
            assert process.stdout is not None
            for text in process.stdout:
                output.append(text)
                on_line(text)
    if process.returncode:
        end = "".join(output[-LINES_SHOWN:]).rstrip()
        where = _keep(log or Path(words[0]).name, "".join(output))
        raise ToolchainError(f"{shlex.join(words)} failed with status {process.returncode}:\n{end}{where}")


def _keep(name: str, output: str) -> str:
    """Keep the output of a program that failed, and say where; nothing if there is no room for it."""
    path = root() / "logs" / f"{name}.log"
    with contextlib.suppress(ToolchainError):
        write_whole(path, output.encode())
        return f"\nall that it said is in {path}"
    return ""


@contextlib.contextmanager
def _terminated(process: subprocess.Popen[str]) -> Iterator[None]:
    """Should this process alone be interrupted, the other one ends too."""
    try:
        yield
    except BaseException:
        process.terminate()
        raise


def once(target: Path, make: Callable[[Path], None]) -> Path:
    """The directory `target`; the first time, what make(an empty directory) fills.

    It appears whole or not at all, and is made again if one of its outermost files is found damaged.  Of
    several processes that want it at once, one makes it.  What a process left that was killed while it made
    it is removed.
    """
    if _is_sound(target):
        return target
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with locked(target.with_name(f".{target.name}.lock")):
            if not _is_sound(target):
                _remove_debris(target)
                fresh = Path(tempfile.mkdtemp(prefix=f".{target.name}.", dir=target.parent))
                try:
                    make(fresh)
                    fresh.chmod(0o755)
                    seal(fresh, OUTERMOST)
                    shutil.rmtree(target, ignore_errors=True)
                    fresh.rename(target)
                finally:
                    shutil.rmtree(fresh, ignore_errors=True)
    except OSError as error:
        raise ToolchainError(f"cannot build in {target.parent}: {error.strerror or error}") from error
    return target


def _is_sound(target: Path) -> bool:
    """True for what is there as it was made; of what has no seal, being older, nothing is known."""
    return target.exists() and (not (target / SEAL).exists() or is_intact(target, OUTERMOST))


def write_whole(path: Path, content: bytes) -> None:
    """Write a file that appears whole or not at all.  Raises ToolchainError."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
        with os.fdopen(handle, "wb") as file:
            file.write(content)
        Path(name).chmod(0o644)
        Path(name).rename(path)
    except OSError as error:
        raise ToolchainError(f"cannot write {path}: {error.strerror}") from error


def _remove_debris(target: Path) -> None:
    """Half-made results; who holds the lock knows that nobody is making them any more."""
    for path in target.parent.glob(f".{target.name}.*"):
        if path.is_dir():
            shutil.rmtree(path, ignore_errors=True)


@contextlib.contextmanager
def locked(path: Path) -> Iterator[None]:
    """For one process at a time; the others wait.  Raises ToolchainError if there cannot be such a file."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise ToolchainError(f"cannot write {path}: {error.strerror}") from error
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)
