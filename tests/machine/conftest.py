"""Tests of harts run on every engine that this machine has."""

from collections.abc import Iterator

import pytest
from tests.support.bare import ENGINES

from penglai.machine import Board


@pytest.fixture(params=ENGINES)
def board(request: pytest.FixtureRequest) -> Iterator[Board]:
    """A board of 16 MiB and two harts, without software."""
    board = Board(16 << 20, 2, engine=request.param)
    yield board
    board.power_off()
