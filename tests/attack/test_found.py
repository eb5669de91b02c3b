"""Races that an attack has found, or would: the calls that meet, in every order with one preemption."""

import pytest

from tests.attack.crossings import SCENARIOS, Stage, explore_all

RACES = {
    "a page of an image that becomes another enclave's before it is copied": (
        "an image given away",
        ("create", "another gets its page"),
    ),
    "destroying an instance before it had started wrote into pages that were another's by then": (
        "an instance that is being made",
        ("run instance", "destroy it"),
    ),
    "starting an instance twice gave it relay pages and refused": (
        "an instance that is being made",
        ("run instance", "run it"),
    ),
    "the last instance and its shadow, destroyed at once, stopped the machine": (
        "the last instance and its shadow",
        ("destroy the shadow", "destroy an instance", "destroy the other"),
    ),
}


@pytest.mark.parametrize("race", RACES)
def test_no_order_of_the_calls_does_harm(race: str):
    name, calls = RACES[race]
    scenario = next(each for each in SCENARIOS if each.name == name)
    tally = explore_all(Stage(1, lines=False), scenario, calls)
    assert tally.broken == []
    assert tally.tried > 10
