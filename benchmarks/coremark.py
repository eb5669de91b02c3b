"""CoreMark's sources as EEMBC published them, from a package that carries them."""

import hashlib
import os
from pathlib import Path

from penglai.abi.errors import ToolchainError
from penglai.toolchain.places import cache_dir, package_dir

PACKAGE = "pythondata_cpu_ibex"
VENDOR = Path("system_verilog", "vendor")
COREMARK = VENDOR / "eembc_coremark"
CHANGED = "core_main.c"
PATCH = VENDOR / "patches" / "eembc_coremark" / "0001-no-minimum-run-time.patch"
"""How the package differs from CoreMark: CHANGED no longer says that a run of less than 10 s is too short."""
SUMS = "coremark.md5"
"""EEMBC's own sums of what nobody may change and call the result CoreMark."""
PORT = Path(__file__).with_name("core_portme.c")
RIGHT = range(1 << 16)
"""Results that CoreMark has found right: CRCs."""


def sources() -> tuple[Path, ...]:
    """What is compiled, our port included.

    Raises ToolchainError if the package is not installed, or carries another CoreMark.
    """
    package = package_dir(PACKAGE)
    try:
        return (PORT, *_checked(package))
    except OSError as error:
        raise ToolchainError(f"{PACKAGE} carries no CoreMark that is known: {error}") from error


def flags(iterations: int) -> tuple[str, ...]:
    """For compute.c, compiled with the sources."""
    places = (package_dir(PACKAGE) / COREMARK, PORT.parent)
    return ("-DCOREMARK", "-DROUNDS=1", f"-DITERATIONS={iterations}", *(f"-I{place}" for place in places))


def undo(patch: str, text: str) -> str:
    """text as it was before a patch of one hunk.  Raises ToolchainError if the patch has not made it so."""
    lines = patch.partition("\n@@ ")[2].splitlines(keepends=True)[1:]
    before, after = ("".join(line[1:] for line in lines if line[0] in kept) for kept in (" -", " +"))
    if text.count(after) != 1:
        raise ToolchainError(f"the {CHANGED} of {PACKAGE} is not as its patch makes it")
    return text.replace(after, before)


def _checked(package: Path) -> list[Path]:
    """CoreMark's own C files.  Raises ToolchainError if they, or its header, are not EEMBC's."""
    places = {CHANGED: _original(package)}
    lines = (package / COREMARK / SUMS).read_text().splitlines()
    for known, name in (line.split() for line in lines):
        path = places.setdefault(name, package / COREMARK / name)
        if _sum(path.read_bytes()) != known:
            raise ToolchainError(f"the {name} of {PACKAGE} is not EEMBC's")
    return [path for path in places.values() if path.suffix == ".c"]


def _original(package: Path) -> Path:
    """CHANGED without the package's change, in the cache."""
    text = undo((package / PATCH).read_text(), (package / COREMARK / CHANGED).read_text()).encode()
    path = cache_dir() / f"coremark-{_sum(text)}" / CHANGED
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        fresh = path.with_suffix(f".{os.getpid()}")
        fresh.write_bytes(text)
        fresh.replace(path)
    return path


def _sum(data: bytes) -> str:
    return hashlib.md5(data, usedforsecurity=False).hexdigest()
