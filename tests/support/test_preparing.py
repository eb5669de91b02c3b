"""What tests need is there before they begin; where it cannot be, one line says which tests are left out."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from penglai.guest.image.packages import TOOLS
from penglai.toolchain.places import CACHE_VARIABLE, cache_dir
from tests.support.waiting import PATIENCE

ROOT = Path(__file__).parents[2]
SOMEBODY = "import os; os.geteuid = lambda: 65534"
APT = """#!/bin/sh
echo "E: there is no network"
exit 100
"""
NO_LINUX = "tests/abi/test_layouts.py"
LINUX = "tests/guest/test_leftovers.py"
DEBUG = "tests/guest/test_ioctl_fuzz.py"
SOURCE = "tests/sdk/test_known_programs.py::test_zlibs_own_test_of_every_path_of_inflate"


@pytest.fixture
def somebody(tmp_path: Path) -> dict[str, str]:
    """The environment of who is not root, has no compilers on a Debian, and neither Linux nor sources."""
    cache, path, site = (tmp_path / name for name in ("cache", "bin", "site"))
    for directory in (cache, path, site):
        directory.mkdir()
    (site / "sitecustomize.py").write_text(SOMEBODY)
    for each in cache_dir().iterdir():
        if each.name not in ("linux", "test-sources"):
            (cache / each.name).symlink_to(each)
    for program in ("apt-get", "apt-cache", "dpkg-deb"):
        (path / program).write_text(APT)
        (path / program).chmod(0o755)
    outside = {
        name: value for name, value in os.environ.items() if not name.startswith(("CI", "PYTEST", "COV"))
    }
    return {**outside, CACHE_VARIABLE: str(cache), "PATH": str(path), "PYTHONPATH": str(site)}


def run(environment: dict[str, str], *arguments: str) -> subprocess.CompletedProcess[str]:
    options = ["-p", "no:cacheprovider", "-q", *arguments]
    return subprocess.run(
        [sys.executable, "-m", "pytest", *options],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
    )


@pytest.mark.parametrize("processes", [(), ("-n2",)], ids=["alone", "xdist"])
def test_one_line_says_what_is_missing_and_which_tests_are_left_out(
    somebody: dict[str, str], processes: tuple[str, ...]
):
    done = run(somebody, NO_LINUX, LINUX, DEBUG, *processes)
    assert done.returncode == 0, done.stdout
    (line,) = [line for line in done.stderr.splitlines() if "left out" in line]
    found = re.fullmatch(r"(\d+) tests left out \(tests/guest\): (.*)", line)
    assert found, line
    assert int(found[1]) > 3
    missing = re.search(
        r"packages are missing: run  sudo apt-get install --no-install-recommends (.*)  and", found[2]
    )
    assert missing, line
    assert set(missing[1].split()) >= set(TOOLS.values())
    assert re.search(rf"\b\d+ passed, {found[1]} skipped", done.stdout), done.stdout


@pytest.mark.parametrize("processes", [(), ("-n2",)], ids=["alone", "xdist"])
def test_in_ci_they_fail(somebody: dict[str, str], processes: tuple[str, ...]):
    done = run({**somebody, "CI": "1"}, NO_LINUX, LINUX, *processes)
    assert done.returncode == 1
    assert "tests failing (tests/guest): to build Linux these Debian packages are missing" in done.stderr
    assert "in CI everything has to be built" in done.stdout


def test_those_that_need_nothing_wait_for_nothing(somebody: dict[str, str], tmp_path: Path):
    done = run(somebody, NO_LINUX)
    assert (done.returncode, done.stderr) == (0, "")
    assert not (tmp_path / "cache" / "linux").exists()
    collected = run(somebody, LINUX, "--collect-only")
    assert (collected.returncode, collected.stderr) == (0, "")


def test_what_cannot_be_fetched_is_left_out_with_the_reason(somebody: dict[str, str], tmp_path: Path):
    done = run(somebody, SOURCE)
    assert done.returncode == 0
    assert "1 test left out (tests/sdk): apt-get" in done.stderr
    assert "E: there is no network" in done.stderr
    assert f"all that it said is in {tmp_path}/cache/linux/logs/apt-get.log" in done.stderr
    assert "1 skipped" in done.stdout
