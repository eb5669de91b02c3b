"""Enclave programs for tests, compiled once: C text or a file of tests/programs."""

import functools
import hashlib
from pathlib import Path

import penglai
from penglai.guest.image.work import locked
from penglai.sdk.build import ENCLAVE
from penglai.sdk.cross import kit_key
from penglai.toolchain.places import cache_dir

PROGRAMS = Path(__file__).parents[1] / "programs"


def compiled(source: str, *flags: str) -> Path:
    """The ELF of a program.  source: the name of a file in tests/programs, or C text."""
    named = PROGRAMS / f"{source}.c" if "\n" not in source and len(source) < 40 else None
    return _compiled((("program.c", named.read_text() if named else source),), (), flags)


def compiled_sources(texts: dict[str, str], files: list[Path], *flags: str) -> Path:
    """The ELF of a program of several sources: texts by file name, and files that lie somewhere."""
    return _compiled(tuple(texts.items()), tuple(files), flags)


@functools.cache
def _compiled(texts: tuple[tuple[str, str], ...], files: tuple[Path, ...], flags: tuple[str, ...]) -> Path:
    inputs = b"".join(path.read_bytes() for path in files)
    key = hashlib.sha256(repr((texts, flags, kit_key(ENCLAVE))).encode() + inputs).hexdigest()[:24]
    directory = cache_dir() / "tests" / key
    target = directory / "program"
    with locked(directory.with_suffix(".lock")):  # several processes may want it first
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
