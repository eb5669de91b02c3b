"""Sources of well-known C programs, from Debian's source packages: fetched once, and checked by apt."""

from pathlib import Path

from penglai.guest.image import packages
from penglai.guest.image.work import Tell, once, run
from penglai.toolchain.places import cache_dir

DIRECTORY = "test-sources"


def debian_source(package: str) -> Path:
    """The unpacked upstream source of a Debian source package, for a test with the mark source(package)."""
    kept = _place(package)
    assert kept.exists(), f'what compiles {package} is marked: pytest.mark.source("{package}")'
    return kept


def fetch(package: str, tell: Tell) -> None:
    """See to it that debian_source finds a package.  Raises ToolchainError."""
    once(_place(package), lambda fresh: _unpack(package, fresh, tell))


def _place(package: str) -> Path:
    return cache_dir() / DIRECTORY / package


def _unpack(package: str, fresh: Path, tell: Tell) -> None:
    work = fresh / "work"
    work.mkdir()
    original, _ = packages.fetch_source(package, work, tell)
    run(["tar", "--extract", "--file", original, "--directory", fresh, "--strip-components=1"], work)
    for path in work.iterdir():
        path.unlink()
    work.rmdir()
