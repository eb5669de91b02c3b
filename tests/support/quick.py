"""Which tests `make check` runs: those that need no built programs, no Linux, and little time.

They are the tests of the rooms below the SDK and the whole machine, as far as they need neither.  Those of
the monitor run on the fake engine, except where an enclave has an instruction that it does not know.
"""

from collections.abc import Sequence

import pytest

from tests.support.preparing import needs

ROOMS = ("abi", "attestation", "docs", "driver", "monitor", "rooms", "verifier", "virt")
NEED_MORE = {"machine", "linux"}
"""Fixtures: a whole machine compiles programs."""


def choose(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Take away what is not quick."""
    chosen = [item for item in items if is_quick(item)]
    config.hook.pytest_deselected(items=[item for item in items if not is_quick(item)])
    items[:] = chosen


def is_quick(item: pytest.Item) -> bool:
    """Whether it belongs into the answer that somebody waits for."""
    fixtures: Sequence[str] = getattr(item, "fixturenames", ())
    return (
        item.path.relative_to(item.config.rootpath / "tests").parts[0] in ROOMS
        and not needs(item)
        and not item.get_closest_marker("slow")
        and NEED_MORE.isdisjoint(fixtures)
    )
