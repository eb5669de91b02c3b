"""Debian's packages: the tools that must be installed, and the sources that need not be.

Sources come from Debian bookworm whatever the system's own release is, and without root: apt works as well
on a directory of its own.
"""

import json
import os
import shutil
import subprocess
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from penglai.abi.errors import ToolchainError
from penglai.guest.image.work import Tell, root, run, write_whole

CROSS = "riscv64-linux-gnu-"

TOOLS: Mapping[str, str] = {
    f"{CROSS}gcc": "gcc-riscv64-linux-gnu",
    "gcc": "gcc",
    "make": "make",
    "flex": "flex",
    "bison": "bison",
    "bc": "bc",
    "xz": "xz-utils",
    "bzip2": "bzip2",
    "patch": "patch",
}
"""Programs that the builds call, and the packages that have them."""

HEADERS: Mapping[str, str] = {
    "/usr/riscv64-linux-gnu/include/stdio.h": "libc6-dev-riscv64-cross",
    "/usr/include/stdio.h": "libc6-dev",
}
"""Files that the compilers need and do not bring along."""

MIRROR_VARIABLE = "PENGLAI_DEBIAN_MIRROR"
"""Environment variable that names another mirror of Debian."""
MIRROR = "http://deb.debian.org"
KEYRING = "/usr/share/keyrings/debian-archive-keyring.gpg"

LINUX = "linux-source-6.1"
BUSYBOX = "busybox"


@dataclass(frozen=True)
class Versions:
    """Which versions of the sources are built."""

    linux: str
    busybox: str


def ensure_tools(tell: Tell) -> None:
    """See to it that every tool is there.

    As root on Debian what is missing is installed.  Raises ToolchainError with the command that installs it.
    """
    missing = missing_packages()
    if not missing:
        return
    install = ["apt-get", "install", "--yes", "--no-install-recommends", *missing]
    if os.geteuid() or not shutil.which("apt-get"):
        raise ToolchainError(
            f"to build Linux these Debian packages are missing: run  {_as_root(install)}  and try again"
        )
    tell(f"installing {' '.join(missing)}", 0)
    environment = {"DEBIAN_FRONTEND": "noninteractive"}
    try:
        run(install, Path("/"), environment=environment)
    except ToolchainError:  # what is known of packages may be old
        run(["apt-get", "update"], Path("/"), environment=environment)
        run(install, Path("/"), environment=environment)


def missing_packages(path: str | None = None) -> list[str]:
    """Packages that have to be installed.  path: search there instead of in PATH."""
    tools = {package for tool, package in TOOLS.items() if not shutil.which(tool, path=path)}
    headers = {package for header, package in HEADERS.items() if not Path(header).exists()}
    return sorted(tools | headers)


def _as_root(command: Iterable[str]) -> str:
    prefix = "sudo " if os.geteuid() else ""
    return prefix + " ".join(word for word in command if word != "--yes")


def versions(tell: Tell, *, update: bool = False) -> Versions:
    """The versions to build: those of the last time, or (the first time, or with update) Debian's latest.

    Raises ToolchainError if Debian cannot be asked.
    """
    known = root() / "versions.json"
    if known.exists() and not update:
        return Versions(**json.loads(known.read_text()))
    _update(tell)
    found = Versions(
        linux=_ask("show", LINUX, "Version"),
        busybox=_ask("showsrc", BUSYBOX, "Version"),
    )
    write_whole(known, json.dumps(vars(found)).encode())
    return found


def fetch_linux(version: str, directory: Path, tell: Tell) -> Path:
    """Download the kernel's source into directory; its tarball."""
    _fetch(["download", f"{LINUX}={version}"], directory, tell, f"downloading Linux {version}")
    (package,) = directory.glob("*.deb")
    run(["dpkg-deb", "--extract", package, directory], directory)
    package.unlink()
    (tarball,) = directory.glob("usr/src/*.tar.xz")
    return tarball


def fetch_busybox(version: str, directory: Path, tell: Tell) -> tuple[Path, Path]:
    """Download BusyBox's source into directory; the original tarball, and Debian's changes to it."""
    what = f"downloading BusyBox {version}"
    _fetch(["source", "--download-only", f"{BUSYBOX}={version}"], directory, tell, what)
    (original,) = directory.glob("*.orig.tar.bz2")
    (changes,) = directory.glob("*.debian.tar.xz")
    return original, changes


def _fetch(command: list[str], directory: Path, tell: Tell, what: str) -> None:
    tell(what, 0)
    try:
        run(_apt("apt-get", *command), directory)
    except ToolchainError:  # Debian has a newer one, and this list of packages is old
        _update(tell)
        run(_apt("apt-get", *command), directory)


def _update(tell: Tell) -> None:
    for program in ("apt-get", "apt-cache", "dpkg-deb"):
        if not shutil.which(program):
            raise ToolchainError(
                f"{program} is missing: the sources of Linux and BusyBox come from Debian's packages; "
                "build the image on Debian, and boot it here with --kernel and --initrd"
            )
    tell("asking Debian for the sources", 0)
    for part in ("lists/partial", "cache/archives/partial"):
        (_state() / part).mkdir(parents=True, exist_ok=True)
    write_whole(_state() / "sources.list", _sources().encode())
    run(_apt("apt-get", "update"), root())


def _sources() -> str:
    mirror = os.environ.get(MIRROR_VARIABLE, MIRROR)
    signed = f"[signed-by={KEYRING}] " if Path(KEYRING).exists() else ""
    return "".join(
        f"{kind} {signed}{mirror}/{archive} {suite} main\n"
        for archive, suite in (("debian", "bookworm"), ("debian-security", "bookworm-security"))
        for kind in ("deb", "deb-src")
    )


def _state() -> Path:
    return root() / "apt"


def _apt(program: str, *arguments: str) -> list[str]:
    """A command of apt's that knows our lists only, and writes nowhere else."""
    state = _state()
    options = {
        "Dir::Etc::sourcelist": state / "sources.list",
        "Dir::Etc::sourceparts": "/dev/null",
        "Dir::Etc::preferences": "/dev/null",
        "Dir::Etc::preferencesparts": "/dev/null",
        "Dir::State::lists": state / "lists",
        "Dir::Cache": state / "cache",
        "APT::Sandbox::User": "root",
        "Acquire::Languages": "none",
    }
    words = [f"{name}={value}" for name, value in options.items()]
    return [program, "--quiet", *(word for pair in words for word in ("-o", pair)), *arguments]


def _ask(command: str, package: str, field: str) -> str:
    """A field of the newest version of a package."""
    line = _apt("apt-cache", command, package)
    done = subprocess.run(line, capture_output=True, text=True, check=False)
    values = [text.partition(": ")[2] for text in done.stdout.splitlines() if text.startswith(f"{field}: ")]
    if not values:
        raise ToolchainError(f"Debian bookworm has no package {package}: {done.stderr.strip()}")
    newest = values[0]
    for value in values[1:]:
        greater = ["dpkg", "--compare-versions", value, "gt", newest]
        if subprocess.run(greater, check=False).returncode == 0:
            newest = value
    return newest
