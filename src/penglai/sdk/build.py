"""Compiling enclave programs."""

from collections.abc import Sequence
from os import PathLike
from pathlib import Path

from penglai.abi.errors import ImageError, ToolchainError
from penglai.toolchain import compile_c, compile_cached

SDK = Path(__file__).parent
INCLUDE = SDK / "include"
LIBRARY = (SDK / "lib" / "entry.S", SDK / "lib" / "eapp.c", SDK / "lib" / "print.c")
LINKER_SCRIPT = SDK / "lib" / "penglai.lds"
DEMOS = SDK / "demos"

FLAGS = (
    *("-target", "riscv64-freestanding-none", "-mcpu=generic_rv64+m+a+f+d+c", "-mabi=lp64d"),
    *("-mcmodel=medany", "-ffreestanding", "-fno-sanitize=undefined", "-fno-stack-protector"),
    *("-ffunction-sections", "-fdata-sections", "-nostdlib", "-static"),
    f"-I{INCLUDE}",
)
"""Flags of every enclave program: bare rv64gc, the SDK's headers."""

LINK_FLAGS = (f"-Wl,-T,{LINKER_SCRIPT}", "-Wl,--gc-sections", "-Wl,--build-id=none")
DEFAULT_OPTIMISATION = "-O2"

Source = str | PathLike[str]


def build(
    sources: Source | Sequence[Source], output: Source | None = None, flags: Sequence[str] = ()
) -> Path:
    """Compile C (or assembler) sources to an enclave ELF, and return its path.

    output: by default the first source's name without its suffix.  flags: more flags for the compiler, such
    as "-O1", "-g" or "-DLIMIT=3"; the default is -O2.  Raises ToolchainError with the compiler's messages.
    """
    paths = [Path(source) for source in ([sources] if isinstance(sources, str | PathLike) else sources)]
    if not paths:
        raise ToolchainError("nothing to build: name a C file")
    for path in paths:
        if not path.is_file():
            raise ToolchainError(f"no such file: {path}")
    target = Path(output) if output is not None else paths[0].with_suffix("")
    if target.exists() and any(target.samefile(path) for path in paths):
        raise ToolchainError(f"the result would overwrite its source {target}; name another with -o")
    compile_c(_arguments(paths, flags), target)
    return target


def demos() -> list[str]:
    """Names of the enclave programs that the package ships."""
    return sorted(path.stem for path in DEMOS.glob("*.c"))


def build_demo(name: str) -> Path:
    """The ELF of a shipped demo, compiled on first use.  Raises ImageError for an unknown name."""
    source = DEMOS / f"{name}.c"
    if name not in demos():
        raise ImageError(f"no demo {name!r}; there are {', '.join(demos())}")
    inputs = [source, *LIBRARY, LINKER_SCRIPT, *sorted(INCLUDE.glob("*.h"))]
    return compile_cached(name, _arguments([source], ()), inputs)


def find_image(name: str) -> Path:
    """The file that an image's name means: a path that exists, else a shipped demo.

    Raises ImageError if it is neither.
    """
    path = Path(name)
    if path.is_file() or name not in demos():
        if not path.exists():
            raise ImageError(
                f"no such file: {name} (and no demo of that name; there are {', '.join(demos())})"
            )
        return path
    return build_demo(name)


def _arguments(sources: Sequence[Path], flags: Sequence[str]) -> list[str | Path]:
    return [*FLAGS, DEFAULT_OPTIMISATION, *flags, *LINK_FLAGS, *LIBRARY, *sources]
