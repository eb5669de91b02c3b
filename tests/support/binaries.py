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

DIRECTORY = "test-binaries"
PATIENCE = 60

PACKAGES = {
    "busybox-static": (
        "b/busybox/busybox-static_1.37.0-6+b9_riscv64.deb",
        "4add476d2b185c5b487c285b38d790f0881a7e4a8e2ddde835f917e770eb8633",
    ),
    "bash-static": (
        "b/bash/bash-static_5.2.37-2+b10_riscv64.deb",
        "ff8de6539fb71827fb004de8b0907906ba9862bb66f2c8e11d599326489bf0ac",
    ),
    "lua5.4": (
        "l/lua5.4/lua5.4_5.4.7-1+b2_riscv64.deb",
        "f412d172218750ad99edee1e022a178c544f6d4d4b5ffddb37a942cc45888341",
    ),
    "liblua5.4-0": (
        "l/lua5.4/liblua5.4-0_5.4.7-1+b2_riscv64.deb",
        "b989aee78e3ccb09caab831d491e704b178299037ac8879ee223a7b9ecb1a955",
    ),
    "libreadline8t64": (
        "r/readline/libreadline8t64_8.2-6_riscv64.deb",
        "a9a66fa49aed31e4d5ce6ab2fd4999ccc28bb185b58d645539ff6955c279eb47",
    ),
    "libtinfo6": (
        "n/ncurses/libtinfo6_6.5+20250216-2_riscv64.deb",
        "9b902c0d5a1561c2e721fb90128281c9957ae6e37817acba2547aba91ff104ea",
    ),
    "libc6": (
        "g/glibc/libc6_2.41-12+deb13u5_riscv64.deb",
        "107a6b5d327f81122549b1c5bfa9cfdea2532c4fddd9e0211a915bdfdf22d7f5",
    ),
    "quickjs": (
        "q/quickjs/quickjs_2025.04.26-1_riscv64.deb",
        "1c6c90b234cff19982b30e0bd6d77fa1f9b74148adf7dc577dcc030ea37c614a",
    ),
    "python3.13-minimal": (
        "p/python3.13/python3.13-minimal_3.13.5-2+deb13u5_riscv64.deb",
        "2d21f0475e95c00468421f914ecb3d7f89cd199617e5a6dc7c693e975c225156",
    ),
    "libpython3.13-minimal": (
        "p/python3.13/libpython3.13-minimal_3.13.5-2+deb13u5_riscv64.deb",
        "5d170a02c4127b58cffe299d579803a32653e488e02eaa00548d54a7af589ca9",
    ),
    "libpython3.13-stdlib": (
        "p/python3.13/libpython3.13-stdlib_3.13.5-2+deb13u5_riscv64.deb",
        "0a8cd5a602d1464cd67fe3c5b864cd062f0e5492768ff6dc80d0f4d2b371409b",
    ),
    "libexpat1": (
        "e/expat/libexpat1_2.9.0-1~deb13u1_riscv64.deb",
        "c7cf285224886b6c1ce01f0f85a7cae4097e61eda3221be3521b3aff7058551c",
    ),
    "zlib1g": (
        "z/zlib/zlib1g_1.3.dfsg+really1.3.1-1+deb13u1_riscv64.deb",
        "9ef7002c66324b32b66d894dbe2fd045db8fab38da32be5007c4a01ed0a7b495",
    ),
    "libffi8": (
        "libf/libffi/libffi8_3.4.8-2_riscv64.deb",
        "f2dc7319a32fb0af68723f781667aa876efb402301e9cb170d2979d394c11bfb",
    ),
    "libsqlite3-0": (
        "s/sqlite3/libsqlite3-0_3.46.1-7+deb13u2_riscv64.deb",
        "a878475db5df8361879060e65bfc7bc7ac7fa0e44635ac2107cf5bd7e497e330",
    ),
    "libgcc-s1": (
        "g/gcc-14/libgcc-s1_14.2.0-19_riscv64.deb",
        "16d3f9f534028615413d23f649e5d246baef48fe7db739ad564ef8b9a6e5587c",
    ),
}
"""Where each lies in the pool, and its SHA-256."""

GROUPS = {
    "busybox": ("busybox-static",),
    "bash": ("bash-static",),
    "lua": ("libc6", "lua5.4", "liblua5.4-0", "libreadline8t64", "libtinfo6"),
    "quickjs": ("libc6", "quickjs"),
    "python": (
        *("libc6", "libgcc-s1", "python3.13-minimal", "libpython3.13-minimal", "libpython3.13-stdlib"),
        *("libexpat1", "zlib1g", "libffi8", "libsqlite3-0"),
    ),
}
"""What a test names, by the mark `binary`, and the packages that it takes."""

LEFT_OUT = ("usr/share", "usr/lib/riscv64-linux-gnu/gconv")
"""What no test needs."""


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
