"""The cross compiler: clang with what makes its programs enclaves, or host programs for Linux.

Nothing of a command line is read here but what decides which libraries are needed.  What penglai adds is in a
configuration file of clang's (where headers and libraries are) and in the program that clang calls as its
linker (lld with our linker script and defaults), so that a command line means what it means to any clang.
"""

import hashlib
import os
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from penglai.abi.errors import ToolchainError
from penglai.sdk import linker
from penglai.sdk.gccoptions import for_clang
from penglai.toolchain.cache import made_once
from penglai.toolchain.clang import clang_line, must_run, run_tool
from penglai.toolchain.compiler import zig_path
from penglai.toolchain.places import CACHE_VARIABLE
from penglai.toolchain.sysroot import (
    TRIPLE,
    Abi,
    cxx_directory,
    header_flags,
    make_cxx,
    sysroot,
)

SDK = Path(__file__).parent

COMPILE_FLAGS = ("-ffunction-sections", "-fdata-sections", "-fno-sanitize-link-runtime")
"""The last for those who say -fsanitize=undefined: what it calls is in our library (undefined.c)."""

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

AS_GCC = (
    "-Wno-unused-command-line-argument",
    "-Wno-ignored-optimization-argument",
    "-Wno-error=unknown-warning-option",
)
"""gcc says nothing of options that have no effect here, and Makefiles are written for it.

clang looks for these on its command line alone, before it reads its configuration.
"""

LIBRARY_FLAGS = ("-O2", "-g0", "-D_GNU_SOURCE", "-Wall", "-Wextra", "-Werror")

NO_LINKING = re.compile(r"-[cSE]|-MM?|-fsyntax-only|-###|--?(version|help|print-|dump|precompile|analyze)\S*")
"""Options with which clang does not link, or only shows what it would do."""

MACHINE_OPTIONS = ("-march=", "-mabi=", "-mcpu=")

WANTS_CXX = re.compile(r"-l(std|sup)?c\+\+(abi)?|-lcxx")


@dataclass(frozen=True)
class Kind:
    """A kind of program.  library: sources; entry: the one where it begins, or None for the C library's.

    extra: directories of sources, each a library that a program asks for, by -l and the directory's name.

    script: the linker script, or None for the linker's own layout.  standard: of C, of the library.
    machine: options for the instruction set, where the command line has none.  own, linking: more of them.
    finish: what is done to a program that was linked.
    """

    name: str
    include: Path
    library: tuple[Path, ...]
    standard: str
    entry: Path | None = None
    script: Path | None = None
    machine: tuple[str, ...] = ()
    own: tuple[str, ...] = ()
    linking: tuple[str, ...] = ()
    finish: Callable[[Path], None] | None = None
    extra: tuple[Path, ...] = ()

    def headers(self) -> list[Path]:
        """Headers for programs, and of the library's own."""
        return [*sorted(self.include.rglob("*.h")), *sorted(self.library[0].parent.glob("*.h"))]


def compiler_line(kind: Kind, arguments: Sequence[str], *, cxx: bool = False) -> list[str]:
    """The command line that runs clang for a kind of program; run `zig_path()` with it.

    cxx: as clang++: C files are C++ too, and the C++ library is linked.

    Libraries are made on first use.  Raises ToolchainError if that fails.
    """
    if not any(word.startswith(MACHINE_OPTIONS) for word in arguments):
        arguments = [*kind.machine, *arguments]
    abi = abi_of(arguments)
    own = [f"--config={_kit(kind, abi) / 'flags.cfg'}", *AS_GCC]
    if any(WANTS_CXX.fullmatch(word) for word in arguments) or (cxx and links(arguments)):
        make_cxx(abi)
    mode = ["--driver-mode=g++"] if cxx else []
    return clang_line([*mode, *own, *for_clang(arguments)])


def links(arguments: Sequence[str]) -> bool:
    """True unless an option says that nothing is linked."""
    return not any(NO_LINKING.fullmatch(word) for word in arguments)


def abi_of(arguments: Sequence[str]) -> Abi:
    """The calling convention that a command line asks for; clang's default for what it does not know."""
    asked = [word for word in arguments if word.startswith(MACHINE_OPTIONS)]
    if not asked:
        return Abi.LP64D
    said = run_tool(clang_line([f"--target={TRIPLE}", *asked, "-###", "-c", "-x", "c", "/dev/null"])).stderr
    found = re.search(r'"-target-abi" "(\w+)"', said)
    return Abi(found[1]) if found and found[1] in [abi.value for abi in Abi] else Abi.LP64D


