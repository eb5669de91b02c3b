"""Enclave programs for tests, compiled once: C text or a file of tests/programs."""

import functools
import hashlib
from pathlib import Path

import penglai
from penglai.toolchain import cache_dir

PROGRAMS = Path(__file__).parents[1] / "programs"


def _parts(sdk: Path) -> list[Path]:
    """Whatever decides what a program is compiled to."""
    return [sdk / "build.py", *sorted(sdk.glob("include/*")), *sorted(sdk.glob("lib/*"))]


@functools.cache
def compiled(source: str, *flags: str) -> Path:
    """The ELF of a program.  source: the name of a file in tests/programs, or C text."""
    named = PROGRAMS / f"{source}.c" if "\n" not in source and len(source) < 40 else None
    text = named.read_text() if named else source
    sdk = Path(penglai.__file__).parent / "sdk"
    inputs = b"".join(path.read_bytes() for path in _parts(sdk))
    key = hashlib.sha256(repr((text, flags)).encode() + inputs).hexdigest()[:24]
    directory = cache_dir() / "tests" / key
    target = directory / "program"
    if not target.exists():
        directory.mkdir(parents=True, exist_ok=True)
        path = directory / "program.c"
        path.write_text(text)
        penglai.build(path, target, flags)
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
