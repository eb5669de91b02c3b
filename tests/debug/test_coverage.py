"""Coverage: what a tracefile of lcov's says was executed was, as often, and nothing else."""

from pathlib import Path

import pytest
from tests.cli.test_commands import penglai as command
from tests.support.programs import compiled, eapp
from tests.support.waiting import PATIENCE

import penglai
from penglai.debug.lcov import Line, Tracefile
from penglai.debug.symbols import Program

COUNTED = """#include "eapp.h"
__attribute__((noinline)) static int f(int n)
{
    int sum = 0;
    for (int i = 0; i < n; i++) {
        if (i % 3 == 0)
            sum += i;
        else
            sum -= 1;
    }
    if (n > 1000)
        sum = -1;
    return sum;
}
int EAPP_ENTRY main(void)
{
    EAPP_RETURN(f(10));
}
"""
LINES = {3: 1, 4: 1, 5: 11, 6: 10, 7: 4, 9: 6, 10: 10, 11: 1, 12: 0, 13: 1, 16: 1, 17: 1}
BRANCHES = {5: {1, 10}, 6: {4, 6}, 11: {0, 1}}

SPIN = """#include "eapp.h"
int EAPP_ENTRY main(void)
{
    unsigned long n = 30000000;
    __asm__ volatile("1:\\n addi %0, %0, -1\\n bnez %0, 1b" : "+r"(n));
    EAPP_RETURN(n);
}
"""
"""A block whose end leads to its own beginning, in which it is preempted again and again."""

FAULTS = """#include "eapp.h"
int EAPP_ENTRY main(void)
{
    volatile int *p = 0;
    int before = 1;
    before += *p;
    before += 2;
    EAPP_RETURN(before);
}
"""

SERVER = """#include "eapp.h"
int EAPP_ENTRY main(void)
{
    struct call_enclave_arg_t answer = {.resp_val = 5};
    SERVER_RETURN(&answer);
}
"""
CALLER = """
    unsigned long server = acquire_enclave("five");
    for (int i = 0; i < 7; i++) {
        struct call_enclave_arg_t call = {0};
        call_enclave(server, &call);
    }
"""


def numbers(text: str, kind: str) -> dict[int, list[list[str]]]:
    """Rows of a kind by line."""
    found: dict[int, list[list[str]]] = {}
    for row in text.splitlines():
        if row.startswith(f"{kind}:"):
            cells = row.partition(":")[2].split(",")
            found.setdefault(int(cells[0]), []).append(cells[1:])
    return found


def lines(text: str) -> dict[int, int]:
    return {line: int(rows[0][0]) for line, rows in numbers(text, "DA").items()}


def branches(text: str) -> dict[int, set[int]]:
    return {line: {int(cells[2]) for cells in rows} for line, rows in numbers(text, "BRDA").items()}


def covered(program: Path, tmp_path: Path, **options: object) -> str:
    with penglai.Machine("64M", coverage=True) as machine:
        machine.create(program).run(PATIENCE)
        machine.coverage.write(tmp_path / "out.lcov", **options)
    return (tmp_path / "out.lcov").read_text()


def test_lines_branches_and_functions_are_counted(tmp_path: Path):
    text = covered(compiled(COUNTED, "-g", "-O0"), tmp_path)
    assert lines(text) == LINES
    assert branches(text) == BRANCHES
    assert "FNDA:1,f\n" in text
    assert "LF:12\nLH:11\n" in text
    assert "SF:/" in text, "viewers find the source wherever they are started"


def test_preemptions_are_seen_by_nobody(tmp_path: Path):
    text = covered(compiled(SPIN, "-g"), tmp_path)
    assert max(lines(text).values()) == 30_000_000
    assert {1, 30_000_000 - 1} in branches(text).values()


def test_instances_and_harts_add_up(tmp_path: Path):
    with penglai.Machine("64M", harts=3, coverage=True) as machine:
        shadow = machine.create(compiled(COUNTED, "-g", "-O0"), kind="shadow")
        for run in [shadow.start() for _ in range(12)]:
            assert run.result(PATIENCE).value == 12
        machine.coverage.write(tmp_path / "out")
    assert lines((tmp_path / "out").read_text()) == {line: 12 * times for line, times in LINES.items()}


