"""The facts' programs, compiled: without a C library, for rv64imac, as enclaves of Penglai-TVM's are."""

from pathlib import Path

from tests.compat.fact import Fact
from tests.support.programs import compiled_sources

HERE = Path(__file__).parent
HEADERS = {name: (HERE / name).read_text() for name in ("raw.h", "files.h")}
FLAGS = (
    *("-O1", "-march=rv64imac", "-mabi=lp64", "-nostdlib", "-ffreestanding", "-fno-builtin"),
    *("-Wno-unused-function", "-Wno-unused-variable", "-fno-pic"),
)


def program(body: str, *, server: bool) -> Path:
    """The ELF of an enclave with this body."""
    define = "#define SERVER\n" if server else ""
    text = f'{define}#include "files.h"\nstatic u64 body(const u64 *x)\n{{\n(void)x;\n{body}\n}}\n'
    return compiled_sources({"program.c": text, **HEADERS}, [], *FLAGS)


def build(fact: Fact) -> dict[str, Path]:
    """The ELFs of a fact: "" is the one that is run, the others by the servers' names, and "then"."""
    return {name: program(text, server=name in fact.servers) for name, text in fact.programs().items()}
