"""Fixtures of the tests that start the penglai command to boot Linux."""

import os
from pathlib import Path

import pytest
from tests.support import linux

from penglai.guest.image.build import remember
from penglai.toolchain.places import CACHE_VARIABLE, cache_dir


@pytest.fixture(scope="session")
def booting(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """An environment in which penglai boot boots the image of these sources, and not the user's last one."""
    image = linux.image()
    cache = tmp_path_factory.mktemp("cache")
    for path in cache_dir().iterdir():
        if path.name != "linux":
            (cache / path.name).symlink_to(path)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(CACHE_VARIABLE, str(cache))
        remember(image)
    return {**os.environ, CACHE_VARIABLE: str(cache), "TERM": "xterm", "COLUMNS": "", "LINES": ""}


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    """A directory to share."""
    (tmp_path / "shared").mkdir()
    return tmp_path / "shared"
