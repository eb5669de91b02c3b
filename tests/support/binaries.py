"""Programs of Debian's for riscv64, as Debian has built them: fetched once, each checked against its hash.

They are trixie's, the first release that has riscv64.
"""

import hashlib
import os
import shutil
import urllib.request
from pathlib import Path

from penglai.abi.errors import ToolchainError
from penglai.guest.image.packages import MIRROR, MIRROR_VARIABLE
from penglai.guest.image.work import Tell, once, run
from penglai.toolchain.cache import cache_dir
from tests.support.debian import GROUPS, LEFT_OUT, PACKAGES

DIRECTORY = "test-binaries"
PATIENCE = 60


def debian_root(group: str) -> Path:
    """A directory with the files of a group's packages, for a test with the mark binary(group)."""
    kept = _place(group)
    assert kept.exists(), f'what runs {group} is marked: pytest.mark.binary("{group}")'
    return kept


def fetch_binaries(group: str, tell: Tell) -> None:
    """See to it that debian_root finds a group.  Raises ToolchainError."""
    once(_place(group), lambda fresh: _unpack(group, fresh, tell))


def _place(group: str) -> Path:
    key = hashlib.sha256(repr([PACKAGES[name] for name in GROUPS[group]]).encode()).hexdigest()[:16]
    return cache_dir() / DIRECTORY / f"{group}-{key}"


def _unpack(group: str, fresh: Path, tell: Tell) -> None:
    if not shutil.which("dpkg-deb"):
        raise ToolchainError("dpkg-deb is missing: programs for the tests come from Debian's packages")
    for name in ("bin", "lib"):
        (fresh / "usr" / name).mkdir(parents=True)
        (fresh / name).symlink_to(f"usr/{name}")
    for name in GROUPS[group]:
        tell(f"downloading {name}", 0)
        package = fresh / "package.deb"
        package.write_bytes(_download(*PACKAGES[name]))
        run(["dpkg-deb", "--extract", package, fresh], fresh)
        package.unlink()
    for name in LEFT_OUT:
        shutil.rmtree(fresh / name, ignore_errors=True)


def _download(path: str, digest: str) -> bytes:
    address = f"{os.environ.get(MIRROR_VARIABLE, MIRROR)}/debian/pool/main/{path}"
    try:
        with urllib.request.urlopen(address, timeout=PATIENCE) as answer:
            data = bytes(answer.read())
    except OSError as error:
        raise ToolchainError(f"cannot fetch {address}: {error}") from error
    if hashlib.sha256(data).hexdigest() != digest:
        raise ToolchainError(f"{address} is not what the tests were written for: its hash differs")
    return data
