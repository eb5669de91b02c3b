"""Every target with its corpus, and with a few random changes of it: `make fuzz` tries harder."""

import random

import pytest

from tests.fuzz import targets
from tests.fuzz.choices import Choices

FEW = 5


@pytest.mark.parametrize("name", targets.TARGETS)
def test_nothing_breaks(name: str):
    target = targets.load(name)
    tried = 0
    try:
        for data in targets.cases(name, FEW * targets.RATES[name], random.Random(name)):
            target.one(data)
            tried += 1
    finally:
        if hasattr(target, "fresh"):
            target.fresh()
    assert tried > FEW


@pytest.mark.parametrize("name", targets.TARGETS)
def test_a_corpus_is_small(name: str):
    sizes = [len(data) for data in targets.corpus(name)]
    assert 0 < len(sizes) < 20
    assert max(sizes) <= 16 << 10


def test_choices_of_data_that_has_ended_are_the_first_ones():
    choices = Choices(b"\x01")
    assert [choices.below(3), choices.below(3), choices.pick("ab"), choices.word([5]), choices.left] == [
        *(1, 0, "a", 5),
        0,
    ]
