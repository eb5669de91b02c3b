"""The library of a hart's C files, built and bound.  The only module that knows Unicorn."""

import ctypes
import functools
import os
from pathlib import Path
from typing import Any

from penglai.abi.errors import ToolchainError
from penglai.machine.context import Context, RunRecord
from penglai.toolchain.cache import compile_cached, made_once
from penglai.toolchain.places import package_dir, package_record, refuses_to_execute

SOURCES = (
    *("run.c", "supervisor.c", "hart.c", "counters.c", "zcb.c", "shortcuts.c"),
    *("floats.c", "threads.c", "state.c", "coverage.c", "fuel.c", "where.c", "access.c"),
)
"""Each calls only what stands behind it."""
NATIVE_SOURCES = (
    *("native/dispatch.c", "native/window.c", "native/runs.c", "native/range.c", "native/binding.c"),
    *("native/paging.c", "native/fault.c", "native/code.c", "native/translate.c", "native/integer.c"),
    *(
        "native/memory.c",
        "native/floating.c",
        "native/ways.c",
        "native/place.c",
        "native/cache.c",
        "native/area.c",
    ),
    *("native/registers.c", "native/emit.c", "native/decode.c"),
)
"""Beside them on x86-64, in the same order; together they stand below run.c."""
HEADERS = ("hart.h", "native/native.h", "native/emit.h", "native/instruction.h")
NATIVE_MACHINE = "x86_64"

SONAME, OWN_SONAME = "libunicorn.so.2", "libunicorn.so.9"
"""What Unicorn's library calls itself, and what a copy of it does that is this package's alone."""

NO_HART = "Unicorn cannot make a hart: the process is short of memory, or of address space (ulimit -v)"


class ClockRecord(ctypes.Structure):
    """Memory that a clock shares with the C files.  manual: 0, or 1 + the time in ns."""

    _fields_ = (("origin", ctypes.c_uint64), ("manual", ctypes.c_uint64))


class ExitRecord(ctypes.Structure):
    """What a hart's supervisor and Python tell each other at an exit; supervisor.c says what."""

    _fields_ = (
        ("reason", ctypes.c_uint64),
        ("a", ctypes.c_uint64 * 8),
        ("address", ctypes.c_uint64),
        ("value", ctypes.c_uint64),
        ("bytes", ctypes.c_uint64),
        ("store", ctypes.c_uint64),
    )


class Library:
    """The functions of the C files.

    Those of `calls` may take long: they are called without Python's lock.  Those of `quick` take less
    than a microsecond and keep it.
    """

    def __init__(self, library: Path) -> None:
        self.calls: Any = ctypes.CDLL(str(library))
        self.quick: Any = ctypes.PyDLL(str(library))
        pointer, word = ctypes.c_void_p, ctypes.c_uint64
        clock = ctypes.POINTER(ClockRecord)
        for loaded in (self.calls, self.quick):
            _declare(loaded.hart_open, pointer, pointer, word, word, clock, ctypes.POINTER(RunRecord))
            _declare(loaded.hart_close, None, pointer)
            _declare(loaded.hart_thread, None)
            _declare(loaded.hart_run, ctypes.c_int, pointer, ctypes.POINTER(Context))
            _declare(loaded.hart_interrupt, None, pointer)
            _declare(loaded.hart_break, ctypes.c_int, pointer, ctypes.POINTER(word), word)
            _declare(loaded.hart_acknowledge, None, pointer)
            _declare(loaded.hart_count, ctypes.c_int, pointer)
            _declare(loaded.hart_count_in, None, pointer, pointer)
            _declare(loaded.native_obstacle, ctypes.c_char_p)
            _declare(loaded.native_cache, pointer, word)
            _declare(loaded.native_cache_close, None, pointer)
            _declare(loaded.native_cache_counts, None, pointer, pointer)
            _declare(loaded.native_open, ctypes.c_bool, pointer, ctypes.c_int, pointer)
            # A number that is passed as a pointer takes half as long.
            _declare(loaded.native_revoke, ctypes.c_int, pointer, pointer, pointer)
            _declare(loaded.native_end, ctypes.c_int, pointer, pointer, pointer)
            _declare(loaded.native_forget, ctypes.c_int, pointer, word, word, ctypes.c_bool)
            _declare(loaded.native_emitted, word, pointer, pointer, word)
            _declare(loaded.native_entries, word, pointer, pointer, word)
            _declare(loaded.native_counts, None, pointer, pointer)
            _declare(loaded.hart_invalidate, ctypes.c_int, pointer, word, word)
            _declare(loaded.shortcuts_in_effect, ctypes.c_bool)
            _declare(
                loaded.supervisor_open, pointer, pointer, word, word, clock, pointer, pointer, word, word
            )
            _declare(loaded.supervisor_close, None, pointer)
            _declare(loaded.supervisor_set_x, None, pointer, ctypes.c_uint32, word)
            _declare(loaded.supervisor_set_timer, None, pointer, word)
            _declare(loaded.supervisor_kick, None, pointer)
            _declare(loaded.supervisor_hold, None, pointer, ctypes.c_uint32)
            _declare(loaded.supervisor_raise, None, pointer)
            _declare(loaded.supervisor_request, None, pointer)
            _declare(loaded.supervisor_interrupt, None, pointer)
            _declare(loaded.supervisor_flush, None, pointer)
            _declare(loaded.supervisor_run, ctypes.c_int, pointer, ctypes.POINTER(ExitRecord))
            _declare(loaded.supervisor_settle, None, pointer, ctypes.POINTER(ExitRecord))
            _declare(loaded.supervisor_save, None, pointer, ctypes.POINTER(Context))
            _declare(loaded.supervisor_load, None, pointer, ctypes.POINTER(Context))
            _declare(loaded.supervisor_break, ctypes.c_int, pointer, ctypes.POINTER(word), word)
            _declare(loaded.supervisor_translate, ctypes.c_bool, pointer, word, ctypes.POINTER(word))
            _declare(loaded.supervisor_return, word, pointer)
            _declare(loaded.supervisor_show, ctypes.c_int, pointer, word, word)
            _declare(loaded.supervisor_written, None, pointer, word)


