"""Programs for Linux, static, compiled once: files of tests/personality/programs, or C text."""

import functools
import hashlib
from pathlib import Path

import penglai
from penglai.sdk.cross import kit_key
from penglai.sdk.hostbuild import HOST
from penglai.toolchain.cache import cache_dir

PROGRAMS = Path(__file__).parents[1] / "personality" / "programs"


@functools.cache
def linux_program(source: str | Path, *flags: str) -> Path:
    """The ELF.  source: a path, the name of a file there, or the text of a C program."""
    is_text = isinstance(source, str) and "\n" in source
    path = None if is_text else PROGRAMS / source
    text = str(source) if path is None else path.read_text()
    suffix = ".cpp" if path is not None and path.suffix == ".cpp" else ".c"
    if path is not None and path.parent != PROGRAMS:
        flags = (*flags, f"-I{path.parent}")
    key = hashlib.sha256(repr((text, flags, kit_key(HOST))).encode()).hexdigest()[:24]
    directory = cache_dir() / "tests" / key
    target = directory / "program"
    if not target.exists():
        directory.mkdir(parents=True, exist_ok=True)
        (directory / f"source{suffix}").write_text(text)
        penglai.build_host(directory / f"source{suffix}", target, [*flags, "-Wno-format-pedantic"])
    return target
