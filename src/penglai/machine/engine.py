"""hart.c, built and bound.  The only module that knows Unicorn.

The engine is what a hart runs on; another one could stand here (docs/decisions/0003-engine.md): nothing
above this module knows more than open, run, interrupt, acknowledge, flush and invalidate.
"""

import ctypes
import functools
import os
from pathlib import Path
from typing import Any

from penglai.abi.errors import ToolchainError
from penglai.machine.context import Context, RunRecord
from penglai.toolchain.cache import compile_cached, package_dir, package_record


class ClockRecord(ctypes.Structure):
    """Memory that a clock shares with hart.c.  manual: 0, or 1 + the time in ns."""

    _fields_ = (("origin", ctypes.c_uint64), ("manual", ctypes.c_uint64))


class ExitRecord(ctypes.Structure):
    """What hart.c's supervisor and Python tell each other at an exit; supervisor.c says what."""

    _fields_ = (
        ("reason", ctypes.c_uint64),
        ("a", ctypes.c_uint64 * 8),
        ("address", ctypes.c_uint64),
        ("value", ctypes.c_uint64),
        ("bytes", ctypes.c_uint64),
        ("store", ctypes.c_uint64),
    )


class Engine:
    """The functions of hart.c.

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
            _declare(loaded.hart_acknowledge, None, pointer)
            _declare(loaded.hart_invalidate, ctypes.c_int, pointer, word, word)
            _declare(loaded.shortcuts_in_effect, ctypes.c_bool)
            _declare(loaded.supervisor_open, pointer, pointer, word, word, clock, pointer, word, word)
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
            _declare(loaded.supervisor_registers, None, pointer, pointer)
            _declare(loaded.supervisor_show, ctypes.c_int, pointer, word, word)
            _declare(loaded.supervisor_written, None, pointer, word)


def _declare(function: Any, result: Any, *arguments: Any) -> None:
    function.restype = result
    function.argtypes = arguments


def unicorn_library() -> Path:
    """The shared library of the installed unicorn package.  Raises ToolchainError if it is missing."""
    path = package_dir("unicorn") / "lib" / "libunicorn.so.2"
    if not path.exists():
        raise ToolchainError(f"unicorn is installed without its library: {path} is missing")
    return path


def build() -> Path:
    """Compile hart.c for this machine, or find it in the cache.  Takes a second or two the first time."""
    here = Path(__file__).parent
    sources = [here / name for name in ("hart.c", "access.c", "supervisor.c", "shortcuts.c", "threads.c")]
    unicorn = unicorn_library()
    glibc = _is_glibc()
    target = f"{os.uname().machine}-linux-{'gnu.2.28' if glibc else 'musl'}"
    arguments: list[str | Path] = [
        *("-target", target, "-std=c11", "-O2", "-fomit-frame-pointer", "-Wall", "-Wextra"),
        *("-shared", "-fPIC", "-fvisibility=hidden", *(["-ftls-model=initial-exec"] if glibc else [])),
        *("-I", unicorn.parent.parent / "include"),
        *(*sources, unicorn),
        # It is hart.so that loads Unicorn: only so are the functions of shortcuts.c found first.
        f"-Wl,-rpath,{unicorn.parent},--disable-new-dtags",
        f"-DUNICORN_PACKAGE={package_record('unicorn')}",
    ]
    return compile_cached("hart.so", arguments, [*sources, here / "hart.h"])


def _is_glibc() -> bool:
    """True if this machine's C library is glibc; other ones do not know of its version."""
    try:
        return bool(os.confstr("CS_GNU_LIBC_VERSION"))
    except ValueError:
        return False


@functools.cache
def engine() -> Engine:
    """The engine of this process, built on first use.  Raises ToolchainError."""
    return Engine(build())
