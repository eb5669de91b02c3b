"""The programs that are measured, compiled on first use."""

import functools
import io
import tempfile
from collections.abc import Sequence
from pathlib import Path

from elftools.elf.elffile import ELFFile

import penglai
from penglai.sdk.build import INCLUDE, LIBRARY, LINKER_SCRIPT
from penglai.toolchain import compile_c, compile_cached

HERE = Path(__file__).parent
RISCV = ("-target", "riscv64-linux-musl", "-mcpu=generic_rv64+m+a+f+d+c")
BARE = ("-ffreestanding", "-fno-builtin", "-fno-sanitize=undefined", "-fno-stack-protector")
PROGRAM_SIZE = 32 << 10
"""About what the code and data of life.c take."""
ENTRY_FIELD = slice(24, 32)
"""Of an ELF header: the entry."""


@functools.cache
def enclave(source: str, *flags: str) -> bytes:
    """The ELF of an enclave program of this directory."""
    inputs = [HERE / source, LINKER_SCRIPT, *LIBRARY, *sorted(INCLUDE.glob("*.h")), *sorted(HERE.glob("*.h"))]

    def make(output: Path) -> None:
        penglai.build(HERE / source, output, flags)

    return compile_cached(Path(source).stem, [source, *flags], inputs, make).read_bytes()


@functools.lru_cache(maxsize=2)
def life(size: int) -> bytes:
    """life.c with an image of about this size, entered at its own first instruction; not kept."""
    with tempfile.TemporaryDirectory() as directory:
        flags = ["-g0", f"-DBALLAST={max(4096, size - PROGRAM_SIZE)}"]  # -g0: symbols are kept
        data = bytearray(penglai.build(HERE / "life.c", Path(directory, "life"), flags).read_bytes())
    symbol = ELFFile(io.BytesIO(data)).get_section_by_name(".symtab").get_symbol_by_name("first_instruction")
    data[ENTRY_FIELD] = symbol[0]["st_value"].to_bytes(8, "little")
    return bytes(data)


def native(source: str, *flags: str) -> Path:
    """A program of this directory for this machine."""
    return _program(f"{Path(source).stem}-native", source, flags)


def user(source: str, *flags: str) -> Path:
    """The same for Linux on RISC-V, static: for qemu-riscv64."""
    return _program(f"{Path(source).stem}-riscv", source, (*RISCV, "-static", *flags))


def bare(source: str, *flags: str) -> bytes:
    """The same with no system below it: it begins at bare_start."""
    link = ("-nostdlib", "-static", f"-Wl,-T,{LINKER_SCRIPT}", "-Wl,--entry=bare_start")
    return _program(f"{Path(source).stem}-bare", source, (*RISCV, "-DBARE", *link, *flags)).read_bytes()


def _program(name: str, source: str, flags: Sequence[str]) -> Path:
    inputs = [HERE / source, LINKER_SCRIPT]
    arguments = ["-O2", *BARE[2:], *flags, HERE / source]
    return compile_cached(name, arguments, inputs, lambda output: compile_c(arguments, output))
