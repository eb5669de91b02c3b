"""The programs that are measured, compiled on first use."""

import functools
import io
import tempfile
from collections.abc import Sequence
from pathlib import Path

from elftools.elf.elffile import ELFFile

import penglai
from penglai.sdk.build import ENCLAVE
from penglai.sdk.cross import SDK, kit_key
from penglai.toolchain.cache import compile_cached
from penglai.toolchain.compiler import compile_c

HERE = Path(__file__).parent
RISCV = ("-target", "riscv64-linux-musl", "-mcpu=generic_rv64+m+a+f+d+c")
BARE = ("-ffreestanding", "-fno-builtin", "-fno-sanitize=undefined", "-fno-stack-protector")
LAYOUT = SDK / "lib" / "penglai.lds"
PROGRAM_SIZE = 32 << 10
"""About what the code and data of life.c take."""
ENTRY_FIELD = slice(24, 32)
"""Of an ELF header: the entry."""


@functools.cache
def enclave(source: str, *flags: str, more: tuple[Path, ...] = ()) -> bytes:
    """The ELF of an enclave program of this directory, with more sources from anywhere."""
    sources = [HERE / source, *more]
    inputs = [*sources, *sorted(HERE.glob("*.h"))]

    def make(output: Path) -> None:
        penglai.build(sources, output, flags)

    return compile_cached(Path(source).stem, [source, *flags, kit_key(ENCLAVE)], inputs, make).read_bytes()


@functools.lru_cache(maxsize=2)
def life(size: int) -> bytes:
    """life.c with an image of about this size, entered at its own first instruction; not kept."""
    with tempfile.TemporaryDirectory() as directory:
        flags = ["-g0", f"-DBALLAST={max(4096, size - PROGRAM_SIZE)}"]  # -g0: symbols are kept
        data = bytearray(penglai.build(HERE / "life.c", Path(directory, "life"), flags).read_bytes())
    symbol = ELFFile(io.BytesIO(data)).get_section_by_name(".symtab").get_symbol_by_name("first_instruction")
    data[ENTRY_FIELD] = symbol[0]["st_value"].to_bytes(8, "little")
    return bytes(data)


def native(source: str, *flags: str, more: tuple[Path, ...] = ()) -> Path:
    """A program of this directory for this machine."""
    return _program(f"{Path(source).stem}-native", source, flags, more)


def user(source: str, *flags: str, more: tuple[Path, ...] = ()) -> Path:
    """The same for Linux on RISC-V, static: for qemu-riscv64."""
    return _program(f"{Path(source).stem}-riscv", source, (*RISCV, "-static", *flags), more)


def bare(source: str, *flags: str, more: tuple[Path, ...] = ()) -> bytes:
    """The same with no system below it: it begins at bare_start."""
    link = ("-nostdlib", "-static", f"-Wl,-T,{LAYOUT}", "-Wl,--entry=bare_start")
    name = f"{Path(source).stem}-bare"
    return _program(name, source, (*RISCV, "-DBARE", *link, *flags), more).read_bytes()


def _program(name: str, source: str, flags: Sequence[str], more: Sequence[Path]) -> Path:
    sources = [HERE / source, *more]
    inputs = [*sources, LAYOUT, *sorted(HERE.glob("*.h"))]
    arguments = ["-O2", *BARE[2:], *flags, *sources]
    return compile_cached(name, arguments, inputs, lambda output: compile_c(arguments, output))
