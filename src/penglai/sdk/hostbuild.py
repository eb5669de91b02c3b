"""Compiling host programs: C and C++ for Linux on RISC-V, with the C host library."""

from collections.abc import Sequence
from pathlib import Path

from penglai.abi.errors import ImageError
from penglai.sdk.build import Source, build_sources
from penglai.sdk.cross import SDK, Kind, kit_key
from penglai.toolchain.cache import compile_cached

DIRECTORY = SDK / "host"
HOST = Kind(
    name="host",
    include=DIRECTORY / "include",
    library=tuple(sorted((DIRECTORY / "lib").glob("*.c"))),
    standard="-std=c11",
    own=("-fsanitize-trap=undefined",),  # here is no library that would print messages
)
"""Programs for Linux."""

DEMOS = DIRECTORY / "demos"
COMMON = DEMOS / "common.c"
"""What all demos are linked with; no demo itself."""

DEMO_FLAGS = ("-g0", "-std=gnu11", "-Wall", "-Wextra", "-Werror", "-Wl,--strip-all")


def build_host(
    sources: Source | Sequence[Source], output: Source | None = None, flags: Sequence[str] = ()
) -> Path:
    """Compile C or C++ sources to a static Linux program, and return its path.

    output: by default the first source's name without its suffix.  flags: more words for the compiler, such
    as "-O1", "-g", "-DLIMIT=3" or "-lname"; the default is -O2.

    Raises ToolchainError with the compiler's messages.
    """
    return build_sources(HOST, sources, output, flags)


def host_demos() -> list[str]:
    """Names of the host programs that the package ships."""
    return sorted(path.stem for path in DEMOS.glob("*.c") if path != COMMON)


def host_demo_source(name: str) -> Path:
    """The source of a shipped host program.  Raises ImageError for an unknown name."""
    if name not in host_demos():
        raise ImageError(f"no host program {name!r}; there are {', '.join(host_demos())}")
    return DEMOS / f"{name}.c"


def build_host_demo(name: str) -> Path:
    """A shipped host program, compiled on first use.  Raises ImageError for an unknown name."""
    sources = [host_demo_source(name), COMMON]

    def make(output: Path) -> None:
        build_host(sources, output, DEMO_FLAGS)

    headers = sorted(DEMOS.glob("*.h"))
    return compile_cached(name, [*DEMO_FLAGS, kit_key(HOST)], [*sources, *headers], make)


def module_dir() -> Path:
    """Where the sources of the kernel module, penglai.ko, lie."""
    return SDK / "module"
