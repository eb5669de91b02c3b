"""penglai cc, c++, ar and ranlib: the tools that a Makefile calls, each in place of this process.

They write nothing of their own: what configure scripts and build systems look at is what the tools say.
"""

import os
from collections.abc import Callable, Sequence
from typing import NoReturn

from penglai.abi.errors import ToolchainError
from penglai.sdk.build import CXX_LIBRARY, ENCLAVE
from penglai.sdk.commandline import expand, refers_to_cxx_library
from penglai.sdk.cross import compiler_line, links
from penglai.toolchain.clang import NAME
from penglai.toolchain.compiler import zig_path


def become(tool: str, arguments: Sequence[str]) -> NoReturn:
    """Run a tool instead of this process.  Raises ToolchainError if it cannot be run."""
    line = TOOLS[tool](arguments)
    try:
        os.execv(zig_path(), line)  # noqa: S606 - a list of arguments, and no shell is wanted
    except OSError as error:
        raise ToolchainError(f"cannot run the compiler {zig_path()}: {error.strerror}") from error


def _cc(arguments: Sequence[str]) -> list[str]:
    words = expand(arguments)
    library = [CXX_LIBRARY] if links(words) and refers_to_cxx_library(words) else []
    return compiler_line(ENCLAVE, [*words, *library])


def _cxx(arguments: Sequence[str]) -> list[str]:
    return compiler_line(ENCLAVE, expand(arguments), cxx=True)


def _ar(arguments: Sequence[str]) -> list[str]:
    return [NAME, "ar", *arguments]


def _ranlib(arguments: Sequence[str]) -> list[str]:
    return [NAME, "ranlib", *arguments]


TOOLS: dict[str, Callable[[Sequence[str]], list[str]]] = {
    "cc": _cc,
    "c++": _cxx,
    "ar": _ar,
    "ranlib": _ranlib,
}
"""By the command's name, what makes the command line."""
