"""SDK_FILES: what its entries mean."""

import re
from pathlib import Path

import pytest
from tests.docs.test_docs import ROOT

from penglai.abi.errors import ImageError
from penglai.guest.image.files import ALWAYS, default_files, resolve
from penglai.sdk.build import build_demo, demos
from penglai.sdk.hostbuild import build_host_demo, host_demos


def test_a_file_goes_into_the_root_directory_under_its_own_name(tmp_path: Path):
    (tmp_path / "mine").write_text("x")
    (file,) = resolve([str(tmp_path / "mine")])
    assert (file.name, file.path) == ("mine", tmp_path / "mine")


def test_a_file_may_get_another_name(tmp_path: Path):
    (tmp_path / "mine").write_text("x")
    (file,) = resolve([f"yours={tmp_path}/mine"])
    assert (file.name, file.path) == ("yours", tmp_path / "mine")
    (file,) = resolve([f"/yours={tmp_path}/mine"])
    assert file.name == "yours"


def test_what_is_shipped_is_built():
    found = {file.name: file.path for file in resolve(["loop", "host", "install.sh"])}
    assert found["loop"] == build_demo("loop")
    assert found["host"] == build_host_demo("host")
    assert found["install.sh"].read_text().startswith("#!/bin/sh")


def test_a_file_of_ones_own_comes_before_what_is_shipped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    (tmp_path / "loop").write_text("my own")
    monkeypatch.chdir(tmp_path)
    (file,) = resolve(["loop"])
    assert file.path.read_text() == "my own"


@pytest.mark.parametrize(
    ("entry", "reason"),
    [
        ("nothing", "nothing is not there, and nothing of that name is shipped; there are penglai.ko"),
        ("/no/such/file", "is not there"),
        ("name=/no/such/file", "is not there"),
        ("directory", "is no regular file"),
        ("a/b=file", "no name for a file in /"),
        ("=file", "no name for a file in /"),
        ("..=file", "no name for a file in /"),
        ("", "is"),
    ],
)
def test_what_is_nothing_is_an_error(
    entry: str, reason: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.chdir(tmp_path)
    Path("file").touch()
    Path("directory").mkdir()
    with pytest.raises(ImageError, match=re.escape(reason)):
        resolve([entry])


def test_two_files_for_one_place_are_an_error_and_one_twice_is_none(tmp_path: Path):
    for name in ("a", "b"):
        (tmp_path / name).write_text(name)
    with pytest.raises(ImageError, match="two files for /x"):
        resolve([f"x={tmp_path}/a", f"x={tmp_path}/b"])
    assert len(resolve([str(tmp_path / "a")] * 2)) == 1


def test_the_module_needs_a_kernel():
    with pytest.raises(ImageError, match="image build"):
        resolve(["penglai.ko"])


def test_all_that_is_shipped_is_in_by_default_and_in_the_makefile():
    assert set(default_files()) == {*ALWAYS, *host_demos(), *demos()}
    text = (ROOT / "Makefile").read_text().replace("\\\n", " ")
    listed = re.search(r"^SDK_FILES \?= (.*)$", text, re.MULTILINE)
    assert listed is not None
    assert set(listed[1].split()) == set(default_files())


@pytest.mark.parametrize("name", ["init", "bin", "etc", "dev", "share"])
def test_the_systems_own_places_are_taken(name: str, tmp_path: Path):
    """A file over /bin would leave Linux without programs, one over /init without a beginning."""
    (tmp_path / name).touch()
    with pytest.raises(ImageError, match=f"a /{name} of its own"):
        resolve([str(tmp_path / name)])
    assert resolve([f"my-{name}={tmp_path / name}"])
