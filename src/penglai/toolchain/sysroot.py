"""What a compiler for Linux on RISC-V finds beside itself: start files, libraries and headers.

Zig builds them, on first use, from the sources that it brings.  They are laid out and named as on any Linux,
so that what Makefiles ask for is there: `-lm`, `-lgcc`, `-lstdc++`.
"""

import itertools
import os
import shlex
import shutil
import subprocess
import tempfile
from enum import Enum
from pathlib import Path

from penglai.abi.errors import ToolchainError
from penglai.toolchain.cache import made_once
from penglai.toolchain.clang import clang_line, must_run
from penglai.toolchain.compiler import FILE_NAMES, want_of_memory, zig_path
from penglai.toolchain.places import cache_dir, package_record

LAYOUT = 3
"""Counts the changes of what this module makes."""

TRIPLE = "riscv64-linux-musl"
EMPTY_ARCHIVE = b"!<arch>\n"
IN_LIBC = (
    *("m", "pthread", "rt", "dl", "util", "crypt", "resolv", "xnet"),
    *("atomic", "ssp", "ssp_nonshared"),
)
"""Libraries that are part of musl, or of the compiler's: they are there, and empty."""
EMPTY_OBJECTS = ("crti.o", "crtn.o", "crtbeginT.o", "crtbegin.o", "crtbeginS.o", "crtend.o", "crtendS.o")


LIB, HERE = "{lib}", "{here}"
"""Stand for the directory of Zig's library, which each virtual environment has elsewhere, and the sysroot."""


class Abi(Enum):
    """Calling conventions by clang's names, each with the instructions that its libraries are made of."""

    LP64 = "lp64"
    LP64D = "lp64d"

    @property
    def extensions(self) -> str:
        """Letters of the instruction set."""
        return "mafdc" if self is Abi.LP64D else "mac"

    @property
    def cpu(self) -> str:
        """-mcpu for `zig cc`."""
        return "generic_rv64" + "".join(f"+{letter}" for letter in self.extensions)

    @property
    def flags(self) -> tuple[str, str]:
        """The same for clang."""
        return f"-march=rv64i{self.extensions}", f"-mabi={self.value}"


def sysroot(abi: Abi) -> Path:
    """The directory: `lib` for the linker, and `flags`, see `header_flags`.  Raises ToolchainError."""
    return made_once(f"sysroot-{abi.value}", _version(), lambda fresh: _make(abi, fresh))


def header_flags(root: Path) -> list[str]:
    """Options of clang for the headers that belong to a sysroot's libraries."""
    lib = str(zig_path().parent / "lib")
    flags = (root / "flags").read_text(encoding="ascii").splitlines()
    return [flag.replace(LIB, lib).replace(HERE, str(root)) for flag in flags]


def cxx_directory(abi: Abi) -> Path:
    """Where `make_cxx` puts the C++ library."""
    return cache_dir() / f"cxx-{abi.value}-{_version()}"


def make_cxx(abi: Abi) -> None:
    """Make the C++ library, unless it is there.  Raises ToolchainError."""
    made_once(f"cxx-{abi.value}", _version(), lambda fresh: _make_cxx(abi, fresh))


def _version() -> str:
    return f"{package_record('ziglang').removesuffix('.dist-info')}-{LAYOUT}"


def _make(abi: Abi, fresh: Path) -> None:
    built = _libraries(abi, "cc", "-lunwind")
    lib = fresh / "lib"
    lib.mkdir()
    copies = {"crt1.o": "crt1.o", "libc.a": "libmusl.a", "libzigc.a": "libzigc.a"}
    copies |= {"libcompiler_rt.a": "libgcc.a", "libunwind.a": "libunwind.a"}
    for name, copy in copies.items():
        shutil.copyfile(built[name], lib / copy)
    for name in IN_LIBC:
        (lib / f"lib{name}.a").write_bytes(EMPTY_ARCHIVE)
    (lib / "libc.a").write_text("GROUP ( -lmusl -lzigc -lgcc )\n", encoding="ascii")
    for name in ("gcc_eh", "gcc_s"):
        (lib / f"lib{name}.a").write_text("INPUT ( -lunwind )\n", encoding="ascii")
    _make_empty_objects(abi, lib)
    _make_headers(abi, fresh)


