"""The Linux personality: C that is packed with a program, and answers its system calls inside the enclave."""

import tempfile
from pathlib import Path

from penglai.sdk.cross import SDK
from penglai.toolchain.cache import compile_cached
from penglai.toolchain.clang import clang_line, must_run
from penglai.toolchain.sysroot import TRIPLE, Abi, header_flags, sysroot

DIRECTORY = SDK / "linux"
SCRIPT = DIRECTORY / "linux.lds"
CALLS = DIRECTORY / "calls.h"
"""The table of system calls."""

FLAGS = (
    *("-march=rv64imac_zicsr", "-mabi=lp64", "-mcmodel=medany", "-mno-relax"),
    *("-ffreestanding", "-fno-builtin", "-fno-pic", "-fno-stack-protector", "-ffunction-sections"),
    *("-O2", "-g0", "-D_GNU_SOURCE", "-std=gnu11", "-Wall", "-Wextra", "-Werror"),
    "-Wno-unused-command-line-argument",
)
"""Without instructions for floating-point numbers: those registers are the program's."""


def build_personality() -> Path:
    """The personality's ELF, compiled on first use; it lies at an address that no program has."""
    sources = sorted([*DIRECTORY.glob("*.c"), *DIRECTORY.glob("*.S")])
    headers = sorted(DIRECTORY.glob("*.h"))
    inputs = [*sources, *headers, SCRIPT]
    return compile_cached("personality", FLAGS, inputs, lambda path: _make(sources, path))


def _make(sources: list[Path], output: Path) -> None:
    root = sysroot(Abi.LP64D)  # for its headers
    base = [f"--target={TRIPLE}", f"--sysroot={root}", *header_flags(root), *FLAGS]
    output.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".personality.", dir=output.parent) as name:
        objects = [Path(name, f"{source.name}.o") for source in sources]
        for source, made in zip(sources, objects, strict=True):
            must_run(clang_line([*base, "-c", source, "-o", made]))
        linked = Path(name, "linked")
        must_run(["penglai", "ld.lld", "--gc-sections", "-T", SCRIPT, *objects, "-o", linked])
        linked.replace(output)
