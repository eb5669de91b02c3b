"""`make mutate` makes the changes that it says, notices what a test notices, and says so."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.mutation import c, python
from tests.mutation.runner import PACKAGE, ROOT
from tests.mutation.survivors import justified
from tests.support.uncounted import uncounted


def run(*arguments: str) -> tuple[int, str]:
    done = subprocess.run(
        [sys.executable, "-m", "tests.mutation", *arguments],
        cwd=ROOT,
        env=uncounted(),
        capture_output=True,
        text=True,
        check=False,
    )
    return done.returncode, done.stdout + done.stderr


def changes(module: type, path: Path, text: str) -> set[tuple[str, str]]:
    path.write_text(text)
    return {mutant.change for mutant in module.mutants(path)}


def test_what_is_changed_in_python(tmp_path: Path):
    text = '''
"""3 < 4"""
from typing import TYPE_CHECKING
def take(count: "int | None", pages: int | None) -> int:
    """1 + 1"""
    with self.lock:
        if count < 7:
            raise ValueError("1 < 2")
    log.info("%d", 3)
    pages.flush()
    result = count + 1
    return result
'''
    assert changes(python, tmp_path / "some.py", text) == {
        ("with self.lock:", "if True:"),
        ("if count < 7:", "if count <= 7:"),
        ("if count < 7:", "if count >= 7:"),
        ("if count < 7:", "if count < 8:"),
        ("if count < 7:", "if count < 6:"),
        ("if count < 7:", "if not count < 7:"),
        ('raise ValueError("1 < 2")', "pass"),
        ("pages.flush()", "pass"),
        ("result = count + 1", "result = count - 1"),
        ("result = count + 1", "result = count + 2"),
        ("result = count + 1", "result = count + 0"),
    }


def test_what_is_changed_in_c(tmp_path: Path):
    text = """
#define MORE(a) ((a) + 1)
enum { LEAST = 1 };
static int take(struct pool *p, int count) /* 3 < 4 */
{
    int left = count;
    if (count >= p->size && "1 < 2")
        flush(p);
    p->left = (uint64_t)left;
    return left << 2;
}
"""
    assert changes(c, tmp_path / "some.c", text) == {
        ('if (count >= p->size && "1 < 2")', 'if (count > p->size && "1 < 2")'),
        ('if (count >= p->size && "1 < 2")', 'if (count < p->size && "1 < 2")'),
        ('if (count >= p->size && "1 < 2")', 'if (count >= p->size || "1 < 2")'),
        ('if (count >= p->size && "1 < 2")', 'if (!(count >= p->size && "1 < 2"))'),
        ("flush(p);", ";"),
        ("p->left = (uint64_t)left;", ";"),
        ("return left << 2;", "return left >> 2;"),
        ("return left << 2;", "return left << 3;"),
        ("return left << 2;", "return left << 1;"),
    }


@pytest.mark.parametrize(
    "file", [*sorted(PACKAGE.glob("monitor/*.py")), *c.files()], ids=lambda file: file.name
)
def test_every_mutant_differs_from_its_source_in_the_lines_that_it_says(file: Path):
    source = file.read_text()
    for mutant in (c if file.suffix == ".c" else python).mutants(file)[::40]:
        assert mutant.source != source
        before, after = mutant.change
        assert before != after


def test_a_change_that_a_test_reaches_is_noticed():
    arguments = ("--room", "monitor", "--only", "reflect", "--count", "2")
    status, said = run(*arguments, "--tests", "tests/monitor/test_reflect.py")
    assert status == 0, said
    assert re.search(r"monitor +│ +\d+ +│ +2 +│", said), said
    assert "100.0 %" in said


def test_a_change_of_the_monitor_that_nobody_notices_is_an_error():
    arguments = ("--room", "monitor", "--only", "reflect", "--count", "1")
    status, said = run(*arguments, "--tests", "tests/monitor/test_pool.py")
    assert status == 1, said
    assert "no test reaches it" in said


def test_the_engine_is_built_anew_for_each_change():
    arguments = ("--room", "engine", "--only", "access", "--count", "1")
    status, said = run(*arguments, "--tests", "tests/machine/test_contexts.py")
    assert status == 0, said
    assert len(re.findall(r"\d s +(?:killed|survived)", said)) == 1, said


def test_a_promise_that_is_broken_is_noticed():
    status, said = run("--room", "planted", "--only", "not from the end of RAM")
    assert status == 0, said
    assert "1 promises broken, 1 noticed" in said


def test_the_survivors_that_have_a_reason_are_still_there():
    """So that a change of the source cannot leave a reason behind that would then excuse another mutant."""
    for entry in justified():
        file = PACKAGE / entry.file
        mutants = {(each.function, *each.change) for each in python.mutants(file)}
        for after in entry.after:
            assert (entry.function, entry.before, after) in mutants, (entry.file, entry.before, after)
        assert len(entry.reason) > 20