def _make_cxx(abi: Abi, fresh: Path) -> None:
    built = _libraries(abi, "c++")
    for name, copy in (("libc++.a", "libcxx.a"), ("libc++abi.a", "libc++abi.a")):
        shutil.copyfile(built[name], fresh / copy)
    for name in ("c++", "stdc++", "supc++"):
        text = "GROUP ( -lcxx -lc++abi -lunwind )\n"
        (fresh / f"lib{name}.a").write_text(text, encoding="ascii")


def _libraries(abi: Abi, command: str, *flags: str) -> dict[str, Path]:
    """Files by name with which `zig cc`, or `zig c++`, links a program; it builds them for that."""
    words = _words_of("ld.lld ", abi, command, "-static", "-s", *flags)
    return {Path(word).name: Path(word) for word in words if word.endswith((".a", ".o"))}


def _words_of(start: str, abi: Abi, command: str, *flags: str) -> list[str]:
    """The last command that begins so, of those that `zig cc` or `zig c++` runs for an empty program."""
    cache = str(cache_dir() / "zig")
    tell = {"ZIG_VERBOSE_LINK": "1", "ZIG_VERBOSE_CC": "1"}
    environment = {**os.environ, **tell, "ZIG_GLOBAL_CACHE_DIR": cache, "ZIG_LOCAL_CACHE_DIR": cache}
    options = ["-target", TRIPLE, f"-mcpu={abi.cpu}", "-O2", "-fno-sanitize=undefined"]
    with tempfile.TemporaryDirectory(prefix="penglai-") as name:
        source = Path(name, "empty.cpp" if command == "c++" else "empty.c")
        source.write_text("int main(void) { return 0; }\n", encoding="ascii")
        line = [str(zig_path()), command, *options, *flags, str(source), "-o", str(Path(name, "empty"))]
        # cwd: Zig names what lies below its working directory by a relative path
        done = subprocess.run(
            line, cwd=name, env=environment, capture_output=True, text=True, errors=FILE_NAMES, check=False
        )
    if done.returncode:
        said = f"{shlex.join(line)}\n{done.stderr.strip()[-2000:]}"
        raise ToolchainError(want_of_memory(done) or said)
    return next(shlex.split(said) for said in reversed(done.stderr.splitlines()) if said.startswith(start))


def _make_empty_objects(abi: Abi, lib: Path) -> None:
    source = lib / "empty.c"
    source.touch()
    first = lib / EMPTY_OBJECTS[0]
    must_run(clang_line([f"--target={TRIPLE}", *abi.flags, "-c", source, "-o", first]))
    source.unlink()
    for name in EMPTY_OBJECTS[1:]:
        shutil.copyfile(first, lib / name)


def _make_headers(abi: Abi, fresh: Path) -> None:
    """What Zig itself compiles with, for `header_flags`, with LIB for the directory of Zig's library.

    Headers of the C library come behind all that the user names, as in any compiler.  libc++ has no header of
    its configuration here, since Zig defines it on the command line; so a header stands before its first one.
    """
    words = _words_of(f"{zig_path()} clang ", abi, "c++", "-c")
    config = [word.removeprefix("-D") for word in words if word.startswith(("-D_LIBCPP", "-D_LIBCXXABI"))]
    defines = (name.partition("=") for name in config)
    lines = ["#pragma GCC system_header", *(f"#define {name} {value or 1}" for name, _, value in defines)]
    (fresh / "c++").mkdir()
    (fresh / "c++" / "__config").write_text("\n".join([*lines, "#include_next <__config>", ""]), "ascii")

    lib = f"{zig_path().parent / 'lib'}/"
    paths = [after for word, after in itertools.pairwise(words) if word == "-isystem"]
    places = [path.removeprefix(lib) for path in paths]
    flags = [
        f"-resource-dir={LIB}",
        f"-stdlib++-isystem{HERE}/c++",
        *(f"-stdlib++-isystem{LIB}/{place}" for place in places if place.startswith("libcxx")),
        *(f"-idirafter{LIB}/{place}" for place in places if place.startswith(("libc/", "libunwind/"))),
    ]
    (fresh / "flags").write_text("".join(f"{flag}\n" for flag in flags), "ascii")
