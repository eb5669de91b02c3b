"""Which machine an enclave is placed on."""

from dataclasses import dataclass

import pytest

from penglai.abi.errors import BadArgumentError, FleetError
from penglai.fleet.choosing import choose

ONE, OTHER = bytes(64), bytes([1]) * 64


@dataclass
class Some:
    """A machine, as far as it is looked at."""

    name: str
    free: int
    device_key: bytes = ONE
    draining: bool = False


MACHINES = [Some("a", 5), Some("b", 7, OTHER), Some("c", 7), Some("d", 9, draining=True)]


def test_the_one_with_the_most_free_pages_is_tried_first():
    assert choose(MACHINES, frozenset()) == ["b", "c", "a"]


def test_only_allowed_devices_are():
    assert choose(MACHINES, frozenset([ONE])) == ["c", "a"]
    with pytest.raises(FleetError, match="policy"):
        choose(MACHINES, frozenset([bytes([2]) * 64]))


def test_a_named_one_is_the_only_one():
    assert choose(MACHINES, frozenset(), where="a") == ["a"]
    with pytest.raises(BadArgumentError, match="no machine 'x' in the fleet; there are a, b, c, d"):
        choose(MACHINES, frozenset(), where="x")
    with pytest.raises(FleetError, match="d is being drained"):
        choose(MACHINES, frozenset(), where="d")


def test_the_one_that_it_leaves_is_none():
    assert choose(MACHINES, frozenset(), away="b") == ["c", "a"]
    with pytest.raises(FleetError, match="penglai fleet join"):
        choose(MACHINES[:1], frozenset(), away="a")
