"""What build systems are told of the cross compiler: a file for each, and programs of one word."""

import hashlib
import shlex
from enum import StrEnum
from pathlib import Path

from penglai.sdk.build import ENCLAVE
from penglai.sdk.cc import TOOLS
from penglai.sdk.cross import SDK, compiler_line
from penglai.toolchain.cache import made_once
from penglai.toolchain.sysroot import Abi, sysroot

DIRECTORY = SDK / "buildsystems"


class BuildSystem(StrEnum):
    """Build systems that there is a file for."""

    AUTOTOOLS = "autotools"
    CMAKE = "cmake"
    MESON = "meson"


FILES = {
    BuildSystem.AUTOTOOLS: "config.site",
    BuildSystem.CMAKE: "toolchain.cmake",
    BuildSystem.MESON: "cross.ini",
}
RUN = ("run", "--exit-value", "--stack-size", "8M")
"""How tests are run: with the stack that they have on Linux."""


def toolchain_file(system: BuildSystem, command: Path) -> Path:
    """The file for a build system.  command: where `penglai` lies.

    The C library is made first, if it has to be.  Raises ToolchainError.
    """
    compiler_line(ENCLAVE, [])
    texts = {name: (DIRECTORY / name).read_text(encoding="utf-8") for name in FILES.values()}
    root = sysroot(Abi.LP64D)
    key = hashlib.sha256(repr((texts, str(command), str(root), RUN)).encode()).hexdigest()[:16]
    return made_once("toolchain", key, lambda fresh: _make(texts, command, root, fresh)) / FILES[system]


def _make(texts: dict[str, str], command: Path, root: Path, fresh: Path) -> None:
    for name, text in texts.items():
        (fresh / name).write_text(text, "utf-8", "surrogateescape")
    for name, words in [*((tool, [tool]) for tool in TOOLS), ("run", RUN)]:
        line = shlex.join([str(command), *words])
        program = fresh / name
        program.write_text(f'#!/bin/sh\nexec {line} "$@"\n', "utf-8", "surrogateescape")
        program.chmod(0o755)
    (fresh / "sysroot").symlink_to(root)
