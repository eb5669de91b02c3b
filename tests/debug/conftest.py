"""Machines that can be debugged, on every engine."""

from collections.abc import Iterator

import pytest
from tests.support.bare import ENGINES

import penglai


@pytest.fixture(params=ENGINES)
def debuggable(request: pytest.FixtureRequest) -> Iterator[penglai.Machine]:
    with penglai.Machine("64M", debug=True, engine=request.param) as machine:
        yield machine