def kit_key(kind: Kind) -> str:
    """Tells apart what programs of this kind are linked with, wherever it lies."""
    script = [kind.script] if kind.script else []
    key = hashlib.sha256(repr((kind.standard, kind.machine, kind.own, kind.linking)).encode())
    for path in (
        Path(__file__),
        Path(linker.__file__),
        SDK / "portable.py",
        *kind.library,
        *(source for library in kind.extra for source in sorted(library.iterdir())),
        *kind.headers(),
        *script,
    ):
        key.update(hashlib.sha256(path.read_bytes()).digest())
    return key.hexdigest()[:16]


def _kit(kind: Kind, abi: Abi) -> Path:
    """The directory with the configuration, the linker, and the library of a kind of program."""
    root = sysroot(abi)
    places = hashlib.sha256(repr((zig_path(), SDK, root)).encode()).hexdigest()[:8]
    name = f"{kind.name}-{abi.value}"
    kit = made_once(name, f"{kit_key(kind)}-{places}", lambda fresh: _make_kit(kind, abi, root, fresh))
    if os.statvfs(kit).f_flag & os.ST_NOEXEC:  # clang would take another linker without a word
        raise ToolchainError(
            f"the linker in {kit} cannot be executed: its file system is mounted noexec; set "
            f"{CACHE_VARIABLE} to a directory elsewhere"
        )
    return kit


def _make_kit(kind: Kind, abi: Abi, root: Path, fresh: Path) -> None:
    flags = [*_flags(kind, root), *kind.own]
    objects = [_compile_library(kind, [*flags, *abi.flags], source, fresh) for source in kind.library]
    if kind.entry:
        entry = fresh / f"{kind.entry.stem}.o"
        entry.rename(fresh / "crt1.o")
        objects.remove(entry)
    must_run(["penglai", "ar", "rcsD", fresh / "libpenglai.a", *objects])
    _put_before_compilers(objects, root, fresh)
    for made in objects:
        made.unlink()
    for library in kind.extra:
        _make_extra(kind, [*flags, *abi.flags], library, fresh)
    (fresh / "libc.a").write_text("GROUP ( -lpenglai -lmusl -lzigc -lgcc )\n", encoding="ascii")
    # the directory gets its name when it is whole; -B and -L are relative to the file
    own = ["-B<CFGDIR>", "-L<CFGDIR>", f"-L{cxx_directory(abi)}", "-static", "$-no-pie", *LENIENCE]
    own += [f"${option}" for option in kind.linking]
    text = "".join(f"{_quoted(flag)}\n" for flag in [*flags, *own])
    (fresh / "flags.cfg").write_text(text, "utf-8", "surrogateescape")
    for name in ("ld", "ld.lld"):
        linker.make_linker(fresh / name, kind.script, abi.extensions)


def _put_before_compilers(objects: Sequence[Path], root: Path, fresh: Path) -> None:
    """Our stack protector is taken, and not that of the compiler's library, which clang names first."""
    ours = [made for made in objects if made.stem == "stackcheck"]
    if ours:
        must_run(["penglai", "ar", "rcsD", fresh / "libstackcheck.a", *ours])
        text = f'INPUT ( libstackcheck.a "{root / "lib" / "libgcc.a"}" )\n'
        (fresh / "libgcc.a").write_text(text, "utf-8", "surrogateescape")


def _flags(kind: Kind, root: Path) -> list[str]:
    """What is compiled with, whatever it is."""
    return [
        f"--target={TRIPLE}",
        f"--sysroot={root}",
        f"--gcc-toolchain={root}",
        *("-stdlib=libc++", "-fno-pie", *COMPILE_FLAGS),
        f"-idirafter{kind.include}",
        *header_flags(root),
    ]


def _compile_library(kind: Kind, flags: Sequence[str], source: Path, directory: Path) -> Path:
    output = directory / f"{source.stem}.o"
    own = [*LIBRARY_FLAGS, kind.standard] if source.suffix == ".c" else []
    must_run(clang_line([*flags, *AS_GCC, *own, "-c", source, "-o", output]))
    return output


def _make_extra(kind: Kind, flags: Sequence[str], library: Path, fresh: Path) -> None:
    """A library that is linked whole: also where nothing but a weak reference asks for it."""
    objects = []
    for source in sorted(library.glob("*.c")):
        made = _compile_library(kind, flags, source, fresh)
        objects.append(made.rename(fresh / f"penglai-{library.name}-{made.name}"))
    names = " ".join(made.name for made in objects)
    (fresh / f"lib{library.name}.a").write_text(f"INPUT ( {names} )\n", encoding="ascii")


def _quoted(flag: str) -> str:
    """A word of a configuration file."""
    return (
        '"' + flag.replace("\\", "\\\\").replace('"', '\\"') + '"' if re.search(r"[\s\"'\\]", flag) else flag
    )
