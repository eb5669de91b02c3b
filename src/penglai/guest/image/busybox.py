"""BusyBox: the programs of the ramfs, in one static file."""

import os
import re
import shutil
from dataclasses import dataclass
from pathlib import Path

from penglai.abi.errors import ToolchainError
from penglai.guest.image import packages
from penglai.guest.image.current import root
from penglai.guest.image.kernel import FLAGS, lost_options
from penglai.guest.image.keys import key_of
from penglai.guest.image.work import Tell, once, run

CONFIG = Path(__file__).parent / "busybox.config"
RECIPE = "2"
REPRODUCIBLE = {"SOURCE_DATE_EPOCH": "1704067200"}
"""BusyBox shows when it was configured; the kernel's date is the same."""


@dataclass(frozen=True)
class BusyBox:
    """BusyBox in the cache.  links: paths by which its programs are called, such as /bin/ls."""

    key: str
    program: Path
    links: tuple[str, ...]


def build(version: str, tell: Tell) -> BusyBox:
    """Build BusyBox, or find it in the cache.  version: of Debian's package.  Raises ToolchainError."""
    key = key_of(RECIPE, version, CONFIG.read_bytes())
    directory = once(root() / f"busybox-{key}", lambda fresh: _make(version, fresh, tell))
    links = (directory / "links").read_text().split()
    return BusyBox(key, directory / "busybox", tuple(links))


def _make(version: str, fresh: Path, tell: Tell) -> None:
    packages.ensure_tools(tell)
    work = fresh / "work"
    work.mkdir()
    original, changes = packages.fetch_source(packages.BUSYBOX, work, tell, version)
    for archive in (original, changes):
        run(["tar", "--extract", "--file", archive, "--directory", work], work)
    (source,) = (path.parent for path in work.glob("*/Config.in"))
    for name in _series(work / "debian/patches/series"):
        patch = (work / "debian/patches" / name).read_bytes()
        run(["patch", "--strip=1", "--silent"], source, stdin=patch)
    _configure(source)
    tell(f"compiling BusyBox {version}", 0)
    run(
        ["make", *FLAGS, f"-j{os.cpu_count() or 1}", "busybox", "busybox.links"],
        source,
        environment=REPRODUCIBLE,
        log="busybox",
    )
    shutil.copy(source / "busybox", fresh / "busybox")
    shutil.copy(source / "busybox.links", fresh / "links")
    shutil.rmtree(work)


def _series(path: Path) -> list[str]:
    """Names of Debian's patches, in their order."""
    if not path.exists():
        return []
    return [line for line in path.read_text().splitlines() if line and not line.startswith("#")]


def _configure(source: Path) -> None:
    """All of BusyBox, but for what our file says."""
    run(["make", *FLAGS, "defconfig"], source)
    config = source / ".config"
    wanted = CONFIG.read_text()
    names = re.findall(r"^(?:# )?(CONFIG_\w+)", wanted, re.MULTILINE)
    kept = [
        line
        for line in config.read_text().splitlines()
        if (found := re.match(r"(?:# )?(CONFIG_\w+)", line)) is None or found[1] not in names
    ]
    config.write_text("\n".join([*kept, wanted]))
    run(["make", *FLAGS, "oldconfig"], source, environment=REPRODUCIBLE, stdin=b"\n" * 1000)
    lost = lost_options(wanted, config.read_text())
    if lost:
        raise ToolchainError(f"BusyBox does not take these options of ours: {', '.join(lost)}")
