"""Debian's packages: the tools that must be installed, and the sources that need not be.

Sources come from Debian bookworm whatever the system's own release is, and without root: apt works as well
on a directory of its own.
"""

import contextlib
import json
import os
import re
import shutil
import subprocess
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from penglai.abi.errors import ToolchainError
from penglai.guest.image.current import root
from penglai.guest.image.keys import key_of
from penglai.guest.image.work import Tell, locked, once, run, write_whole
from penglai.toolchain.places import refuses_to_execute

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

KEYRING = "/usr/share/keyrings/debian-archive-keyring.gpg"
"""With it apt checks that what comes is Debian's, also on a system that is not Debian."""

NEEDED_FILES: Mapping[str, str] = {
    "/usr/riscv64-linux-gnu/include/stdio.h": "libc6-dev-riscv64-cross",
    "/usr/include/stdio.h": "libc6-dev",
    KEYRING: "debian-archive-keyring",
}
"""Files that compilers and apt need and do not bring along."""

MIRROR_VARIABLE = "PENGLAI_DEBIAN_MIRROR"
"""Environment variable that names another mirror of Debian."""
MIRROR = "http://deb.debian.org"

LINUX = "linux-source-6.1"
BUSYBOX = "busybox"


@dataclass(frozen=True)
class Versions:
    """Which versions of the sources are built."""

    linux: str
    busybox: str


def ensure_tools(tell: Tell) -> None:
    """See to it that every tool is there.

    As root on Debian what is missing is installed.  Raises ToolchainError with the command that installs it,
    or for a cache in which they could execute nothing of what they make.
    """
    if obstacle := refuses_to_execute(root()):
        raise ToolchainError(f"cannot build Linux in {root()}: {obstacle}")
    missing = missing_packages()
    if not missing:
        return
    if not can_install():
        raise ToolchainError(
            "to build Linux these Debian packages are missing: "
            f"run  {_as_root(_install(missing))}  and try again"
        )
    with locked(_lock()):
        missing = missing_packages()  # another process may have installed them meanwhile
        if missing:
            tell(f"installing {' '.join(missing)}", 0)
            _install_as_root(missing)


def can_install() -> bool:
    """Whether what is missing can be installed from here: as root, on Debian."""
    return os.geteuid() == 0 and shutil.which("apt-get") is not None


def _install(missing: Sequence[str]) -> list[str]:
    return ["apt-get", "install", "--yes", "--no-install-recommends", *missing]


def _install_as_root(missing: Sequence[str]) -> None:
    install = _install(missing)
    environment = {"DEBIAN_FRONTEND": "noninteractive"}
    try:
        run(install, Path("/"), environment=environment)
    except ToolchainError:  # what is known of packages may be old
        run(["apt-get", "update"], Path("/"), environment=environment)
        run(install, Path("/"), environment=environment)


def missing_packages(path: str | None = None) -> list[str]:
    """Packages that have to be installed.  path: search there instead of in PATH."""
    tools = {package for tool, package in TOOLS.items() if not shutil.which(tool, path=path)}
    files = {package for file, package in NEEDED_FILES.items() if not Path(file).exists()}
    return sorted(tools | files)


def _as_root(command: Iterable[str]) -> str:
    prefix = "sudo " if os.geteuid() else ""
    return prefix + " ".join(word for word in command if word != "--yes")


def versions(tell: Tell, *, update: bool = False) -> Versions:
    """The versions to build: those of the last time, or (the first time, or with update) Debian's latest.

    Raises ToolchainError if Debian cannot be asked.
    """
    known = None if update else _known()
    if known is not None:
        return known
    _require_apt()
    ensure_tools(tell)
    with locked(_lock()):
        known = None if update else _known()  # another process may have asked meanwhile
        return known or _ask_for_versions(tell)


def _known() -> Versions | None:
    """The versions of the last time."""
    try:
        return Versions(**json.loads(_versions_file().read_text()))
    except (FileNotFoundError, ValueError, TypeError):
        return None


