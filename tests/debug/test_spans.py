"""Samples that follow each other become functions that last."""

from hypothesis import given
from hypothesis import strategies as st

from penglai.debug.spans import GAP, Seen, Span, spans


def test_what_stays_goes_on_and_what_changes_ends():
    found = list(
        spans([Seen(0, 2, ["main", "a"]), Seen(2, 4, ["main", "a", "b"]), Seen(4, 6, ["main", "c"])])
    )
    assert sorted(found) == [Span("a", 0, 4), Span("b", 2, 4), Span("c", 4, 6), Span("main", 0, 6)]


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
