"""Compiling host programs: C and C++ for Linux on RISC-V, with the C host library."""

from collections.abc import Sequence
from pathlib import Path

from penglai.abi.errors import ImageError
from penglai.sdk.build import (
    DEFAULT_OPTIMISATION,
    LENIENCE,
    SDK,
    TARGET,
    Source,
    has_cxx,
    plan,
    strip_flags,
)
from penglai.toolchain.cache import compile_cached
from penglai.toolchain.compiler import compile_c

HOST = SDK / "host"
INCLUDE = HOST / "include"
LIBRARY = tuple(sorted((HOST / "lib").glob("*.c")))
HEADERS = tuple(sorted(path for name in ("include", "lib", "demos") for path in (HOST / name).glob("*.h")))
DEMOS = HOST / "demos"
COMMON = DEMOS / "common.c"
"""What all demos are linked with; no demo itself."""

COMPILE_FLAGS = (
    *TARGET,
    "-fno-sanitize=undefined",
    "-UNDEBUG",  # assert() is there unless the program says otherwise; zig would drop it from -O1 on
    f"-I{INCLUDE}",
)
LIBRARY_FLAGS = ("-c", "-O2", "-g0", "-std=c11", "-Wall", "-Wextra", "-Werror")
DEMO_FLAGS = (DEFAULT_OPTIMISATION, "-g0", "-std=gnu11", "-Wall", "-Wextra", "-Werror")
LINK_FLAGS = ("-static", "-Wl,--build-id=none")


def build_host(
    sources: Source | Sequence[Source], output: Source | None = None, flags: Sequence[str] = ()
) -> Path:
    """Compile C or C++ sources to a static Linux program, and return its path.

    output: by default the first source's name without its suffix.  flags: more flags for the compiler, such
    as "-O1", "-g" or "-DLIMIT=3"; the default is -O2.  Raises ToolchainError with the compiler's messages.
    """
    paths, target = plan(sources, output)
    own = [*COMPILE_FLAGS, *LENIENCE, DEFAULT_OPTIMISATION]
    arguments: list[str | Path] = [*own, *flags, *paths, *_library(), *LINK_FLAGS, *strip_flags(flags)]
    compile_c(arguments, target, cxx=has_cxx(paths))
    return target


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
    own: list[str | Path] = [*COMPILE_FLAGS, *DEMO_FLAGS, *sources, *_library()]
    arguments = [*own, *LINK_FLAGS, "-Wl,--strip-all"]
    return compile_cached(name, arguments, [*sources, *LIBRARY, *HEADERS])


def module_dir() -> Path:
    """Where the sources of the kernel module, penglai.ko, lie."""
    return SDK / "module"


def _library() -> list[Path]:
    """The host library, compiled on first use."""
    return [_library_object(source) for source in LIBRARY]


def _library_object(source: Path) -> Path:
    arguments: list[str | Path] = [*COMPILE_FLAGS, *LIBRARY_FLAGS, source]
    return compile_cached(f"host-{source.stem}.o", arguments, [source, *HEADERS])
