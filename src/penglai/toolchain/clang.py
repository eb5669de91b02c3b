"""Zig's clang, lld and archiver, as what they are: the compiler driver, linker and archiver of any Makefile.

`zig cc` is another thing: it reads the command line itself, knows some of clang's options and few of the
linker's, and has spellings of its own for others.
"""

import subprocess
from collections.abc import Sequence
from pathlib import Path

from penglai.abi.errors import ToolchainError
from penglai.toolchain.compiler import FILE_NAMES, want_of_memory, zig_path

NAME = "penglai"
"""What clang calls itself in its messages."""


def clang_line(arguments: Sequence[str | Path]) -> list[str]:
    """The command line of clang, with no option but these; its first word is no path: run `zig_path()`."""
    return [NAME, "clang", "--no-default-config", *map(str, arguments)]


def run_tool(line: Sequence[str | Path]) -> subprocess.CompletedProcess[str]:
    """Run one of zig's tools to its end, and have what it writes.  Raises ToolchainError if it cannot run."""
    words = [str(word) for word in line]
    try:
        return subprocess.run(
            words, executable=zig_path(), capture_output=True, text=True, errors=FILE_NAMES, check=False
        )
    except OSError as error:
        raise ToolchainError(f"cannot run the compiler {zig_path()}: {error.strerror}") from error


def must_run(line: Sequence[str | Path]) -> str:
    """Run one of zig's tools, and return what it writes.  Raises ToolchainError with it if it fails."""
    done = run_tool(line)
    if done.returncode:
        said = want_of_memory(done) or done.stderr.strip()
        raise ToolchainError(said or f"the compiler ended with {done.returncode}")
    return done.stdout
