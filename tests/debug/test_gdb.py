"""gdb itself, as a user starts it: bugs that were planted are found by the commands of the guide."""

import os
import re
import subprocess
from pathlib import Path

import pexpect
import pytest
from tests.support.debugger import gdb_directory
from tests.support.person import PENGLAI
from tests.support.programs import compiled
from tests.support.waiting import PATIENCE

pytestmark = [pytest.mark.gdb, pytest.mark.slow]


def environment() -> dict[str, str]:
    return {**os.environ, "PATH": f"{gdb_directory()}:{os.environ['PATH']}", "TERM": "dumb"}


def gdb(image: Path, *commands: str, options: tuple[str, ...] = ()) -> str:
    """What gdb writes for these commands."""
    words = [word for command in commands for word in ("--ex", command)]
    done = subprocess.run(
        [PENGLAI, "gdb", image, "--batch", *options, *words],
        capture_output=True,
        text=True,
        env=environment(),
        timeout=PATIENCE,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


LIST = """#include <stdlib.h>
#include "eapp.h"
struct node { struct node *next; long value; };
static struct node *push(struct node *list, long value)
{
    struct node *made = malloc(sizeof *made);
    *made = (struct node){list, value};
    return made;
}
__attribute__((noinline)) static long nth(struct node *list, int n)
{
    while (n--)
        list = list->next;
    return list->value;
}
int EAPP_ENTRY main(void)
{
    struct node *list = 0;
    for (long i = 0; i < 3; i++)
        list = push(list, i);
    EAPP_RETURN(nth(list, 3));
}
"""

OFF_BY_ONE = """#include "eapp.h"
struct { long square[4]; long limit; } table = {.limit = 4};
__attribute__((noinline)) static void fill(int n)
{
    for (int i = 0; i <= n; i++)
        table.square[i] = i * i;
}
int EAPP_ENTRY main(void)
{
    fill(4);
    EAPP_RETURN(table.limit);
}
"""

SMASHED = """#include <string.h>
#include "eapp.h"
__attribute__((noinline)) static void greet(const char *name)
{
    char text[16];
    memcpy(text, name, 32);
    __asm__ volatile("" : : "r"(text) : "memory");
}
int EAPP_ENTRY main(void)
{
    greet("somebody with a name that is far too long for it");
    EAPP_RETURN(0);
}
"""

ENDLESS = """#include "eapp.h"
volatile int done;
__attribute__((noinline)) static void wait_for_it(void)
{
    while (!done)
        ;
}
int EAPP_ENTRY main(void)
{
    wait_for_it();
    EAPP_RETURN(5);
}
"""

ABORTS = """#include <stdlib.h>
#include "eapp.h"
__attribute__((noinline)) static void check(int value)
{
    if (value != 1)
        abort();
}
int EAPP_ENTRY main(void)
{
    check(2);
    EAPP_RETURN(0);
}
"""

FLOATS = """#include "eapp.h"
__attribute__((noinline)) static double half(double x)
{
    return x / 2;
}
int EAPP_ENTRY main(void)
{
    volatile double x = 5;
    EAPP_RETURN(half(x) == 2.5);
}
"""


def penglai(*words: str | Path) -> pexpect.spawn:
    """The command, on a terminal of its own."""
    return pexpect.spawn(
        str(PENGLAI), [*map(str, words)], env=environment(), timeout=PATIENCE, encoding="utf-8"
    )


def test_a_null_pointer_with_its_stack_and_values():
    said = gdb(compiled(LIST, "-g", "-O0"), "continue", "backtrace", "print list", "print n")
    assert "SIGSEGV" in said
    assert re.search(r"#0 +(0x\w+ in )?nth \(list=0x0, n=-1\) at .*program.c:14", said)
    assert re.search(r"#1 .* main \(\) at .*program.c:21", said)


def test_who_overwrites_a_variable_by_a_watchpoint():
    said = gdb(
        compiled(OFF_BY_ONE, "-g", "-O0"),
        "break main",
        "continue",
        "watch table.limit",
        "continue",
        "print i",
    )
    assert re.search(r"Old value = 4\s+New value = 16", said)
    assert "$1 = 4" in said
    assert re.search(r"fill \(n=4\) at .*program.c:6", said)


def test_a_stack_that_was_smashed_is_seen_when_it_happens():
    image = compiled(SMASHED, "-g", "-O0")
    said = gdb(image, "break greet", "continue", "info frame", "finish", "print/x $ra")
    assert "Breakpoint 1, greet (name=" in said
    said = gdb(image, "continue", "print/x $pc", "x/s $sp-48")
    assert "SIGSEGV" in said


def test_an_endless_loop_by_ctrl_c_and_a_way_out():
    child = penglai("gdb", compiled(ENDLESS, "-g", "-O0"))
    child.expect_exact("(gdb) ")
    child.sendline("break wait_for_it")
    child.expect_exact("(gdb) ")
    child.sendline("continue")
    child.expect("Breakpoint 1, wait_for_it")
    child.expect_exact("(gdb) ")
    child.sendline("continue")
    child.expect("Continuing")
    child.sendintr()
    child.expect("SIGINT")
    child.expect_exact("(gdb) ")
    child.sendline("print done = 1")
    child.expect_exact("$1 = 1")
    child.expect_exact("(gdb) ")
    child.sendline("continue")
    child.expect_exact("exited with code 05")
    child.expect_exact("(gdb) ")
    child.sendline("quit")
    child.expect(pexpect.EOF)


def test_an_abort_shows_who_gave_up():
    said = gdb(compiled(ABORTS, "-g", "-O0"), "break abort", "continue", "backtrace")
    assert re.search(r"#1 .* check \(value=2\) at .*program.c:6", said)
    assert re.search(r"#2 .* main \(\) at .*program.c:10", said)


def test_floating_point_registers():
    said = gdb(compiled(FLOATS, "-g", "-O1"), "break half", "continue", "print $fa0", "print x", "finish")
    assert "double = 5" in said
    assert "Value returned is $3 = 2.5" in said


def test_run_waits_for_a_gdb_on_a_socket(tmp_path: Path):
    place = tmp_path / "gdb"
    image = compiled(ABORTS, "-g", "-O0")
    child = penglai("run", f"--gdb={place}", image)
    child.expect_exact(f"target remote {place}")
    commands = [f"target remote {place}", "break check", "continue", "print value = 1", "continue"]
    words = [word for command in commands for word in ("-ex", command)]
    done = subprocess.run(
        [gdb_directory() / "gdb-multiarch", "-nx", "-batch", image, *words],
        capture_output=True,
        text=True,
        env=environment(),
        timeout=PATIENCE,
        check=True,
    )
    assert "exited normally" in done.stdout
    child.expect_exact("exited with value 0")
    child.expect(pexpect.EOF)
    child.close()
    assert child.exitstatus == 0


def test_the_machine_interface_that_editors_use(tmp_path: Path):
    """Visual Studio Code and others speak MI."""
    place = tmp_path / "gdb"
    image = compiled(OFF_BY_ONE, "-g", "-O0")
    run = penglai("run", f"--gdb={place}", image)
    run.expect_exact("target remote")
    mi = pexpect.spawn(
        str(gdb_directory() / "gdb-multiarch"),
        ["-nx", "--interpreter=mi3", str(image)],
        env=environment(),
        timeout=PATIENCE,
        encoding="utf-8",
        echo=False,
    )
    mi.expect_exact("(gdb)")
    for command, answer in (
        (f"-target-select remote {place}", r"\^connected"),
        ("-break-insert fill", r"\^done,bkpt=\{number=\"1\""),
        ("-exec-continue", r'\*stopped,reason="breakpoint-hit"'),
        ("-stack-list-frames", r'func="fill".*func="main"'),
        ("-exec-next", r'\*stopped,reason="end-stepping-range"'),
        ("-data-evaluate-expression table.limit", r'\^done,value="4"'),
        ("-exec-continue", r'\*stopped,reason="exited",exit-code="020"'),
        ("-gdb-exit", r"\^exit"),
    ):
        mi.sendline(command)
        mi.expect(answer)
    run.expect_exact("exited with value 16")
    run.expect(pexpect.EOF)


def test_in_a_recording_the_cause_is_found_backwards(tmp_path: Path):
    """A variable has a value that it should not have: who has written it, and from where was that called."""
    image, path = compiled(OFF_BY_ONE, "-g", "-O0"), tmp_path / "run.rec"
    done = subprocess.run([PENGLAI, "record", "-o", path, image], capture_output=True, text=True, check=True)
    assert "wrote" in done.stderr
    said = gdb(
        image,
        *("continue", "watch table.limit", "reverse-continue", "print i", "backtrace"),
        *("delete", "break main", "reverse-continue", "print table.limit"),
        options=("--replay", str(path)),
    )
    assert "No more reverse-execution history" in said
    assert re.search(r"Old value = 16\nNew value = 4", said)
    assert "$1 = 4" in said
    assert re.search(r"#1 .* in main \(\) at .*:\d+", said)
    assert "$2 = 4" in said
