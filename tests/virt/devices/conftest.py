"""A shared directory, its server, and a client that has it mounted."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.support.ninep import (
    Client,
)

from penglai.virt.devices.share.server import Server


@pytest.fixture
def share(tmp_path: Path) -> Path:
    directory = tmp_path / "share"
    directory.mkdir()
    return directory


@pytest.fixture
def server(share: Path) -> Iterator[Server]:
    server = Server(share)
    yield server
    server.close()


@pytest.fixture
def client(server: Server) -> Client:
    return Client.mounted(server.answer)
