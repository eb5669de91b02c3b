"""Building enclave programs: C, C++, Zig and assembler, with the C library of the toolchain."""

import logging
import re
import shlex
import subprocess
import tempfile
from collections.abc import Callable, Sequence
from os import PathLike
from pathlib import Path

from penglai.abi.errors import ImageError, ToolchainError
from penglai.abi.profile import ProfileName
from penglai.sdk.commandline import OBJECT, Reading, expand, read, refers_to_cxx_library
from penglai.sdk.cross import SDK, Kind, compiler_line, kit_key
from penglai.sdk.output import writing
from penglai.sdk.portable import make_portable
from penglai.toolchain.cache import compile_cached
from penglai.toolchain.compiler import FILE_NAMES, compile_zig, zig_path

log = logging.getLogger(__name__)

LIB = SDK / "lib"
LIBRARIES = SDK / "libraries"
DEMOS = SDK / "demos"
ENCLAVE = Kind(
    name="enclave",
    include=SDK / "include",
    library=tuple(sorted(path for path in LIB.iterdir() if path.suffix in (".c", ".S"))),
    standard="-std=gnu11",
    entry=LIB / "entry.S",
    script=LIB / "penglai.lds",
    extra=tuple(sorted(path for path in LIBRARIES.iterdir() if path.is_dir())),
)
"""Programs that are enclaves."""

PORTABLE_LIB = SDK / "portable"
REPLACED = ("eapp.c", "console.c", "memory.c", "ranges.c", "stack.c", "entry.S")
"""Parts of the library that are others in portable programs."""

PORTABLE = Kind(
    name="portable",
    include=ENCLAVE.include,
    library=(
        *(path for path in ENCLAVE.library if path.name not in REPLACED),
        *sorted(path for path in PORTABLE_LIB.iterdir() if path.suffix in (".c", ".S")),
    ),
    standard=ENCLAVE.standard,
    entry=PORTABLE_LIB / "entry.S",
    script=ENCLAVE.script,
    machine=("-march=rv64imac", "-mabi=lp64"),
    own=("-DEAPP_PORTABLE=1",),
    linking=("-Wl,--defsym=eapp_portable=1",),
    finish=make_portable,
    extra=ENCLAVE.extra,
)
"""Enclaves that run on Penglai-TVM's own machine as well."""

KINDS = {ProfileName.NATIVE: ENCLAVE, ProfileName.TVM: PORTABLE}

ZIG_SUFFIX = ".zig"
DEMO_SUFFIXES = (".c", ".cpp", ZIG_SUFFIX)
CXX_LIBRARY = "-lstdc++"

TARGET = ("-target", "riscv64-linux-musl", "-mcpu=generic_rv64+m+a+f+d+c")
SOFT_TARGET = (*TARGET[:2], "-mcpu=generic_rv64+m+a+c")
"""For Zig's own compiler, and `zig cc`: with and without a floating-point unit."""

DEFAULT_OPTIMISATION = "-O2"

ZIG_MODES = {"-O0": "Debug", "-O1": "ReleaseSafe", "-Os": "ReleaseSmall", "-Oz": "ReleaseSmall"}
"""Zig's optimisation for C's; ReleaseFast for all others."""

Source = str | PathLike[str]


def build(
    sources: Source | Sequence[Source],
    output: Source | None = None,
    flags: Sequence[str] = (),
    *,
    profile: str = ProfileName.NATIVE,
) -> Path:
    """Compile C, C++, Zig or assembler sources, and object files, to an enclave ELF, and return its path.

    output: by default the first source's name without its suffix.  flags: more words for the compiler, such
    as "-O1", "-g", "-DLIMIT=3" or "-lname"; the default is -O2.  profile: "tvm" for a program that runs on
    Penglai-TVM's own machine as well.

    Raises ToolchainError with the compiler's messages, BadArgumentError for a profile that is none.
    """
    return build_sources(KINDS[ProfileName.named(profile)], sources, output, flags)


def build_sources(
    kind: Kind, sources: Source | Sequence[Source], output: Source | None, flags: Sequence[str]
) -> Path:
    """The same for any kind of program."""
    paths = [Path(source) for source in ([sources] if isinstance(sources, str | PathLike) else sources)]
    if not paths:
        raise ToolchainError("nothing to build: name a C file")
    for path in paths:
        if not path.is_file():
            raise ToolchainError(f"no such file: {path}")
    target = Path(output) if output is not None else paths[0].with_suffix("")
    _check_target(target, paths)
    words = expand([*flags, *map(_as_word, paths)])
    _link(kind, words, read(kind, words), target, loud=False)
    return target