def _ask_for_versions(tell: Tell) -> Versions:
    _update(tell)
    found = Versions(
        linux=_ask("show", LINUX, "Version"),
        busybox=_ask("showsrc", BUSYBOX, "Version"),
    )
    write_whole(_versions_file(), json.dumps(vars(found)).encode())
    return found


def _versions_file() -> Path:
    return root() / "versions.json"


def _lock() -> Path:
    """Held while apt works on our directory: two at once refuse each other."""
    return root() / ".apt.lock"


def linux_source(version: str, tell: Tell) -> Path:
    """The tarball of the kernel's source; it is kept, since each variant is built from it."""
    key = key_of(LINUX, version)
    kept = once(root() / f"source-{key}", lambda fresh: fetch_linux(version, fresh, tell))
    (tarball,) = kept.glob("*.tar.xz")
    return tarball


def fetch_linux(version: str, directory: Path, tell: Tell) -> None:
    """Download the tarball of the kernel's source into directory."""
    _fetch(["download", f"{LINUX}={version}"], directory, tell, f"downloading Linux {version}")
    (package,) = directory.glob("*.deb")
    run(["dpkg-deb", "--extract", package, directory], directory)
    package.unlink()
    (tarball,) = directory.glob("usr/src/*.tar.xz")
    tarball.rename(directory / tarball.name)
    shutil.rmtree(directory / "usr")


def fetch_source(package: str, directory: Path, tell: Tell, version: str = "") -> tuple[Path, Path]:
    """Download a source package into directory; the original tarball, and Debian's changes to it.

    version: by default the newest.  Raises ToolchainError.
    """
    wanted = f"{package}={version}" if version else package
    what = f"downloading {package} {version}".rstrip()
    _fetch(["source", "--download-only", wanted], directory, tell, what)
    (original,) = directory.glob("*.orig.tar.*[!c]")  # beside it there may be a signature, .asc
    (changes,) = directory.glob("*.debian.tar.*")
    return original, changes


def _fetch(command: list[str], directory: Path, tell: Tell, what: str) -> None:
    _require_apt()
    with locked(_lock()):
        if _has_lists():
            tell(what, 0)
            with contextlib.suppress(ToolchainError):
                run(_apt("apt-get", *command), directory)
                return
        _update(tell)  # without lists, or with old ones: Debian has a newer package meanwhile
        tell(what, 0)
        _fetch_or_advise(command, directory)


def _fetch_or_advise(command: list[str], directory: Path) -> None:
    """With a list of packages that is new, a version that is not there has gone from Debian."""
    try:
        run(_apt("apt-get", *command), directory)
    except ToolchainError as error:
        if not re.search("was not found|Can not find version|Unable to find a source", str(error)):
            raise
        raise ToolchainError(
            f"Debian no longer has {command[-1]}; for its latest, run: penglai image build --update"
        ) from error


def _require_apt() -> None:
    for program in ("apt-get", "apt-cache", "dpkg-deb"):
        if not shutil.which(program):
            raise ToolchainError(
                f"{program} is missing: the sources of Linux and BusyBox come from Debian's packages; "
                "build the image on Debian, and boot it here with --kernel and --initrd"
            )


def _has_lists() -> bool:
    """Whether Debian has been asked what there is."""
    return any((_state() / "lists").glob("*_Sources*"))


def _update(tell: Tell) -> None:
    tell("asking Debian for the sources", 0)
    for part in ("lists/partial", "cache/archives/partial"):
        (_state() / part).mkdir(parents=True, exist_ok=True)
    write_whole(_state() / "sources.list", _sources().encode())
    run(_apt("apt-get", "update"), root())


def _sources() -> str:
    mirror = os.environ.get(MIRROR_VARIABLE, MIRROR)
    return "".join(
        f"{kind} [signed-by={KEYRING}] {mirror}/{archive} {suite} main\n"
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
        "Dir::Cache::pkgcache": "",  # these two would be 70 MB, to save a second of the few times
        "Dir::Cache::srcpkgcache": "",
        "Acquire::GzipIndexes": "true",
        "APT::Sandbox::User": "root",
        "APT::Update::Error-Mode": "any",  # not to reach a mirror would be no error
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
