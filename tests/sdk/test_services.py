"""Servers that the package ships, as programs: what they are made of."""

import hashlib
import io
import tarfile
from dataclasses import replace
from pathlib import Path

import pytest

import penglai
from penglai.sdk.build import PORTABLE, build_words
from penglai.sdk.check import check
from penglai.sdk.services import LITTLEFS_FLAGS, PROGRAMS, SERVICES, build_service, services
from penglai.toolchain import sources
from penglai.toolchain.places import cache_dir
from penglai.toolchain.sources import LITTLEFS, MONOCYPHER, source, unpack

OWN = sorted(SERVICES.glob("*.c"))


@pytest.mark.services
@pytest.mark.parametrize("path", OWN, ids=lambda path: path.name)
def test_no_source_of_ours_has_warnings(path: Path, tmp_path: Path):
    others = [f"-I{source(archive)}" for archive in (LITTLEFS, MONOCYPHER)]
    warnings = ["-Wall", "-Wextra", "-Werror", "-c", *LITTLEFS_FLAGS, f"-I{SERVICES}", *others]
    build_words(PORTABLE, [*warnings, str(path)], tmp_path / "object.o", loud=False)


@pytest.mark.services
@pytest.mark.parametrize("name", services())
def test_they_run_on_the_originals_machine_too(name: str):
    program = build_service(name)
    assert check(program.read_bytes(), name) == []


def test_each_source_is_of_a_server():
    used = {file for service in PROGRAMS.values() for file in service.sources}
    assert used == {path.name for path in OWN}


def test_an_archive_that_is_another_one_is_refused(tmp_path: Path):
    with pytest.raises(penglai.ToolchainError, match="SHA-256"):
        unpack(LITTLEFS, b"something else", tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_only_the_files_that_are_named_are_taken(tmp_path: Path):
    content = io.BytesIO()
    with tarfile.open(fileobj=content, mode="w:gz") as tar:
        for name in ("a-1/in/x.c", "a-1/setup.py", "a-1/../../y.c"):
            tar.addfile(tarfile.TarInfo(name), io.BytesIO())
    digest = hashlib.sha256(content.getvalue()).hexdigest()
    unpack(replace(LITTLEFS, digest=digest, files=("in/x.c",)), content.getvalue(), tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["x.c"]


def test_without_a_network_the_error_says_what_was_wanted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("PENGLAI_CACHE", str(tmp_path))
    monkeypatch.setattr(sources, "PLACE", (tmp_path / "nowhere").as_uri())
    with pytest.raises(penglai.ToolchainError, match=r"cannot fetch the source of littlefs.*nowhere"):
        source(LITTLEFS)
    assert not list(cache_dir().glob("source-*"))
