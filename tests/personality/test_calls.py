"""docs/linux-personality.md says what the code has: each call, and how much it is."""

import re
from pathlib import Path

from penglai.sdk.personality import CALLS, DIRECTORY

PAGE = Path(__file__).parents[2] / "docs/linux-personality.md"
WITHIN = 0.05
"""Of the printed number of lines: so that not every line makes it wrong."""
WORDS = {"FULL": "full", "PART": "partial", "REFUSED": "refused"}


def test_the_page_lists_the_calls_of_the_table():
    table = re.findall(r"^CALL\((\d+), (\w+), .*, (\w+)\)$", CALLS.read_text(), re.MULTILINE)
    assert len(table) == CALLS.read_text().count("CALL(") - 1, "one mention is the comment's"
    numbers = [int(number) for number, _, _ in table]
    assert numbers == sorted(set(numbers))
    listed = re.findall(r"^\| (\w+) \| (full|partial|refused) \| (.*)\|$", PAGE.read_text(), re.MULTILINE)
    assert [(name, word) for name, word, _ in listed] == [(name, WORDS[how]) for _, name, how in table]
    for name, word, note in listed:
        assert bool(note.strip()) == (word != "full"), name


def test_the_page_says_how_many_lines_it_has():
    printed = re.search(r"C of some ([\d,]+)\s+lines", PAGE.read_text())
    assert printed
    lines = sum(len(path.read_text().splitlines()) for path in DIRECTORY.glob("*.c"))
    assert abs(int(printed[1].replace(",", "")) - lines) <= WITHIN * lines, lines
