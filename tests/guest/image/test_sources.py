"""Asking Debian for sources, with an apt of the test's own: what is asked, how often, and what is said."""

import json
import os
import threading
from pathlib import Path

import pytest
from tests.support.waiting import until

from penglai.abi.errors import ToolchainError
from penglai.guest.image import packages
from penglai.guest.image.current import root
from penglai.guest.image.packages import Versions, fetch_linux, versions
from penglai.guest.image.work import quiet
from penglai.toolchain.places import CACHE_VARIABLE

LATEST = Versions(linux="6.1.200-1", busybox="1:1.35.0-9")

APT_GET = """#!/bin/sh
echo "$@" >> {log}
case "$*" in
*update*)
    mkdir {held} 2> /dev/null || {{ echo "E: Could not get lock {held}"; exit 100; }}
    read -r _ < {gate}
    rmdir {held} ;;
*) echo "E: Version '6.1.1-1' for 'linux-source-6.1' was not found"; exit 100 ;;
esac
"""
APT_CACHE = f"""#!/bin/sh
case "$*" in
*showsrc*) echo "Version: {LATEST.busybox}" ;;
*) echo "Version: {LATEST.linux}" ;;
esac
"""


class Apt:
    """Programs of apt's names in a directory that is all of PATH beside the shell."""

    def __init__(self, directory: Path) -> None:
        self._log = directory / "log"
        self._log.touch()
        self.gate = directory / "gate"
        os.mkfifo(self.gate)
        self.path = directory / "bin"
        self.path.mkdir()
        words = {"log": self._log, "held": directory / "held", "gate": self.gate}
        scripts = {"apt-get": APT_GET.format(**words), "apt-cache": APT_CACHE}
        for name in (*packages.TOOLS, "dpkg-deb", *scripts):
            (self.path / name).write_text(scripts.get(name, "#!/bin/sh\n"))
            (self.path / name).chmod(0o755)

    def let_go(self) -> None:
        """The update that waits, or the next one, goes on."""
        self.gate.write_text("\n")

    @property
    def calls(self) -> list[str]:
        """What apt-get was called for: update, download or source."""
        words = [line.split() for line in self._log.read_text().splitlines()]
        return [next(word for word in line if word.isalpha()) for line in words]


@pytest.fixture
def apt(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Apt:
    apt = Apt(tmp_path)
    monkeypatch.setenv("PATH", f"{apt.path}:/usr/bin:/bin")
    monkeypatch.setenv(CACHE_VARIABLE, str(tmp_path / "cache"))
    monkeypatch.setattr(packages, "NEEDED_FILES", {})
    return apt


def somebody_waits_for_a_lock() -> bool:
    return any(
        "->" in line and f" {os.getpid()} " in line for line in Path("/proc/locks").read_text().splitlines()
    )


def test_two_at_once_ask_once(apt: Apt):
    """apt refuses to work on one directory twice: the second waits, and then knows."""
    found = []
    threads = [threading.Thread(target=lambda: found.append(versions(quiet))) for _ in range(2)]
    for thread in threads:
        thread.start()
    until(somebody_waits_for_a_lock)
    apt.let_go()
    for thread in threads:
        thread.join()
    assert found == [LATEST, LATEST]
    assert apt.calls == ["update"]


def test_what_is_known_is_not_asked_again_unless_it_is_wanted(apt: Apt):
    old = Versions(linux="6.1.1-1", busybox="1:1.35.0-1")
    root().mkdir(parents=True)
    (root() / "versions.json").write_text(json.dumps(vars(old)))
    assert versions(quiet) == old
    assert apt.calls == []
    opener = threading.Thread(target=apt.let_go)
    opener.start()
    assert versions(quiet, update=True) == LATEST
    opener.join()
    assert versions(quiet) == LATEST
    assert apt.calls == ["update"]


@pytest.mark.parametrize("text", ["", "{", "[]", "{}", '{"linux": "1", "kernel": "2"}'])
def test_what_is_not_understood_is_asked_again(text: str, apt: Apt):
    root().mkdir(parents=True)
    (root() / "versions.json").write_text(text)
    opener = threading.Thread(target=apt.let_go)
    opener.start()
    assert versions(quiet) == LATEST
    opener.join()


@pytest.mark.parametrize(
    ("asked_before", "calls"), [(False, ["update", "download"]), (True, ["download", "update", "download"])]
)
def test_a_version_that_debian_has_no_more_is_said_with_the_remedy(
    apt: Apt, tmp_path: Path, asked_before: bool, calls: list[str]
):
    if asked_before:
        lists = root() / "apt" / "lists"
        lists.mkdir(parents=True)
        (lists / "deb.debian.org_debian_dists_bookworm_main_source_Sources.lz4").touch()
    opener = threading.Thread(target=apt.let_go)
    opener.start()
    with pytest.raises(ToolchainError, match=r"no longer has linux-source-6\.1=6\.1\.1-1; .*--update"):
        fetch_linux("6.1.1-1", tmp_path, quiet)
    opener.join()
    assert apt.calls == calls


def test_a_system_without_apt_is_told_that_it_needs_debian(apt: Apt, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("PATH", "/nowhere")
    with pytest.raises(ToolchainError, match="build the image on Debian"):
        versions(quiet)
