"""The plugin for pytest: what its users write works, and a failure says what they need to know."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from penglai.toolchain.places import CACHE_VARIABLE, cache_dir

pytest_plugins = ["pytester"]

CACHE = cache_dir()

ADDER = """
#include "eapp.h"
#include "print.h"

__attribute__((noinline)) static long at(volatile long *where)
{
    return *where;
}

int EAPP_ENTRY main(void)
{
    eapp_print("adding\\n");
#ifdef WRONG
    EAPP_RETURN(at((volatile long *)16));
#endif
    EAPP_RETURN(40 + 2);
}
"""


@pytest.fixture
def project(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> pytest.Pytester:
    """A project with a source of an enclave, and tests that are strict about marks.

    pytester gives it a home of its own; what was built before is in the user's.
    """
    monkeypatch.setenv(CACHE_VARIABLE, str(CACHE))
    pytester.makefile(".c", adder=ADDER)
    pytester.makeini("[pytest]\naddopts = --strict-markers -p no:cacheprovider\nfilterwarnings = error\n")
    return pytester


def run(project: pytest.Pytester, tests: str, *options: str) -> pytest.RunResult:
    project.makepyfile(tests)
    return project.runpytest_subprocess(*options)


def test_enclaves_are_made_of_sources_elfs_and_demos(project: pytest.Pytester):
    done = run(
        project,
        """
        import penglai

        def test_source(enclave):
            assert enclave("adder.c").run(60).value == 42

        def test_several_sources_with_flags(enclave):
            assert enclave(["adder.c"], flags=["-DX"]).run(60).value == 42

        def test_elf(enclave, tmp_path):
            elf = penglai.build("adder.c", tmp_path / "elf")
            assert enclave(elf).run(60).value == enclave(elf.read_bytes()).run(60).value == 42

        def test_demo(enclave, penglai_machine):
            assert enclave("hello-world").run(60).value == 0
            assert penglai_machine.console.text == "hello world!\\n"

        def test_options_of_create(enclave):
            enclave("server", name="test-server", kind="server")
            enclave("server1", name="test-server1", kind="server")
            assert enclave("caller").run(60).value == 101
        """,
    )
    done.assert_outcomes(passed=5)


def test_marks_say_what_machine_it_is(project: pytest.Pytester):
    done = run(
        project,
        """
        import pytest

        pytestmark = pytest.mark.penglai(memory="32M", harts=1)

        def test_of_the_module(penglai_machine):
            assert "32 MiB" in repr(penglai_machine)

        @pytest.mark.penglai(memory="16M", engine="unicorn", profile="tvm")
        def test_of_its_own(penglai_machine):
            assert "16 MiB" in repr(penglai_machine)
            assert penglai_machine.engine.startswith("unicorn")

        @pytest.mark.penglai(memry="16M")
        def test_misspelt(penglai_machine):
            pass
        """,
    )
    done.assert_outcomes(passed=2, errors=1)
    done.stdout.fnmatch_lines(["*test_misspelt*does not know memry here; it takes memory=, harts=*"])


def test_a_failure_shows_output_and_backtrace_and_keeps_the_trace(project: pytest.Pytester):
    done = run(
        project,
        """
        def test_right(enclave):
            assert enclave("adder.c").run(60).value == 42

        def test_wrong(enclave):
            assert enclave("adder.c", flags=["-g", "-DWRONG"]).run(60).value == 42
        """,
        "--penglai-trace=on-failure",
    )
    done.assert_outcomes(passed=1, failed=1)
    done.stdout.fnmatch_lines(
        [
            "*output of enclaves*",
            "adding",
            "*fault of enclave 1 adder*",
            "load page fault at 0x10",
            "*16 bytes from a null pointer",
            "*in at (*adder.c:6)",
            "*in main (*adder.c:13)",
            "*for ui.perfetto.dev*",
            "*penglai-artifacts/*test_wrong.trace.json",
        ]
    )
    (kept,) = project.path.joinpath("penglai-artifacts").iterdir()
    assert "test_wrong" in kept.name
    assert json.loads(kept.read_text())["traceEvents"]


def test_what_a_test_leaves_behind_is_an_error(project: pytest.Pytester):
    done = run(
        project,
        """
        import pytest

        def test_leaves_one(penglai_machine):
            penglai_machine.create("loop").start()

        def test_ends_it(penglai_machine):
            with penglai_machine.create("loop") as enclave:
                enclave.start()

        def test_leaves_it_to_the_fixture(enclave):
            enclave("loop").start()

        def test_fails_for_another_reason(penglai_machine):
            penglai_machine.create("loop")
            assert False
        """,
    )
    done.assert_outcomes(passed=3, errors=1, failed=1)
    done.stdout.fnmatch_lines(["*the test has left enclaves alive: 1 loop*"])


def test_it_works_under_xdist(project: pytest.Pytester):
    done = run(
        project,
        """
        import pytest

        @pytest.mark.parametrize("number", range(4))
        def test_many(enclave, number):
            flags = ["-DWRONG"] if number == 3 else []
            assert enclave("adder.c", flags=flags).run(60).value == 42
        """,
        "-n2",
        "--penglai-trace=always",
    )
    done.assert_outcomes(passed=3, failed=1)
    done.stdout.fnmatch_lines(["*fault of enclave 1 adder*"])
    assert len(list(project.path.joinpath("penglai-artifacts").iterdir())) == 4


def test_what_all_tests_have_executed_is_in_one_file(project: pytest.Pytester):
    project.path.joinpath("all.lcov").write_text("of an earlier run")
    done = run(
        project,
        """
        import pytest

        @pytest.mark.parametrize("number", range(4))
        def test_many(enclave, number):
            assert enclave("adder.c", flags=["-g", "-O0"]).run(60).value == 42
        """,
        "-n2",
        "--penglai-coverage=all.lcov",
    )
    done.assert_outcomes(passed=4)
    assert "DA:15,4\n" in project.path.joinpath("all.lcov").read_text()


@pytest.mark.linux
def test_linux_is_there(project: pytest.Pytester):
    done = run(
        project,
        """
        import pytest

        @pytest.mark.penglai(memory="192M", harts=1)
        def test_boots(linux):
            assert linux.run("echo $((6 * 7))") == (0, "42\\n")
        """,
    )
    done.assert_outcomes(passed=1)


def test_it_imports_nothing_that_other_runs_do_not_need():
    script = "import sys, penglai.testing.plugin; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    loaded = set(done.stdout.split())
    assert {name for name in loaded if name.startswith("penglai.")} == {
        "penglai.testing",
        "penglai.testing.plugin",
    }
    assert not {"numpy", "elftools", "ctypes", "typer"} & loaded


def test_it_is_there_when_the_package_is_installed():
    (found,) = (
        each
        for each in __import__("importlib.metadata").metadata.entry_points(group="pytest11")
        if each.name == "penglai"
    )
    assert Path(found.load().__file__).name == "plugin.py"
