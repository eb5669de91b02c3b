"""The interrupt controller: claims by priority, level-triggered, one at a time."""

from hypothesis import given
from hypothesis import strategies as st

from penglai.virt.devices import plic
from penglai.virt.devices.plic import CLAIM, ENABLE, PENDING, THRESHOLD, Plic


class Wired:
    """A controller with its output; `enable` sets priority 1."""

    def __init__(self) -> None:
        self.output: list[bool] = []
        self.plic = Plic(self.output.append)

    def enable(self, *sources: int, priority: int = 1) -> None:
        for source in sources:
            self.plic.store(4 * source, 4, priority)
        self.plic.store(ENABLE, 4, self.plic.load(ENABLE, 4) | sum(1 << source for source in sources))

    def claim(self) -> int:
        return self.plic.load(CLAIM, 4)

    def complete(self, source: int) -> None:
        self.plic.store(CLAIM, 4, source)


def test_a_source_that_wants_something_is_claimed_once():
    wired = Wired()
    wired.enable(5)
    wired.plic.set_level(5, True)
    assert wired.output == [True]
    assert wired.plic.load(PENDING, 4) == 1 << 5
    assert [wired.claim(), wired.claim()] == [5, 0]
    assert wired.output == [True, False]


def test_a_source_that_still_wants_something_comes_again_after_completion():
    wired = Wired()
    wired.enable(5)
    wired.plic.set_level(5, True)
    wired.claim()
    wired.complete(5)
    assert wired.output == [True, False, True]
    assert wired.claim() == 5
    wired.plic.set_level(5, False)
    wired.complete(5)
    assert wired.claim() == 0
    assert wired.output[-1] is False


def test_a_source_that_gave_up_before_it_was_claimed_is_not_there():
    wired = Wired()
    wired.enable(5)
    wired.plic.set_level(5, True)
    wired.plic.set_level(5, False)
    assert wired.claim() == 0
    assert wired.output == [True, False]


def test_the_highest_priority_comes_first_and_the_lowest_number_among_equals():
    wired = Wired()
    wired.enable(7, 9, priority=2)
    wired.enable(3, 30, priority=1)
    for source in (30, 9, 7, 3):
        wired.plic.set_level(source, True)
    assert [wired.claim() for _ in range(5)] == [7, 9, 3, 30, 0]


def test_priority_zero_and_the_threshold_keep_sources_out():
    wired = Wired()
    wired.enable(4, priority=0)
    wired.enable(6, priority=3)
    wired.plic.store(THRESHOLD, 4, 3)
    wired.plic.set_level(4, True)
    wired.plic.set_level(6, True)
    assert wired.output == []
    assert wired.claim() == 0
    wired.plic.store(THRESHOLD, 4, 2)
    assert wired.output == [True]
    assert wired.claim() == 6


@given(
    st.lists(
        st.one_of(
            st.tuples(
                st.just("store"), st.integers(0, plic.SIZE // 4).map(lambda n: 4 * n), st.integers(0, 1 << 32)
            ),
            st.tuples(st.just("claim"), st.just(CLAIM), st.integers(0, 1 << 32)),
            st.tuples(st.just("level"), st.integers(1, plic.SOURCES - 1), st.booleans()),
        )
    )
)
def test_whatever_is_stored_the_output_is_on_exactly_when_a_claim_would_find_something(
    actions: list[tuple[str, int, int]],
):
    wired = Wired()
    wired.enable(1, 2, 3)
    for kind, place, value in actions:
        if kind == "level":
            wired.plic.set_level(place, bool(value))
        else:
            wired.plic.store(place, 4, value)
        wanted = bool(wired.output) and wired.output[-1]
        assert bool(wired.plic._best()) is wanted
        assert all(first is not second for first, second in zip(wired.output, wired.output[1:], strict=False))
