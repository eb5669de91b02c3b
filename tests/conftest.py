"""Fixtures that every room's tests may use."""

import os
import signal
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import settings
from xdist.workermanage import WorkerController

import penglai
from penglai.abi.errors import MonitorBug
from penglai.machine import Board
from tests.support import preparing, quick
from tests.support.examples import QUICK
from tests.support.fake import BeyondTheFakeError, FakeEngine
from tests.support.rawhost import RawHost
from tests.support.waiting import LIMIT

STATE = tempfile.TemporaryDirectory(prefix="penglai-state-")
os.environ["PENGLAI_STATE"] = STATE.name
"""Machines of tests, and of the commands that tests run, have a state of their own."""

signal.signal(signal.SIGINT, signal.default_int_handler)
"""Shells start what runs in the background with Ctrl-C ignored, and what tests run would inherit that."""


settings.load_profile("tests")


def pytest_addoption(parser: pytest.Parser) -> None:
    """make check has an option."""
    parser.addoption("--quick", action="store_true", help="what make check runs: on the fake engine")


def pytest_configure(config: pytest.Config) -> None:
    """Before the first module of tests is read, since that fixes how many examples there are."""
    if config.option.quick:
        settings.load_profile(QUICK)


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """A test that hangs is ended; its time is that of the test alone.  --quick leaves the quick ones."""
    if config.option.quick:
        quick.choose(config, items)
    if config.getoption("timeout", None) is None:
        for item in items:
            item.add_marker(pytest.mark.timeout(LIMIT))


@pytest.hookimpl(trylast=True)
def pytest_collection_finish(session: pytest.Session) -> None:
    """Before the first test: build what those that were chosen need."""
    if session.items and not (session.config.option.collectonly or session.config.option.quick):
        shared = getattr(session.config, "workerinput", {}).get("shared", STATE.name)
        preparing.prepare(session.items, Path(shared))


@pytest.hookimpl(optionalhook=True)
def pytest_configure_node(node: WorkerController) -> None:
    """Tell a process of pytest-xdist where its run has a directory."""
    node.workerinput["shared"] = STATE.name


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item: pytest.Item) -> Iterator[None]:
    """What the fake engine cannot execute is left out of make check, and of nothing else."""
    try:
        return (yield)
    except (BeyondTheFakeError, MonitorBug) as error:
        beyond = error.__cause__ if isinstance(error, MonitorBug) else error
        if item.config.option.quick and isinstance(beyond, BeyondTheFakeError):
            pytest.skip(str(beyond))
        raise


def pytest_runtest_setup(item: pytest.Item) -> None:
    """Tests say plainly why they cannot be run."""
    preparing.require(item)


@pytest.fixture
def board(request: pytest.FixtureRequest) -> Iterator[Board]:
    """A board of 16 MiB and two harts, without software."""
    board = Board(16 << 20, 2, engine=FakeEngine() if request.config.option.quick else None)
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
