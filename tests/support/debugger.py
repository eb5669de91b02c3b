"""A gdb that knows RISC-V: the system's, or Debian's with all that it needs, unpacked and not installed."""

import hashlib
import shlex
import shutil
from pathlib import Path

from penglai.abi.errors import ToolchainError
from penglai.guest.image import packages
from penglai.guest.image.work import Tell, once, run
from penglai.toolchain.cache import cache_dir

PACKAGE = "gdb-multiarch"
PROGRAMS = "programs"
LIBRARIES = ("lib", "usr/lib")
LEFT_OUT = ("usr/share/doc", "usr/share/man", "usr/share/locale")

PROGRAM = """#!/bin/sh
here={here}
export PYTHONHOME="$here/usr" PYTHONNOUSERSITE=1
set -- --data-directory "$here/usr/share/gdb" "$@"
exec {loader} --library-path {libraries} "$here/usr/bin/gdb-multiarch" "$@"
"""


def gdb_directory() -> Path:
    """A directory for PATH in which gdb-multiarch is, for a test with the mark gdb."""
    installed = shutil.which(PACKAGE)
    if installed:
        return Path(installed).parent
    kept = _place()
    assert kept.exists(), "what runs gdb is marked: pytest.mark.gdb"
    return kept / PROGRAMS


def fetch_gdb(tell: Tell) -> None:
    """See to it that gdb_directory finds it.  Raises ToolchainError."""
    if not shutil.which(PACKAGE):
        once(_place(), lambda fresh: _unpack(fresh, tell))


def _place() -> Path:
    key = hashlib.sha256(Path(__file__).read_bytes()).hexdigest()[:16]
    return cache_dir() / "test-binaries" / f"gdb-{key}"


def _unpack(fresh: Path, tell: Tell) -> None:
    archives = fresh / "archives"
    (archives / "partial").mkdir(parents=True)
    nothing = fresh / "status"
    nothing.touch()
    options = [f"Dir::State::status={nothing}", f"Dir::Cache::archives={archives}", "Debug::NoLocking=true"]
    words = [word for option in options for word in ("-o", option)]
    command = [*words, "install", "--download-only", "--yes", "--no-install-recommends", PACKAGE]
    packages._fetch(command, fresh, tell, f"downloading {PACKAGE}")
    found = sorted(archives.glob("*.deb"))
    if not found:
        raise ToolchainError(f"apt has downloaded no {PACKAGE}")
    for package in found:
        run(["dpkg-deb", "--extract", package, fresh], fresh)
    shutil.rmtree(archives)
    for name in LEFT_OUT:
        shutil.rmtree(fresh / name, ignore_errors=True)
    _write_program(fresh, _place())


def _write_program(fresh: Path, place: Path) -> None:
    """The program that runs gdb with its own libraries.  place: where the directory will be."""
    (fresh / PROGRAMS).mkdir()
    found = [path for name in LIBRARIES for path in fresh.glob(f"{name}/*-linux-*/*.so.*")]
    loader = next(path.relative_to(fresh) for path in found if path.name.startswith("ld-linux"))
    libraries = ":".join(sorted({str(place / path.parent.relative_to(fresh)) for path in found}))
    program = fresh / PROGRAMS / PACKAGE
    program.write_text(
        PROGRAM.format(
            here=shlex.quote(str(place)),
            loader=shlex.quote(str(place / loader)),
            libraries=shlex.quote(libraries),
        )
    )
    program.chmod(0o755)