def test_code_of_servers_is_counted_where_it_runs(tmp_path: Path):
    with penglai.Machine("64M", coverage=True) as machine:
        machine.create(compiled(SERVER, "-g", "-O0"), kind="server", name="five")
        assert machine.create(eapp(CALLER)).run(PATIENCE).value == 0
        machine.coverage.write(tmp_path / "out")
    assert set(lines((tmp_path / "out").read_text()).values()) - {0} == {7}


def test_what_faults_was_reached_and_what_follows_was_not(tmp_path: Path):
    found = lines(covered(compiled(FAULTS, "-g", "-O0"), tmp_path))
    assert (found[5], found[6], found[7]) == (1, 1, 0)


def test_what_is_appended_adds_up(tmp_path: Path):
    program = compiled(COUNTED, "-g", "-O0")
    covered(program, tmp_path)
    text = covered(program, tmp_path, append=True)
    assert lines(text) == {line: 2 * times for line, times in LINES.items()}
    assert branches(text) == {line: {2 * way for way in ways} for line, ways in BRANCHES.items()}
    assert lines(covered(program, tmp_path)) == LINES, "written over"


def test_programs_without_lines_tell_nothing(tmp_path: Path):
    assert covered(compiled(COUNTED, "-O0"), tmp_path) == ""


def test_a_machine_that_counts_is_on_unicorn_and_others_count_nothing():
    with penglai.Machine("16M", coverage=True) as machine:
        assert machine.engine.startswith("unicorn")
    with pytest.raises(penglai.BadArgumentError, match="cannot count"):
        penglai.Machine("16M", coverage=True, engine="native")
    with penglai.Machine("16M") as machine, pytest.raises(penglai.StateError, match="coverage=True"):
        _ = machine.coverage


@pytest.mark.parametrize("text", ["DA:1,2,x\nnonsense\n", "SF:a\nDA:x,1\n", "FNDA:1,f\n", "BRDA:1\n"])
def test_what_is_no_tracefile_is_refused(text: str, tmp_path: Path):
    (tmp_path / "out").write_text(text)
    with (
        penglai.Machine("16M", coverage=True) as machine,
        pytest.raises(penglai.BadArgumentError, match=r"none of a tracefile"),
    ):
        machine.coverage.write(tmp_path / "out", append=True)
    assert (tmp_path / "out").read_text() == text


def test_a_tracefile_is_read_as_it_was_written():
    first = Tracefile()
    first.add_line(Line("a,b.c", 3), 4)
    first.add_branches(Line("a,b.c", 3), [(1, 0), (0, 0)])
    first.add_function(Line("a,b.c", 2), "f<int, int>", 5)
    second = Tracefile()
    second.read(first.text())
    assert second.text() == first.text()
    assert first.summary() == "1 of 1 lines, 1 of 4 branches"


def test_rows_of_functions_that_were_left_out_are_no_code(tmp_path: Path):
    source = COUNTED.replace("static int f", "int unused(int n)\n{\n    return n + 1;\n}\nstatic int f", 1)
    program = Program(compiled(source, "-g", "-O0", "-ffunction-sections").read_bytes())
    assert {row.line for row in program.rows()}
    assert all(program.is_code(row.start) for row in program.rows())


def test_the_command_writes_it(tmp_path: Path):
    elf = compiled(COUNTED, "-g", "-O0")
    file = tmp_path / "out.lcov"
    done = command("run", str(elf), "--coverage", str(file))
    assert (done.returncode, "11 of 12 lines, 5 of 6 branches" in done.stderr) == (0, True), done.stderr
    command("run", str(elf), "--coverage", str(file), "--coverage-append")
    assert lines(file.read_text())[6] == 20
    assert command("run", str(elf), "--coverage-append").returncode == 2
    assert "built with -g" in command("run", "hello-world", "--coverage", str(file)).stderr
    command("run", "no-such-demo", "--coverage", str(tmp_path / "other"))
    assert not (tmp_path / "other").exists()
    assert "cannot write" in command("run", str(elf), "--coverage", str(tmp_path)).stderr
