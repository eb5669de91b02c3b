"""The kernel, and what is needed to build modules for it."""

import os
import re
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from penglai.abi.errors import ToolchainError
from penglai.guest.image import packages
from penglai.guest.image.current import root
from penglai.guest.image.keys import key_of
from penglai.guest.image.work import Tell, once, run

HERE = Path(__file__).parent
BASE = HERE / "kernel.config"
VARIANTS: dict[str, tuple[Path, ...]] = {"": (BASE,), "debug": (BASE, HERE / "debug.config")}
"""Fragments of configuration, on top of tinyconfig, by variant."""

RECIPE = "1"
"""Changes when the way of building does."""

FLAGS = ("ARCH=riscv", f"CROSS_COMPILE={packages.CROSS}")
REPRODUCIBLE = {
    "KBUILD_BUILD_USER": "penglai",
    "KBUILD_BUILD_HOST": "penglai",
    "KBUILD_BUILD_TIMESTAMP": "2024-01-01",
}

KEPT = (
    *("Makefile", "Module.symvers", ".config", "System.map", "scripts", "include"),
    *("arch/riscv/Makefile", "arch/riscv/include"),
)
"""What building a module needs of the tree."""
DROPPED = shutil.ignore_patterns("*.o", "*.cmd", "*.a")


@dataclass(frozen=True)
class Kernel:
    """A kernel in the cache.  image: what is booted.  tree: for modules.  key: tells kernels apart."""

    key: str
    image: Path
    tree: Path
    config: Path


def build(version: str, variant: str, tell: Tell) -> Kernel:
    """Build a kernel, or find it in the cache.

    version: of Debian's package.  variant: "" or "debug".  Raises ToolchainError.
    """
    fragments = VARIANTS[variant]
    key = key_of(RECIPE, version, *(path.read_bytes() for path in fragments))
    directory = once(
        root() / f"kernel-{variant + '-' if variant else ''}{key}",
        lambda fresh: _make(version, fragments, fresh, tell),
    )
    return Kernel(key, directory / "Image", directory / "tree", directory / "tree" / ".config")


def _make(version: str, fragments: Sequence[Path], fresh: Path, tell: Tell) -> None:
    packages.ensure_tools(tell)
    work = fresh / "work"
    work.mkdir()
    tarball = packages.linux_source(version, tell)
    tell(f"unpacking Linux {version}", 0)
    run(["tar", "--extract", "--file", tarball, "--directory", work], work)
    (source,) = (path.parent for path in work.glob("*/Kbuild"))
    _configure(source, fragments)
    _compile(source, version, tell)
    _keep(source, fresh)
    shutil.rmtree(work)


def _configure(source: Path, fragments: Sequence[Path]) -> None:
    run(["make", *FLAGS, "tinyconfig"], source)
    config = source / ".config"
    wanted = "".join(path.read_text() for path in fragments)
    with config.open("a") as file:
        file.write(wanted)
    run(["make", *FLAGS, "olddefconfig"], source)
    lost = lost_options(wanted, config.read_text())
    if lost:
        raise ToolchainError(f"Linux does not take these options of ours: {', '.join(lost)}")


def lost_options(wanted: str, config: str) -> list[str]:
    """Options of a fragment that a configuration does not have as the fragment says."""
    have = set(config.splitlines())
    set_names = {line.partition("=")[0] for line in have if line.startswith("CONFIG_")}
    lost = []
    for line in wanted.splitlines():
        off = re.fullmatch(r"# (CONFIG_\w+) is not set", line)
        if off is not None:
            if off[1] in set_names:
                lost.append(line)
        elif line.startswith("CONFIG_") and line not in have:
            lost.append(line)
    return lost


def _compile(source: Path, version: str, tell: Tell) -> None:
    done = 0
    what = f"compiling Linux {version}"
    tell(what, 0)

    def count(line: str) -> None:
        nonlocal done
        if line.startswith(("  CC ", "  AS ")):
            done += 1
            tell(what, done)

    line = ["make", *FLAGS, f"-j{os.cpu_count() or 1}", "Image", "modules"]
    run(line, source, environment=REPRODUCIBLE, on_line=count, log="linux")


def _keep(source: Path, fresh: Path) -> None:
    shutil.copy(source / "arch/riscv/boot/Image", fresh / "Image")
    for name in KEPT:
        target = fresh / "tree" / name
        target.parent.mkdir(parents=True, exist_ok=True)
        if (source / name).is_dir():
            shutil.copytree(source / name, target, symlinks=True, ignore=DROPPED)
        else:
            shutil.copy(source / name, target)
