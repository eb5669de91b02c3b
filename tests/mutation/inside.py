"""pytest plugins for the processes in which mutants run: nothing of penglai is imported here."""

from collections.abc import Iterator, Sequence
from typing import Any

import pytest
from coverage import Coverage
from hypothesis import Phase, settings


class Failing:
    """A failure is enough: no search for the smallest one."""

    @pytest.hookimpl(tryfirst=True)
    def pytest_collection(self) -> None:
        name = settings.get_current_profile_name()
        settings.register_profile(name, phases=[Phase.explicit, Phase.generate], database=None)
        settings.load_profile(name)


class Chosen(Failing):
    """Runs these tests only, in this order."""

    def __init__(self, tests: Sequence[str]) -> None:
        self._places = {test: place for place, test in enumerate(tests)}

    @pytest.hookimpl(tryfirst=True)
    def pytest_collection_modifyitems(self, items: list[pytest.Item]) -> None:
        items[:] = [item for item in items if item.nodeid in self._places]
        items.sort(key=lambda item: self._places[item.nodeid])


class Watching:
    """Notes which test executes what, how long it takes, and whether all passed."""

    def __init__(self, coverage: Coverage) -> None:
        self._coverage = coverage
        self.seconds: dict[str, float] = {}
        self.failed: list[str] = []

    @pytest.hookimpl(hookwrapper=True, tryfirst=True)
    def pytest_runtest_protocol(self, item: pytest.Item) -> Iterator[None]:
        self._coverage.stop()
        self._coverage.start()  # anew for each: some tests trace by themselves
        self._coverage.switch_context(item.nodeid)
        yield
        self._coverage.switch_context("")

    def pytest_runtest_logreport(self, report: Any) -> None:
        self.seconds[report.nodeid] = self.seconds.get(report.nodeid, 0.0) + report.duration
        if report.failed:
            self.failed.append(report.nodeid)


class First:
    """Notes the first test that fails, and those that pass."""

    def __init__(self) -> None:
        self.name = ""
        self.passed: set[str] = set()

    def pytest_runtest_logreport(self, report: Any) -> None:
        if report.failed and not self.name:
            self.name = report.nodeid
        if report.passed and report.when == "call":
            self.passed.add(report.nodeid)

    def pytest_collectreport(self, report: Any) -> None:
        if report.failed and not self.name:
            self.name = f"{report.nodeid} (cannot be imported)"
