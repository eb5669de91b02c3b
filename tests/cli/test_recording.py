"""penglai record and penglai replay, as a user types them."""

import signal
from pathlib import Path

import pexpect
from tests.cli.test_commands import penglai
from tests.support.person import PENGLAI
from tests.support.programs import compiled, eapp
from tests.support.waiting import PATIENCE

SERVERS = ("--server", "test-server=server", "--server", "test-server1=server1")

LONG = """#include "eapp.h"
volatile unsigned long turns;
int EAPP_ENTRY main(void)
{
    for (long i = 0; i < 600000000; i++)
        turns += i;
    EAPP_RETURN(0);
}
"""


def test_what_is_recorded_is_replayed(tmp_path: Path):
    done = penglai("record", "-o", "mine.rec", "caller", *SERVERS, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "caller: test-server answers" in done.stdout
    assert "wrote mine.rec: " in done.stderr
    again = penglai("replay", "mine.rec", cwd=tmp_path)
    assert again.returncode == 0, again.stderr
    assert again.stdout == done.stdout
    assert again.stderr.endswith(" of 3 enclaves, bit by bit as they were recorded\n")


def test_run_records_too_and_what_went_wrong_is_in_it(tmp_path: Path):
    program = eapp("*(volatile long *)8 = 1;")
    done = penglai("run", "--record", "mine.rec", "--relay", program, program, cwd=tmp_path)
    assert done.returncode == 1
    assert "was destroyed: store page fault at 0x8" in done.stderr
    assert "wrote mine.rec: " in done.stderr
    again = penglai("replay", "mine.rec", "--engine", "unicorn", cwd=tmp_path)
    assert " of 1 enclave, bit by bit" in again.stderr


def test_what_is_wrong_is_said_in_a_line(tmp_path: Path):
    (tmp_path / "text").write_text("text")
    for arguments, message in (
        (["record", "prime", "-o", "no/where.rec"], "cannot be written to no/where.rec: No such file"),
        (["replay", "none.rec"], "none.rec cannot be read: No such file"),
        (["replay", "text"], "text is no recording; `penglai record -o text` makes one"),
        (["replay", "text", "--gdb"], "text is no recording"),
    ):
        done = penglai(*arguments, cwd=tmp_path)
        assert done.returncode == 1
        assert message in done.stderr
        assert done.stderr.count("\n") == 1


def test_ctrl_c_ends_a_replay(tmp_path: Path):
    program = compiled(LONG)
    assert penglai("record", program, cwd=tmp_path).returncode == 0
    child = pexpect.spawn(
        PENGLAI, ["replay", "run.rec", "--engine", "unicorn", "--gdb"], cwd=tmp_path, timeout=PATIENCE
    )
    child.expect("target remote 127.0.0.1:")
    child.kill(signal.SIGINT)
    child.expect("interrupted")
    child.expect(pexpect.EOF)
    assert child.wait() == 130
