"""What a compiler's command line says, as far as building a program has to know it.

Which words are inputs, and of what language, clang is asked: it knows all of its options.
"""

import itertools
import re
import shlex
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from penglai.abi.errors import ToolchainError
from penglai.sdk.cross import Kind, compiler_line
from penglai.toolchain.clang import run_tool

INPUT = re.compile(r'\d+: input, "(.*)", ([\w+-]+)$', re.MULTILINE)
LINKER = re.compile(r"\d+: linker, ")
MISSING = re.compile(r"no such file or directory: '(.*)'")
MAX_NESTED_FILES = 100
OBJECT = "object"
"""What clang calls the language of whatever it leaves to the linker."""


@dataclass(frozen=True)
class Input:
    """An input of the compiler: its name, and its language as clang calls it."""

    name: str
    language: str


@dataclass(frozen=True)
class Reading:
    """What clang makes of a command line: its inputs in order, and whether it links them."""

    inputs: tuple[Input, ...]
    links: bool


def read(kind: Kind, words: Sequence[str]) -> Reading:
    """Ask clang.  words: without response files.  Raises ToolchainError with its message if it refuses."""
    done = run_tool(compiler_line(kind, ["-ccc-print-phases", *words]))
    inputs = tuple(Input(name, language) for name, language in INPUT.findall(done.stderr))
    if missing := MISSING.search(done.stderr):
        raise ToolchainError(f"no such file: {missing[1]}")
    if done.returncode and not inputs:
        raise ToolchainError(done.stderr.strip())
    return Reading(inputs, bool(LINKER.search(done.stderr)))


def expand(words: Sequence[str]) -> list[str]:
    """The words with those of response files, @FILE, in place; what names no file stays, as in gcc.

    Raises ToolchainError for files that name each other without end, or have a quote too few.
    """
    return [word for given in words for word in _expanded(given, 0)]


def _expanded(word: str, depth: int) -> Iterator[str]:
    path = Path(word[1:])
    if not word.startswith("@") or not path.is_file():
        yield word
        return
    if depth == MAX_NESTED_FILES:
        raise ToolchainError(f"{word} names itself")
    for inner in _words(path):
        yield from _expanded(inner, depth + 1)


def _words(path: Path) -> list[str]:
    """Words as gcc reads them from a file: between blanks, with quotes of both kinds, and backslashes."""
    lexer = shlex.shlex(path.read_text(encoding="utf-8", errors="surrogateescape"), posix=True)
    lexer.whitespace_split = True
    lexer.commenters = ""
    lexer.escapedquotes = "\"'"
    try:
        return list(lexer)
    except ValueError as error:
        raise ToolchainError(f"@{path} cannot be read: {error}") from error


def refers_to_cxx_library(words: Sequence[str]) -> bool:
    """True if an object file or archive that the words name needs the C++ library."""
    from penglai.sdk.objects import refers_to_cxx  # noqa: PLC0415 - late, for a quick start of `penglai cc`

    return any(refers_to_cxx(path) for path in (*_files(words), *_libraries(words)))


def _files(words: Sequence[str]) -> Iterator[Path]:
    return (Path(word) for word in words if not word.startswith("-") and Path(word).is_file())


def _libraries(words: Sequence[str]) -> Iterator[Path]:
    """The archives that -l means, in the directories of -L."""
    directories = [Path(value) for value in _values(words, "-L")]
    for name in _values(words, "-l"):
        file = name.removeprefix(":") if name.startswith(":") else f"lib{name}.a"
        yield from [path for directory in directories if (path := directory / file).is_file()][:1]


def _values(words: Sequence[str], option: str) -> Iterator[str]:
    """Values of an option, which may be part of its word, or the next one."""
    for word, after in itertools.pairwise([*words, ""]):
        if word.startswith(option):
            yield word.removeprefix(option) or after
