"""Fixtures that every room's tests may use."""

import os
import signal
import tempfile
from collections.abc import Iterator

import pytest

import penglai
from penglai.machine import Board
from penglai.sdk.build import build_demo
from tests.support import linux
from tests.support.rawhost import RawHost

STATE = tempfile.TemporaryDirectory(prefix="penglai-state-")
os.environ["PENGLAI_STATE"] = STATE.name
"""Machines of tests, and of the commands that tests run, have a state of their own."""

signal.signal(signal.SIGINT, signal.default_int_handler)
"""Shells start what runs in the background with Ctrl-C ignored, and what tests run would inherit that."""


def pytest_runtest_setup(item: pytest.Item) -> None:
    """Tests that boot Linux say plainly where they cannot."""
    if item.get_closest_marker("linux"):
        linux.require()


@pytest.fixture(scope="session", autouse=True)
def _built() -> None:
    """Compile once what is compiled on first use, so that no test meets the compiler's messages."""
    for name in penglai.demos():
        build_demo(name)
    Board(16 << 20, 1).power_off()


@pytest.fixture
def board() -> Iterator[Board]:
    """A board of 16 MiB and two harts, without software."""
    board = Board(16 << 20, 2)
    yield board
    board.power_off()


@pytest.fixture
def raw(board: Board) -> RawHost:
    """A host that makes SBI calls by hand, with 4 MiB given to the monitor."""
    return RawHost(board)


@pytest.fixture
def machine() -> Iterator[penglai.Machine]:
    """A whole embedded machine."""
    with penglai.Machine("64M") as machine:
        yield machine