def _declare(function: Any, result: Any, *arguments: Any) -> None:
    function.restype = result
    function.argtypes = arguments


def unicorn_library() -> Path:
    """The shared library of the installed unicorn package.  Raises ToolchainError if it is missing."""
    path = package_dir("unicorn") / "lib" / SONAME
    if not path.exists():
        raise ToolchainError(f"unicorn is installed without its library: {path} is missing")
    return path


def own_unicorn() -> Path:
    """A copy of that library under another name, for a process that has loaded it before.

    The loader takes a library that it has for each later one of its name; what that one calls is settled, and
    would not be the functions of shortcuts.c.
    """

    def make(directory: Path) -> None:
        before = unicorn_library().read_bytes()
        named = before.replace(f"{SONAME}\0".encode(), f"{OWN_SONAME}\0".encode())
        (directory / OWN_SONAME).write_bytes(named)

    return made_once("own", package_record("unicorn"), make) / OWN_SONAME


def _is_anothers() -> bool:
    """Whether this process has loaded Unicorn before, for its loader alone.

    Where it was loaded for everybody (LD_PRELOAD, RTLD_GLOBAL), a copy would call functions of that one.
    """
    try:
        ctypes.CDLL(SONAME, mode=os.RTLD_NOLOAD | os.RTLD_LAZY)
    except OSError:
        return False
    return not hasattr(ctypes.CDLL(None), "uc_open")


def build(unicorn: Path | None = None) -> Path:
    """Compile the C files for this machine, or find it in the cache.  A second or two the first time.

    unicorn: its library, by default that of the package.
    """
    here = Path(__file__).parent
    native = os.uname().machine == NATIVE_MACHINE
    sources = [here / name for name in (*SOURCES, *(NATIVE_SOURCES if native else ("native/none.c",)))]
    unicorn = unicorn or unicorn_library()
    include = unicorn_library().parent.parent / "include"
    glibc = _is_glibc()
    target = f"{os.uname().machine}-linux-{'gnu.2.28' if glibc else 'musl'}"
    arguments: list[str | Path] = [
        *("-target", target, "-std=c11", "-O2", "-fomit-frame-pointer", "-Wall", "-Wextra"),
        *("-shared", "-fPIC", "-fvisibility=hidden", *(["-ftls-model=initial-exec"] if glibc else [])),
        *("-I", include),
        *(*sources, unicorn),
        # It is hart.so that loads Unicorn: only so are the functions of shortcuts.c found first.
        f"-Wl,-rpath,{unicorn.parent},--disable-new-dtags",
        f"-DUNICORN_PACKAGE={package_record('unicorn')}",
    ]
    return compile_cached("hart.so", arguments, [*sources, *(here / name for name in HEADERS)])


def _is_glibc() -> bool:
    """True if this machine's C library is glibc; other ones do not know of its version."""
    try:
        return bool(os.confstr("CS_GNU_LIBC_VERSION"))
    except ValueError:
        return False


@functools.cache
def library() -> Library:
    """The library of this process, built on first use.  Raises ToolchainError."""
    path = build(own_unicorn() if _is_anothers() else None)
    try:
        return Library(path)
    except OSError as error:
        raise ToolchainError(f"cannot load {path}: {_why_not(path, error)}") from error


def _why_not(path: Path, error: OSError) -> str:
    """Why a library that is whole cannot be loaded."""
    return refuses_to_execute(path) or f"{error}; is the process short of address space (ulimit -v)?"
