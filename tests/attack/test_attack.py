"""Every class of attack, with little effort: `make attack` tries harder."""

import pytest

from tests.attack.classes import CLASSES, AttackClass, name_of
from tests.attack.tally import Effort

LITTLE = Effort(seed=1, scale=0.1)


@pytest.mark.parametrize("module", CLASSES, ids=name_of)
def test_nothing_breaks(module: AttackClass):
    tally = module.attack(LITTLE)
    assert tally.broken == []
    assert tally.tried > 0
