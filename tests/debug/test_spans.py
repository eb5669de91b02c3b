"""Samples that follow each other become functions that last."""

from hypothesis import given
from hypothesis import strategies as st

from penglai.debug.spans import GAP, Seen, Span, spans


def test_what_stays_goes_on_and_what_changes_ends():
    """What is called ends a ns before what calls it."""
    samples = [Seen(0, 20, ["main", "a"]), Seen(20, 40, ["main", "a", "b"]), Seen(40, 60, ["main", "c"])]
    expected = [Span("a", 0, 39), Span("b", 20, 38), Span("c", 40, 59), Span("main", 0, 60)]
    assert sorted(spans(samples)) == expected


def test_nothing_lasts_through_a_gap():
    late = 10 + GAP + 1
    found = list(spans([Seen(0, 10, ["main"]), Seen(late, late + 5, ["main"])]))
    assert found == [Span("main", 0, 10), Span("main", late, late + 5)]


STEPS = st.tuples(st.integers(-3, GAP), st.integers(1, 5), st.lists(st.sampled_from("abc"), max_size=4))


@given(st.lists(STEPS, max_size=20))
def test_they_contain_each_other_or_have_nothing_in_common(steps: list[tuple[int, int, list[str]]]):
    time, samples = 10, []
    for wait, length, names in steps:
        samples.append(Seen(time + wait, time + wait + length, names))
        time = max(time, time + wait + length)
    found = list(spans(samples))
    for one in found:
        assert one.start < one.end
        for other in found:
            apart = one.end <= other.start or other.end <= one.start
            inside = one.start <= other.start and other.end <= one.end
            around = other.start <= one.start and one.end <= other.end
            assert apart or inside or around
