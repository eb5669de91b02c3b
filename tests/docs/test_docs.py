"""Every command and every program of the documentation is run; every link leads somewhere."""

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from _pytest.mark import ParameterSet
from tests.support.debugger import gdb_directory
from tests.support.waiting import PATIENCE

from penglai.abi.state import State
from penglai.monitor.lifecycle import LIVE, TABLE
from penglai.toolchain.places import CACHE_VARIABLE, cache_dir

ROOT = Path(__file__).parents[2]
PAGES = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md")])
FENCE = re.compile(
    r"^```(?P<kind>\S*)(?: title=(?P<title>\S+))?\n(?P<text>.*?)^```$", re.MULTILINE | re.DOTALL
)
LINUX = re.compile(r"penglai (boot|image build)|penglai\.Linux")
GDB = re.compile(r"penglai gdb")
NOT_RUN = ("git clone",)
"""What a test of an unpacked tree cannot do."""


@dataclass(frozen=True)
class Block:
    page: Path
    kind: str
    title: str | None
    text: str


def blocks(page: Path) -> list[Block]:
    found = FENCE.finditer(page.read_text(encoding="utf-8"))
    return [Block(page, match["kind"], match["title"], match["text"]) for match in found]


def commands(block: Block) -> Iterator[str]:
    for line in block.text.splitlines():
        assert line.startswith("$ "), f"{block.page}: in a console block, but no command: {line!r}"
        yield line[2:]


def ids(page: Path) -> str:
    return str(page.relative_to(ROOT))


def needs_linux(page: Path) -> bool:
    return any(LINUX.search(block.text) for block in blocks(page) if block.kind in ("console", "python"))


def pages_to_run() -> list[ParameterSet]:
    return [pytest.param(page, id=ids(page), marks=marks(page)) for page in PAGES]


def marks(page: Path) -> list[pytest.MarkDecorator]:
    """What the commands of a page need."""
    gdb = any(GDB.search(block.text) for block in blocks(page) if block.kind == "console")
    return [pytest.mark.linux] * needs_linux(page) + [pytest.mark.gdb] * gdb


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The user's cache as far as it is filled, but with an image of its own that is the current one."""
    own = tmp_path_factory.mktemp("cache")
    (own / "linux").mkdir()
    for path in (*cache_dir().glob("*"), *cache_dir().glob("linux/*")):
        if path.name not in ("linux", "current.json"):
            (own / path.relative_to(cache_dir())).symlink_to(path)
    return own


def run(command: list[str] | str, directory: Path, cache: Path) -> None:
    own = [Path(sys.executable).parent, *([gdb_directory()] if GDB.search(str(command)) else [])]
    environment = {
        **os.environ,
        "PATH": ":".join([*map(str, own), os.environ["PATH"]]),
        CACHE_VARIABLE: str(cache),
    }
    done = subprocess.run(
        command,
        shell=isinstance(command, str),
        cwd=directory,
        env=environment,
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
    )
    assert done.returncode == 0, f"{command}\n{done.stdout}\n{done.stderr}"


@pytest.mark.slow
@pytest.mark.parametrize("page", pages_to_run())
def test_the_commands_and_programs_of_a_page_work(page: Path, tmp_path: Path, cache: Path):
    for number, block in enumerate(blocks(page)):
        if block.title:
            (tmp_path / block.title).write_text(block.text)
        elif block.kind == "python":
            script = tmp_path / f"block{number}.py"
            script.write_text(block.text)
            run([sys.executable, str(script)], tmp_path, cache)
        elif block.kind == "console":
            for command in commands(block):
                if command.startswith("make "):
                    run(f"{command} --dry-run", ROOT, cache)
                elif not command.startswith(NOT_RUN):
                    run(command, tmp_path, cache)


@pytest.mark.parametrize("page", PAGES, ids=ids)
def test_links_lead_somewhere(page: Path):
    text = FENCE.sub("", page.read_text(encoding="utf-8"))
    for target in re.findall(r"\]\(([^)#]+)[^)]*\)", text):
        if "://" not in target:
            assert (page.parent / target).exists(), f"{page}: {target}"


def test_the_printed_life_cycle_is_the_one_that_is_executed():
    text = (ROOT / "docs/lifecycle.md").read_text(encoding="utf-8")
    rows = re.search(r"<!-- table.*?-->\n(.*?)<!-- end", text, re.DOTALL)
    assert rows
    head, _, *lines = (
        [cell.strip() for cell in row.split("|")[1:-1]] for row in rows[1].strip().splitlines()
    )
    printed = {
        (line[0], State[state]): cell
        for line in lines
        for state, cell in zip(head[1:], line[1:], strict=True)
    }
    executed = {
        (call.value, state): TABLE[call][state].name if state in TABLE[call] else ""
        for call in TABLE
        for state in LIVE
    }
    assert printed == executed


def test_every_race_of_the_concurrency_page_names_tests_that_exist():
    rows = re.findall(r"^\| \d+ \|.*\|([^|]*)\|$", (ROOT / "docs/concurrency.md").read_text(), re.MULTILINE)
    rows += re.findall(r"^\|.*\|([^|]*)\|$", (ROOT / "docs/engine.md").read_text(), re.MULTILINE)[2:]
    sources = {path: path.read_text() for path in (ROOT / "tests").rglob("*.py")}
    everything = "\n".join(sources.values())
    named = re.findall(r"`([^`]+)`", " ".join(rows))
    assert len(named) > 25
    for name in named:
        file = any(str(path).endswith(f"{name.removesuffix('.py')}.py") for path in sources)
        assert file or f"def {name}(" in everything, name


def test_every_dependency_has_its_line():
    project = (ROOT / "pyproject.toml").read_text()
    lists = re.findall(r"^(?:dependencies|dev|docs|fleet) = \[(.*?)^\]", project, re.MULTILINE | re.DOTALL)
    names = re.findall(r'^    "([A-Za-z0-9-]+)', "".join(lists), re.MULTILINE)
    assert len(names) > 15
    page = (ROOT / "docs/dependencies.md").read_text()
    for name in names:
        assert f"`{name}`" in page, name


@pytest.mark.slow
def test_the_readme_shows_what_the_demo_prints():
    """The figures differ; the words do not."""
    shown = next(block for block in blocks(ROOT / "README.md") if block.kind == "text")
    words = [re.sub(r"[\d.]+", "#", line).split() for line in shown.text.splitlines()[1:]]
    done = subprocess.run(
        [Path(sys.executable).with_name("penglai"), "test-stop", "loop", "--seconds", "0.5"],
        capture_output=True,
        text=True,
        check=True,
        timeout=PATIENCE,
    )
    printed = [re.sub(r"[\d.]+", "#", line).split() for line in done.stdout.splitlines()[1:]]
    assert [line[:2] for line in printed] == [line[:2] for line in words]
    assert len(printed) == len(words)
    assert not re.search(r"measurement [0-9a-f]", shown.text), "it changes with each change of the SDK"
