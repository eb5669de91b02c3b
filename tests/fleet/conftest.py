"""Fleets of two small nodes; starting one takes some seconds, so a module's tests share it."""

from collections.abc import Iterator
from pathlib import Path

import pytest

import penglai


@pytest.fixture(scope="module")
def state(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The state directory of the fleet's device."""
    return tmp_path_factory.mktemp("state")


@pytest.fixture(scope="module")
def fleet(state: Path) -> Iterator[penglai.Fleet]:
    with penglai.Fleet(2, "64M", 2, state=state) as fleet:
        yield fleet
