"""The plugin for pytest: options, the mark, fixtures, and what a report of a failure says of enclaves.

pytest loads it in every run, also in those that have nothing to do with enclaves: what is not needed for that
is imported by the fixtures.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from collections.abc import Generator, Iterator

    import penglai.embedded
    import penglai.guest.session
    from penglai.testing.making import Maker
    from penglai.testing.watch import Watch

MARK = "penglai"
MACHINE_WORDS = ("memory", "harts", "engine", "profile", "limits", "state", "debug", "clock")
LINUX_WORDS = ("memory", "harts")
"""What the mark can say: arguments of penglai.Machine and penglai.Linux."""

WHEN = ("off", "on-failure", "always")
DIRECTORY = "penglai-artifacts"

WATCH: pytest.StashKey[Watch] = pytest.StashKey()
"""Of a test that has a machine."""


def pytest_addoption(parser: pytest.Parser) -> None:
    """What of a test is kept, and where."""
    group = parser.getgroup("penglai", "tests of enclaves")
    group.addoption(
        "--penglai-trace",
        choices=WHEN,
        default="off",
        help="Write what ran where and when in the fixture `penglai_machine`, for ui.perfetto.dev, and keep "
        "it: never (the default), of tests that fail, or always.",
    )
    group.addoption(
        "--penglai-coverage",
        type=Path,
        metavar="FILE",
        help="Write there which lines and branches of enclaves were executed by all tests, as lcov does.",
    )
    group.addoption(
        "--penglai-artifacts",
        type=Path,
        default=Path(DIRECTORY),
        metavar="DIR",
        help=f"Where what is kept of a test is put: {DIRECTORY} below the root directory by default.",
    )


def pytest_configure(config: pytest.Config) -> None:
    """Make the mark known."""
    config.addinivalue_line(
        "markers",
        f"{MARK}({', '.join(f'{word}=...' for word in MACHINE_WORDS)}): the machine that the test's fixtures "
        "make; arguments as those of penglai.Machine",
    )
    coverage = config.getoption("--penglai-coverage")
    if coverage is not None and not hasattr(config, "workerinput"):  # one of pytest-xdist's comes later
        (config.rootpath / coverage).unlink(missing_ok=True)


@pytest.fixture
def penglai_machine(request: pytest.FixtureRequest) -> Iterator[penglai.embedded.Machine]:
    """A machine of the test's own, as its mark `penglai` says, of a device that is new.

    A test that passes and leaves an enclave alive on it fails.
    """
    from penglai.embedded import Machine  # noqa: PLC0415 - see above
    from penglai.testing.watch import Watch  # noqa: PLC0415 - see above

    words = {"state": None, **_wanted(request.node, MACHINE_WORDS)}
    coverage = request.config.getoption("--penglai-coverage")
    counts = coverage is not None and words.get("engine") != "native"  # which cannot
    when = request.config.getoption("--penglai-trace")
    with Machine(**words, coverage=counts, sampling=when != "off") as machine:
        watch = request.node.stash[WATCH] = Watch(machine)
        if when != "off":
            watch.begin_trace(_place(request), always=when == "always")
        try:
            yield machine
        finally:
            left = "" if watch.failed else watch.leaks()
            if counts:
                watch.add_coverage(request.config.rootpath / coverage)
            machine.close()
            watch.failed = watch.failed or bool(left)
            watch.end()
            del request.node.stash[WATCH]
            if left:
                pytest.fail(left, pytrace=False)


@pytest.fixture
def enclave(
    request: pytest.FixtureRequest,
    penglai_machine: penglai.embedded.Machine,
    _penglai_builds: dict[Any, Path],
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Maker]:
    """Makes enclaves on the test's machine: enclave("adder.c"), enclave("loop"); they end with the test.

    See `penglai.testing.making.Maker`.
    """
    from penglai.testing.making import Maker  # noqa: PLC0415 - see above

    maker = Maker(penglai_machine, request.path.parent, _penglai_builds, tmp_path_factory.mktemp("penglai"))
    yield maker
    maker.close()


@pytest.fixture(scope="session")
def _penglai_builds() -> dict[Any, Path]:
    """What was built in this run; processes of pytest-xdist have one each."""
    return {}


@pytest.fixture
def linux(request: pytest.FixtureRequest) -> Iterator[penglai.guest.session.Linux]:
    """A machine with Linux as its host, booted, with the memory and harts of the mark.

    The image is built if there is none, which takes minutes: `penglai image build` does so beforehand.
    """
    from penglai.guest.session import Linux  # noqa: PLC0415 - see above

    with Linux(**_wanted(request.node, LINUX_WORDS)) as booted:
        yield booted


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item,
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Say in the report of a failure what its enclaves wrote and did wrong."""
    report = yield
    watch = item.stash.get(WATCH, None)
    if watch is not None and report.failed:
        watch.failed = True
        report.sections += watch.sections()
    return report


def _wanted(item: pytest.Item, known: tuple[str, ...]) -> dict[str, Any]:
    """What the marks of a test say, the nearest first.  Raises UsageError for words that mean nothing."""
    words: dict[str, Any] = {}
    for mark in reversed(list(item.iter_markers(MARK))):
        strange = [*map(repr, mark.args), *(word for word in mark.kwargs if word not in known)]
        if strange:
            raise pytest.UsageError(
                f"{item.nodeid}: @pytest.mark.{MARK} does not know {', '.join(strange)} here; "
                f"it takes {', '.join(f'{word}=' for word in known)}"
            )
        words |= mark.kwargs
    return words


def _place(request: pytest.FixtureRequest) -> Path:
    """The file of what is kept of a test, without its suffix."""
    directory = request.config.rootpath / request.config.getoption("--penglai-artifacts")
    name = "".join(letter if letter.isalnum() or letter in "-_." else "-" for letter in request.node.nodeid)
    directory.mkdir(parents=True, exist_ok=True)
    return Path(directory, name)
