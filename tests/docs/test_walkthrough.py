"""The new call that CONTRIBUTING.md walks through works, and touches the files that it names, no others."""

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from tests.support.uncounted import uncounted
from tests.support.waiting import PATIENCE

ROOT = Path(__file__).parents[2]
TREES = ("src", "docs", "tests/abi", "tests/support", "tests/__init__.py")
RUN = """
import penglai, sys

assert penglai.__file__.startswith(sys.argv[1]), penglai.__file__
program = penglai.build("answer.c")
with penglai.Machine() as machine:
    print(machine.create(program).run(timeout=float(sys.argv[2])).value)
"""

pytestmark = pytest.mark.slow


def section() -> str:
    text = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    found = re.search(
        r"^A new call of an enclave .*?(?=^A new call of the host)", text, re.MULTILINE | re.DOTALL
    )
    assert found
    return found[0]


def block(kind: str) -> str:
    (found,) = re.findall(rf"^```{kind}\n(.*?)^```$", section(), re.MULTILINE | re.DOTALL)
    return str(found)


def apply(hunk: str, path: Path) -> None:
    """Put the new lines where the old ones are, which must be in one place only."""
    lines = hunk.splitlines(keepends=True)
    old = "".join(line[1:] for line in lines if line[0] in " -")
    new = "".join(line[1:] for line in lines if line[0] in " +")
    text = path.read_text(encoding="utf-8")
    assert text.count(old) == 1, f"{path}: no place, or several, for\n{hunk}"
    path.write_text(text.replace(old, new), encoding="utf-8")


def files(directory: Path) -> dict[str, bytes]:
    found = (path for name in TREES for path in (directory / name, *(directory / name).rglob("*")))
    return {
        str(path.relative_to(directory)): path.read_bytes()
        for path in found
        if path.is_file() and "__pycache__" not in path.parts
    }


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """A copy of the project to which the walk-through has been applied."""
    for name in TREES:
        target = tmp_path / name
        target.parent.mkdir(exist_ok=True)
        if (ROOT / name).is_dir():
            shutil.copytree(ROOT / name, target, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(ROOT / name, target)
    for part in re.split(r"^\+\+\+ ", block("diff"), flags=re.MULTILINE)[1:]:
        name, hunks = part.split("\n", 1)
        for hunk in re.split(r"^@@\n", hunks, flags=re.MULTILINE)[1:]:
            apply(hunk, tmp_path / name)
    return tmp_path


def python(tree: Path, *arguments: str) -> str:
    environment = {**uncounted(), "PYTHONPATH": f"{tree}/src:{tree}"}
    done = subprocess.run(
        [sys.executable, *arguments],
        cwd=tree,
        env=environment,
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_the_walk_through_touches_the_files_that_it_names_and_no_others(tree: Path):
    before, after = files(ROOT), files(tree)
    changed = {name for name in before.keys() | after.keys() if before.get(name) != after.get(name)}
    prose = section().partition("```")[0]
    assert changed == set(re.findall(r"`([^`]+/[^`]+)`", prose))
    assert "touches six files" in prose
    assert len(changed) == 6


def test_an_enclave_makes_the_new_call(tree: Path):
    (tree / "answer.c").write_text(block("c title=answer.c"))
    assert python(tree, "-c", RUN, str(tree), str(PATIENCE)) == "42\n"


def test_the_abi_stays_consistent(tree: Path):
    python(
        tree,
        "-m",
        "pytest",
        "-q",
        "-p",
        "no:cacheprovider",
        "tests/abi/test_layouts.py",
        "tests/abi/test_c_headers.py",
    )
