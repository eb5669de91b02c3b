"""Sources of well-known C programs, from Debian's source packages: fetched once, and checked by apt."""

import functools
import shutil
import subprocess
import tempfile
from pathlib import Path

from penglai.toolchain.cache import cache_dir

KEYRING = "/usr/share/keyrings/debian-archive-keyring.gpg"
DIRECTORY = "test-sources"


@functools.cache
def debian_source(package: str) -> Path:
    """The unpacked upstream source of a Debian source package."""
    kept = cache_dir() / DIRECTORY / package
    if not kept.exists():
        kept.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=kept.parent) as name:
            work = Path(name)
            archive = _download(package, work, kept)
            (work / "unpacked").mkdir()
            unpack = ["tar", "--extract", "--file", archive, "--directory", work / "unpacked"]
            subprocess.run(unpack, check=True)
            (tree,) = (work / "unpacked").iterdir()
            try:
                tree.rename(kept)
            except OSError:
                assert kept.exists()  # another test process was faster
    return kept


def _download(package: str, work: Path, kept: Path) -> Path:
    apt = shutil.which("apt-get")
    remedy = f"unpack the upstream source of {package} to {kept}"
    assert apt, f"apt-get fetches the source of {package}, and this machine has none; {remedy}"
    site, release = _mirror(apt)
    (work / "sources.list").write_text(f"deb-src [signed-by={KEYRING}] {site} {release} main\n")
    for directory in ("lists/partial", "cache/archives/partial"):
        (work / directory).mkdir(parents=True)
    options = {
        "Dir::Etc::SourceList": work / "sources.list",
        "Dir::Etc::SourceParts": "/dev/null",
        "Dir::State::Lists": work / "lists",
        "Dir::Cache": work / "cache",
        "APT::Sandbox::User": "",
    }
    command = [apt, "-q", *(part for name, value in options.items() for part in ("-o", f"{name}={value}"))]
    for step in (["update"], ["source", "--download-only", package]):
        done = subprocess.run([*command, *step], cwd=work, capture_output=True, text=True, check=False)
        assert not done.returncode, f"{done.stdout}{done.stderr}\nis there a network? if not, {remedy}"
    return next(path for path in work.iterdir() if ".orig.tar." in path.name and path.suffix != ".asc")


def _mirror(apt: str) -> tuple[str, str]:
    """Site and release that apt on this machine uses, if it is Debian."""
    form = ["--format", "$(SITE) $(CODENAME)", "Created-By: Packages", "Origin: Debian"]
    done = subprocess.run([apt, "indextargets", *form], capture_output=True, text=True, check=False)
    site, _, release = (done.stdout.splitlines() or [""])[0].partition(" ")
    return (site, release) if release else ("http://deb.debian.org/debian", "bookworm")
