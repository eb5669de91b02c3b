"""The cache: what is built once is built once, also by two at a time."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from tests.support.waiting import PATIENCE

from penglai.abi.errors import ToolchainError
from penglai.toolchain import cache, compiler, places
from penglai.toolchain.kept import SEAL

BUILD = "from penglai.sdk.build import build_demo; print(build_demo('hello-world'))"


def test_two_processes_may_build_the_same_at_once(tmp_path: Path):
    environment = {places.CACHE_VARIABLE: str(tmp_path), "PATH": "/usr/bin:/bin"}
    both = [
        subprocess.Popen([sys.executable, "-c", BUILD], env=environment, stdout=subprocess.PIPE, text=True)
        for _ in range(2)
    ]
    paths = {process.communicate(timeout=PATIENCE)[0].strip() for process in both}
    assert [process.returncode for process in both] == [0, 0]
    (path,) = paths
    assert Path(path).is_relative_to(tmp_path)
    made = Path(path).parent
    assert [file.name for file in made.glob(".*")] == [SEAL], "no half-made file is left"
    assert not list(tmp_path.glob(f".{made.name}*")), "nor a half-made directory"


def test_the_key_covers_arguments_and_inputs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv(places.CACHE_VARIABLE, str(tmp_path / "cache"))
    made = []
    monkeypatch.setattr(compiler, "compile_c", lambda _, output: made.append(output))
    source = tmp_path / "a.c"
    source.write_text("1")
    first = cache.compile_cached("a", [source], [source])
    assert cache.compile_cached("a", [source], [source]) == first
    assert cache.compile_cached("a", ["-O1", source], [source]) != first
    source.write_text("2")
    assert cache.compile_cached("a", [source], [source]) != first
    assert len(made) == 3


def test_directories_of_the_user_are_where_xdg_has_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.delenv(places.CACHE_VARIABLE, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    for named in ("", "not/absolute"):
        monkeypatch.setenv("XDG_CACHE_HOME", named)
        assert places.cache_dir() == tmp_path / ".cache/penglai"
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "elsewhere"))
    assert places.cache_dir() == tmp_path / "elsewhere/penglai"


def test_a_user_without_a_home_is_told_what_to_set(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.delenv(places.CACHE_VARIABLE, raising=False)
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    monkeypatch.delenv("HOME")
    monkeypatch.setattr(os, "getuid", lambda: 54_321)
    with pytest.raises(ToolchainError, match="set HOME, or XDG_CACHE_HOME"):
        places.cache_dir()


def test_a_missing_package_is_named_with_its_remedy():
    with pytest.raises(ToolchainError, match="pip install no-such-package"):
        places.package_dir("no-such-package")
    with pytest.raises(ToolchainError, match="pip install no-such-package"):
        places.package_version("no-such-package")


def test_a_cache_that_cannot_be_written_is_an_error_of_ours(tmp_path: Path):
    (tmp_path / "file").write_text("")
    source = tmp_path / "a.c"
    source.write_text("int x;")
    with pytest.raises(ToolchainError, match="cannot write"):
        compiler.compile_c(["-c", source], tmp_path / "file" / "out")
