"""Enclave programs for tests, compiled once: C text or a file of tests/programs."""

import functools
import hashlib
from pathlib import Path

import penglai
from penglai.toolchain.cache import cache_dir

PROGRAMS = Path(__file__).parents[1] / "programs"


def _parts(sdk: Path) -> list[Path]:
    """Whatever decides what a program is compiled to."""
    return [sdk / "build.py", *sorted(sdk.glob("include/*")), *sorted(sdk.glob("lib/*"))]


def compiled(source: str, *flags: str) -> Path:
    """The ELF of a program.  source: the name of a file in tests/programs, or C text."""
    named = PROGRAMS / f"{source}.c" if "\n" not in source and len(source) < 40 else None
    return _compiled((("program.c", named.read_text() if named else source),), (), flags)


def compiled_sources(texts: dict[str, str], files: list[Path], *flags: str) -> Path:
    """The ELF of a program of several sources: texts by file name, and files that lie somewhere."""
    return _compiled(tuple(texts.items()), tuple(files), flags)


@functools.cache
def _compiled(texts: tuple[tuple[str, str], ...], files: tuple[Path, ...], flags: tuple[str, ...]) -> Path:
    sdk = Path(penglai.__file__).parent / "sdk"
    inputs = b"".join(path.read_bytes() for path in (*_parts(sdk), *files))
    key = hashlib.sha256(repr((texts, flags)).encode() + inputs).hexdigest()[:24]
    directory = cache_dir() / "tests" / key
    target = directory / "program"
    if not target.exists():
        directory.mkdir(parents=True, exist_ok=True)
        for name, text in texts:
            (directory / name).write_text(text)
        own = [directory / name for name, _ in texts if name.endswith(".c")]
        penglai.build([*own, *files], target, flags)
    return target


def eapp(body: str, *flags: str) -> Path:
    """An enclave program whose main has this body; print.h and ocall.h are there, and `args`."""
    text = f"""#include "eapp.h"
#include "print.h"
#include "ocall.h"
int EAPP_ENTRY main(void)
{{
    unsigned long *args;
    EAPP_RESERVE_REG;
    {body}
    EAPP_RETURN(0);
}}
"""
    return compiled(text, *flags)
