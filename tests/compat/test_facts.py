"""Every fact on every host, and the documentation that tells of them."""

import pytest

import penglai
from penglai.guest.sharing import Share
from tests.compat import embedded, hosts, linux, table
from tests.compat.fact import Fact
from tests.compat.facts import FACTS

MARKED = [
    pytest.param(fact, id=fact.name, marks=pytest.mark.services if fact.services else ()) for fact in FACTS
]


@pytest.mark.parametrize("fact", MARKED)
def test_on_the_embedded_host(fact: Fact):
    with penglai.Machine(embedded.MEMORY, 1, state=None) as machine:
        assert embedded.observe(fact, machine) == fact.here, fact.says


@pytest.mark.parametrize("fact", MARKED)
def test_on_a_machine_that_behaves_as_the_original(fact: Fact):
    with penglai.Machine(embedded.MEMORY, 1, state=None, profile="tvm") as machine:
        assert embedded.observe(fact, machine) == fact.expected, fact.says


@pytest.mark.linux
@pytest.mark.services
def test_on_linux():
    got = linux.observe(FACTS)
    assert got == {fact.name: fact.here for fact in FACTS}


@pytest.mark.linux
def test_host_programs():
    assert hosts.observe() == {name: expected for name, (_, expected) in hosts.EXPECTED.items()}


@pytest.mark.linux
def test_sectors_outlive_the_machine_in_a_shared_directory(tmp_path):
    write, read = (
        next(fact for fact in FACTS if fact.name == name) for name in ("sectors", "the file grows")
    )
    (tmp_path / "persistencty_file").touch()
    for fact in (write, read):
        assert linux.observe([fact], [Share(tmp_path)]) == {fact.name: fact.here}
    kept = (tmp_path / "persistencty_file").read_bytes()
    assert len(kept) == 5001 * 4096
    assert kept[77 * 4096] == 5, "of the machine before"


def test_names_are_of_one_fact_each():
    assert len(set(table.names(FACTS))) == len(FACTS)


def test_the_page_is_up_to_date():
    assert table.PAGE.read_text(encoding="utf-8") == table.page(FACTS), "make compat ARGS=--write"
