"""docs/linux-personality.md says of each call what the code has."""

import re
from pathlib import Path

from penglai.sdk.personality import CALLS

PAGE = Path(__file__).parents[2] / "docs/linux-personality.md"
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
