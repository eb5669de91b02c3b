"""Messages that enclaves cause: few a second, and nothing is left out without a word."""

import logging
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from penglai.machine.ratelimit import RateLimit


@given(st.lists(st.floats(0, 5), max_size=200), st.integers(0, 5))
def test_no_second_has_more_lines_than_the_limit_and_the_rest_is_counted(moments: list[float], lines: int):
    now = [0.0]
    limit = RateLimit(lines, lambda: now[0])
    said: Counter[int] = Counter()
    told = 0
    for moment in sorted(moments):
        now[0] = moment
        record = logging.LogRecord("penglai", logging.WARNING, "", 0, "no %d", (7,), None)
        if limit.filter(record):
            said[int(moment)] += 1
            text = record.getMessage()
            assert text.startswith("no 7")
            told += int(text.split("(")[1].split()[0]) if "(" in text else 0
    assert all(count <= lines for count in said.values())
    assert sum(said.values()) + told + limit._left_out == len(moments)


@pytest.mark.parametrize(
    "name", ["penglai.driver.ocalls", "penglai.monitor.reports", "penglai.monitor.execution"]
)
def test_what_enclaves_can_cause_is_limited(name: str):
    __import__(name)
    assert any(isinstance(each, RateLimit) for each in logging.getLogger(name).filters)
