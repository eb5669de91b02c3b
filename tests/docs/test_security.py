"""Every test and every class of attack that the threat model names exists."""

import re

from tests.attack.classes import CLASSES, name_of
from tests.mutation.planted import MUTATIONS, ROOT
from tests.mutation.promises_native import NATIVE
from tests.mutation.promises_snapshots import SNAPSHOTS
from tests.mutation.promises_verifier import VERIFIER

PAGE = (ROOT / "docs/security.md").read_text(encoding="utf-8")


def cells() -> list[str]:
    """The right column of the tables of promises."""
    return re.findall(r"^\| [^|]+ \| (`(?:test_|attack: )[^|]+) \|$", PAGE, re.MULTILINE)


def test_each_promise_names_tests_that_exist():
    sources = "\n".join(path.read_text() for path in (ROOT / "tests").rglob("*.py"))
    named = re.findall(r"`(test_\w+)`", " ".join(cells()))
    assert len(named) > 50
    for name in named:
        assert re.search(rf"^ *def {name}\(", sources, re.MULTILINE), name


def test_each_class_of_attack_that_is_named_exists():
    named = set(re.findall(r"`attack: (\w+)`", " ".join(cells())))
    assert len(named) >= 10
    assert named <= {name_of(each) for each in CLASSES}


def test_the_places_of_the_mutations_are_there():
    """So that a change of the monitor cannot make one of them disappear unnoticed."""
    assert len(MUTATIONS) >= 10
    for mutation in (*MUTATIONS, *NATIVE, *SNAPSHOTS, *VERIFIER):
        assert (ROOT / mutation.file).read_text().count(mutation.before) == 1, mutation.promise
