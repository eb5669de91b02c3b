"""What tests need beyond Python is built before the first of them begins, and only what the chosen ones need.

So no test waits for a compiler, and no time of a test covers one.  What cannot be built leaves out the tests
that need it, which is said at once; with CI in the environment they fail.
"""

import contextlib
import functools
import json
import os
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import psutil
import pytest
from rich.console import Console

from penglai.abi.errors import ToolchainError
from penglai.guest.image import packages
from penglai.guest.image.work import Tell, compiling, locked, write_whole
from penglai.machine import Board
from penglai.sdk.build import build_demo, demos
from penglai.sdk.services import build_service, services
from tests.support import linux
from tests.support.binaries import fetch_binaries
from tests.support.debugger import fetch_gdb
from tests.support.progress import Shown, counted, shown
from tests.support.sources import fetch

AT_ONCE = 3
"""Steps that are made side by side.  On two cores, compilers of one step run while another one downloads,
unpacks or links, which takes one core or none."""

BINARY = "Debian's "

Obstacles = dict[str, str]
"""Need: why it cannot be met."""

obstacles: Obstacles = {}
"""Of this run."""


@dataclass(frozen=True)
class Step:
    """need: which of the tests' needs it meets.  what: for people.  make: builds it, or finds it."""

    need: str
    what: str
    make: Callable[[Tell], object]


def needs(item: pytest.Item) -> list[str]:
    """What a test needs beside the engine and the enclave programs."""
    kinds = ("debug", "gdb", "linux", "tools", "services")
    marked = [name for name in kinds if item.get_closest_marker(name)]
    sources = (f"source of {mark.args[0]}" for mark in item.iter_markers("source"))
    return [*marked, *sources, *(f"{BINARY}{mark.args[0]}" for mark in item.iter_markers("binary"))]


def prepare(items: Sequence[pytest.Item], shared: Path) -> None:
    """Build what these tests need.

    shared: a directory of this run; of several processes of one run the first one builds, and the others know
    from there what could not be built.
    """
    found = shared / "obstacles.json"
    with locked(shared / "preparing.lock"):
        if not found.exists():
            wanted = _steps({need for item in items for need in needs(item)})
            console = Console(stderr=True, soft_wrap=True)
            write_whole(found, json.dumps(_make_all(wanted, items, console)).encode())
    obstacles.update(json.loads(found.read_text()))


def require(item: pytest.Item) -> None:
    """For a test that is about to begin: skips it if a need of it cannot be met, which in CI is a failure."""
    for need in needs(item):
        if reason := obstacles.get(need):
            if os.environ.get("CI"):
                pytest.fail(f"in CI everything has to be built: {reason}", pytrace=False)
            pytest.skip(reason)


def _steps(wanted: set[str]) -> list[Step]:
    """What meets these needs, the longest first."""
    steps = {
        "debug": Step("debug", "Linux that looks for mistakes", functools.partial(linux.prepare, "debug")),
        "linux": Step("linux", "Linux", functools.partial(linux.prepare, "")),
        "gdb": Step("gdb", "gdb for RISC-V", fetch_gdb),
        "tools": Step("tools", "what builds Linux", packages.ensure_tools),
        "services": Step("services", "file server", _services),
        "": Step("", "engine and enclave programs", _programs),
    }
    sources = [need for need in sorted(wanted) if need not in steps]
    return [
        *(step for need, step in steps.items() if not need or need in wanted),
        *(Step(need, need, functools.partial(_source, need)) for need in sources),
    ]


def _programs(tell: Tell) -> None:
    with compiling("them", tell):
        Board(16 << 20, 1).power_off()
        for name in demos():
            build_demo(name)


def _services(tell: Tell) -> None:
    with compiling("it", tell):
        for name in services():
            build_service(name)


def _source(need: str, tell: Tell) -> None:
    if need.startswith(BINARY):
        fetch_binaries(need.removeprefix(BINARY), tell)
    else:
        fetch(need.removeprefix("source of "), tell)


def _make_all(steps: Sequence[Step], items: Sequence[pytest.Item], console: Console) -> Obstacles:
    """Make what can be made.  What cannot be made at all is tried first, since that is quick, and said."""
    with shown(console, [step.what for step in steps]) as screen:
        hopeless = [step for step in steps if step.need] if _nothing_can_be_installed() else []
        early = {step.need: reason for step in hopeless if (reason := _attempt(step, screen))}
        _say_what_is_left_out(early, items, console)
        rest = [step for step in steps if step not in hopeless]
        with ThreadPoolExecutor(AT_ONCE) as pool:
            running = {step.need: pool.submit(_attempt, step, screen) for step in rest}
            late = {need: reason for need, each in running.items() if (reason := _result(each, pool))}
        _say_what_is_left_out(late, items, console)
    return early | late


def _nothing_can_be_installed() -> bool:
    return bool(packages.missing_packages()) and not packages.can_install()


def _attempt(step: Step, screen: Shown) -> str:
    """Make a step; why it cannot be made, or nothing."""
    try:
        with screen.making(step.what) as tell:
            step.make(tell)
    except ToolchainError as error:
        return str(error)
    return ""


def _result(running: Future[str], pool: ThreadPoolExecutor) -> str:
    """Whatever interrupts the waiting ends what runs and all that has not begun."""
    try:
        return running.result()
    except BaseException:
        pool.shutdown(wait=False, cancel_futures=True)
        for program in psutil.Process().children(recursive=True):
            with contextlib.suppress(psutil.NoSuchProcess):
                program.terminate()
        raise


def _say_what_is_left_out(found: Obstacles, items: Sequence[pytest.Item], console: Console) -> None:
    for reason in dict.fromkeys(found.values()):
        without = [item for item in items if any(found.get(need) == reason for need in needs(item))]
        what = "failing" if os.environ.get("CI") else "left out"
        console.print(
            f"{counted(len(without), 'test')} {what} ({', '.join(_rooms(without))}): {reason}",
            markup=False,
            highlight=False,
        )


def _rooms(items: Iterable[pytest.Item]) -> list[str]:
    return sorted({"/".join(item.nodeid.partition("::")[0].split("/")[:2]) for item in items})
