"""A file server on a machine of its own, for the tests of this room."""

from collections.abc import Iterator

import pytest
from tests.support.fileserver import Files, Recorder, Server, use

import penglai


@pytest.fixture
def disk() -> Recorder:
    return Recorder()


@pytest.fixture
def server(disk: Recorder) -> Iterator[Server]:
    with penglai.Machine("64M", 1, state=None) as machine:
        use(machine, disk)
        yield Server(machine)


@pytest.fixture
def files(server: Server) -> Files:
    return Files(server.machine)