def build_words(kind: Kind, arguments: Sequence[str], output: Path | None, *, loud: bool) -> Path | None:
    """Do what a compiler's command line says; the path of the program, or None if none is linked.

    output: what -o names.  loud: the compiler writes its messages itself, and no error has them.

    Raises ToolchainError.
    """
    words = expand(arguments)
    reading = read(kind, words)
    if not reading.links:
        end = ["-o", str(output)] if output else []
        _run(compiler_line(kind, [DEFAULT_OPTIMISATION, *words, *end]), loud)
        return None
    sources = [Path(given.name) for given in reading.inputs if given.name in words and given.name != "-"]
    if not (output or sources):
        raise ToolchainError("name the program that is to be made with -o")
    target = output or sources[0].with_suffix("")
    _check_target(target, sources)
    _link(kind, words, reading, target, loud=loud)
    return target


def _as_word(path: Path) -> str:
    """A file's name that is no option."""
    return f"./{path}" if str(path).startswith(("-", "@")) else str(path)


def _check_target(target: Path, sources: Sequence[Path]) -> None:
    if target.exists() and any(path.exists() and target.samefile(path) for path in sources):
        raise ToolchainError(f"the result would overwrite its source {target}; name another with -o")


def _link(kind: Kind, words: Sequence[str], reading: Reading, target: Path, *, loud: bool) -> None:
    with tempfile.TemporaryDirectory(prefix="penglai-") as directory:
        line = [DEFAULT_OPTIMISATION, *_with_zig_compiled(kind, words, reading, Path(directory))]
        if needs_cxx(reading) or refers_to_cxx_library(line):
            line.append(CXX_LIBRARY)
        line += _strip_flags(words)
        with writing(target) as path:
            _run(compiler_line(kind, [*line, "-o", str(path)]), loud)
            if kind.finish is not None:
                _finish(kind.finish, path)


def _finish(finish: Callable[[Path], None], path: Path) -> None:
    """Nothing is left of a program that cannot be finished."""
    try:
        finish(path)
    except BaseException:
        path.unlink()
        raise


def needs_cxx(reading: Reading) -> bool:
    """True if a source is C++, preprocessed or not."""
    return any("c++" in given.language for given in reading.inputs)


def _run(line: Sequence[str], loud: bool) -> None:
    """Run the compiler.  loud: it has the standard output and error; otherwise errors have its messages."""
    try:
        done = subprocess.run(
            line, executable=zig_path(), capture_output=not loud, text=True, errors=FILE_NAMES, check=False
        )
    except OSError as error:
        raise ToolchainError(f"cannot run the compiler {zig_path()}: {error}") from error
    if done.returncode:
        said = "the compiler refused it" if loud else f"{shlex.join(line)}\n{done.stderr.strip()}"
        raise ToolchainError(said)
    if not loud and done.stderr:
        log.warning("%s", done.stderr.rstrip())


def _strip_flags(flags: Sequence[str]) -> list[str]:
    """Debug information is kept if a flag asks for it; with -s not even names are, which is the linker's."""
    return [] if any(flag.startswith("-g") or flag == "-s" for flag in flags) else ["-Wl,--strip-debug"]


def _with_zig_compiled(kind: Kind, words: Sequence[str], reading: Reading, directory: Path) -> list[str]:
    """The words with object files for Zig sources, which clang takes for object files."""
    found = {given.name for given in reading.inputs if given.language == OBJECT}
    sources = [word for word in words if word.endswith(ZIG_SUFFIX) and word in found]
    made = {source: str(_zig_object(kind, Path(source), directory, words)) for source in sources}
    return [made.get(word, word) for word in words]


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

    def make(output: Path) -> None:
        build(source, output)

    return compile_cached(name, [source, kit_key(ENCLAVE)], [source], make)


def _zig_object(kind: Kind, path: Path, directory: Path, flags: Sequence[str]) -> Path:
    """The object file of a Zig source."""
    levels = [flag for flag in flags if re.fullmatch(r"-O\w*", flag)]
    mode = ZIG_MODES.get(levels[-1] if levels else DEFAULT_OPTIMISATION, "ReleaseFast")
    target = directory / f"{path.stem}.zig.o"
    which = SOFT_TARGET if kind.machine else TARGET
    compile_zig([*which, "-O", mode, "-lc", "-fno-stack-protector", "-ffunction-sections", path], target)
    return target
