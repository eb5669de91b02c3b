"""Ctrl-C inside the driver is delivered on the way out, once, by whatever handler the program has."""

import signal
from collections.abc import Iterator

import pytest

from penglai.driver.shield import Shield


@pytest.fixture
def delivered() -> Iterator[list[int]]:
    """The signals that the program's own handler got."""
    found: list[int] = []
    before = signal.signal(signal.SIGINT, lambda number, _frame: found.append(number))
    yield found
    signal.signal(signal.SIGINT, before)


def test_a_signal_waits_for_the_end_of_the_outermost_block(delivered: list[int]):
    handler = signal.getsignal(signal.SIGINT)
    with Shield():
        with Shield():
            signal.raise_signal(signal.SIGINT)
            signal.raise_signal(signal.SIGINT)
        assert delivered == []
    assert delivered == [signal.SIGINT]
    assert signal.getsignal(signal.SIGINT) is handler


def interrupted_and_failing() -> None:
    with Shield():
        signal.raise_signal(signal.SIGINT)
        raise ValueError("it fails")


def test_a_block_that_fails_delivers_it_too(delivered: list[int]):
    with pytest.raises(ValueError, match="it fails"):
        interrupted_and_failing()
    assert delivered == [signal.SIGINT]
    with Shield():
        assert delivered == [signal.SIGINT]


def test_a_program_that_ignores_the_signal_goes_on_ignoring_it():
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        with Shield():
            signal.raise_signal(signal.SIGINT)
        assert signal.getsignal(signal.SIGINT) is signal.SIG_IGN
    finally:
        signal.signal(signal.SIGINT, before)
