"""Compiling enclave programs: C, C++, Zig and assembler, with the C library of the toolchain."""

import re
import tempfile
from collections.abc import Sequence
from os import PathLike
from pathlib import Path

from penglai.abi.errors import ImageError, ToolchainError
from penglai.toolchain.cache import compile_cached
from penglai.toolchain.compiler import compile_c, compile_zig

SDK = Path(__file__).parent
INCLUDE = SDK / "include"
LIBRARY = tuple(sorted(path for path in (SDK / "lib").iterdir() if path.suffix in (".c", ".S")))
LINKER_SCRIPT = SDK / "lib" / "penglai.lds"
DEMOS = SDK / "demos"

CXX_SUFFIXES = (".cpp", ".cc", ".cxx")
ZIG_SUFFIX = ".zig"
DEMO_SUFFIXES = (".c", *CXX_SUFFIXES, ZIG_SUFFIX)

TARGET = ("-target", "riscv64-linux-musl", "-mcpu=generic_rv64+m+a+f+d+c")
COMPILE_FLAGS = (
    *TARGET,
    *("-fno-sanitize=undefined", "-fno-stack-protector", "-ffunction-sections", "-fdata-sections"),
    "-UNDEBUG",  # assert() is there unless the program says otherwise; zig would drop it from -O1 on
    f"-I{INCLUDE}",
)
LENIENCE = tuple(
    f"-Wno-error={warning}"
    for warning in (
        "implicit-function-declaration",
        "implicit-int",
        "int-conversion",
        "incompatible-pointer-types",
        "incompatible-function-pointer-types",
        "return-type",
    )
)
"""What the C of Penglai's own time took with a warning is a warning here too."""

LINK_FLAGS = (
    *("-static", f"-Wl,-T,{LINKER_SCRIPT}", "-Wl,--entry=eapp_start"),
    *("-Wl,--gc-sections", "-Wl,--build-id=none"),
)
LIBRARY_FLAGS = ("-c", "-O2", "-g0", "-std=gnu11", "-D_GNU_SOURCE", "-Wall", "-Wextra", "-Werror")
DEFAULT_OPTIMISATION = "-O2"

ZIG_MODES = {"-O0": "Debug", "-O1": "ReleaseSafe", "-Os": "ReleaseSmall", "-Oz": "ReleaseSmall"}
"""Zig's optimisation for C's; ReleaseFast for all others."""

Source = str | PathLike[str]


def build(
    sources: Source | Sequence[Source], output: Source | None = None, flags: Sequence[str] = ()
) -> Path:
    """Compile C, C++, Zig or assembler sources to an enclave ELF, and return its path.

    output: by default the first source's name without its suffix.  flags: more flags for the compiler, such
    as "-O1", "-g" or "-DLIMIT=3"; the default is -O2.  Raises ToolchainError with the compiler's messages.
    """
    paths, target = plan(sources, output)
    with tempfile.TemporaryDirectory(prefix="penglai-") as directory:
        inputs = [_zig_object(path, Path(directory), flags) for path in paths]
        compile_c(_arguments(inputs, flags), target, cxx=has_cxx(paths))
    return target


def plan(sources: Source | Sequence[Source], output: Source | None) -> tuple[list[Path], Path]:
    """The sources, and the path of what is made from them: by default the first one's without its suffix.

    Raises ToolchainError if a source is missing, or would be overwritten.
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
    return paths, target


def has_cxx(paths: Sequence[Path]) -> bool:
    """True if a C++ library is needed."""
    return any(path.suffix in CXX_SUFFIXES for path in paths)


def strip_flags(flags: Sequence[str]) -> tuple[str, ...]:
    """Debug information is kept if a flag asks for it."""
    return () if any(flag.startswith("-g") for flag in flags) else ("-Wl,--strip-debug",)


def demos() -> list[str]:
    """Names of the enclave programs that the package ships."""
    return sorted(path.stem for path in DEMOS.iterdir() if path.suffix in DEMO_SUFFIXES)


def demo_source(name: str) -> Path:
    """The source of a shipped demo.  Raises ImageError for an unknown name."""
    for suffix in DEMO_SUFFIXES:
        source = DEMOS / f"{name}{suffix}"
        if source.is_file():
            return source
    raise ImageError(f"no demo {name!r}; there are {', '.join(demos())}")


def build_demo(name: str) -> Path:
    """The ELF of a shipped demo, compiled on first use.  Raises ImageError for an unknown name."""
    source = demo_source(name)
    inputs = [source, LINKER_SCRIPT, *LIBRARY, *_headers()]

    def make(output: Path) -> None:
        with tempfile.TemporaryDirectory(prefix="penglai-") as directory:
            made = _zig_object(source, Path(directory), ())
            compile_c(_arguments([made], ()), output, cxx=has_cxx([source]))

    return compile_cached(name, [source, *LINK_FLAGS], inputs, make)


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
    own = [*COMPILE_FLAGS, *LENIENCE, DEFAULT_OPTIMISATION]
    return [*own, *flags, *sources, *LINK_FLAGS, *strip_flags(flags), *_library()]


def _headers() -> list[Path]:
    return [*sorted(INCLUDE.glob("*.h")), *sorted((SDK / "lib").glob("*.h"))]


def _library() -> list[Path]:
    """The SDK's own part of every program, compiled on first use; what is not called is not linked."""
    return [_library_object(source) for source in LIBRARY]


def _library_object(source: Path) -> Path:
    flags = [*COMPILE_FLAGS, *(LIBRARY_FLAGS if source.suffix == ".c" else ("-c",))]
    return compile_cached(f"{source.stem}.o", [*flags, source], [source, *_headers()])


def _zig_object(path: Path, directory: Path, flags: Sequence[str]) -> Path:
    """The object file of a Zig source; any other source as it is."""
    if path.suffix != ZIG_SUFFIX:
        return path
    levels = [flag for flag in flags if re.fullmatch(r"-O\w*", flag)]
    mode = ZIG_MODES.get(levels[-1] if levels else DEFAULT_OPTIMISATION, "ReleaseFast")
    target = directory / f"{path.stem}.zig.o"
    compile_zig([*TARGET, "-O", mode, "-lc", "-fno-stack-protector", "-ffunction-sections", path], target)
    return target
