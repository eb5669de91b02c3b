"""penglai trace, and --stats, as a user types them."""

import json
import signal
from pathlib import Path

import pexpect
import pytest
from tests.cli.test_commands import penglai
from tests.support.person import PENGLAI
from tests.support.programs import eapp
from tests.support.traces import TraceFile
from tests.support.waiting import PATIENCE

SERVERS = ("--server", "test-server=server", "--server", "test-server1=server1")


def rows(stderr: str) -> dict[str, list[str]]:
    """The table of --stats: cells by enclave, the figures without those of time."""
    lines = [line.split() for line in stderr.splitlines()]
    head = next(number for number, line in enumerate(lines) if line[:1] == ["enclave"] and "calls" in line)
    assert " ".join(lines[head]) == "enclave run time pages preempted stops calls to servers ocalls"
    return {" ".join(line[:2]): line[-6:] for line in lines[head + 1 :] if line and line[0].isdigit()}


def test_a_trace_of_enclaves_that_run_at_once(tmp_path: Path):
    done = penglai("trace", "caller", "hello-world", *SERVERS, "--output", "mine.json", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "hello world!" in done.stdout
    trace = TraceFile(tmp_path / "mine.json")
    assert done.stderr == f"wrote mine.json: {len(trace.events)} events, for ui.perfetto.dev\n"
    assert trace.states("3 caller")[-1] == trace.states("4 hello-world")[-1] == "EXITED"
    assert {"call test-server", "call test-server1"} <= {
        call.name for call in trace.track("enclave 3 caller", "calls")
    }


COMMANDS = (
    ("run", "hello-world"),
    ("test-stop", "loop", "--seconds", "0.5"),
    ("trace", "hello-world"),
)


@pytest.mark.parametrize("arguments", COMMANDS, ids=lambda arguments: arguments[0])
def test_commands_that_run_something_can_trace_it(arguments: tuple[str, ...], tmp_path: Path):
    option = "--output" if arguments[0] == "trace" else "--trace"
    done = penglai(*arguments, option, "mine.json", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    trace = TraceFile(tmp_path / "mine.json")
    assert f"wrote mine.json: {len(trace.events)} events" in done.stderr
    assert [name for name, track in trace.tracks if track == "state"] == [f"enclave 1 {arguments[1]}"]


def test_a_trace_is_whole_if_the_time_is_over(tmp_path: Path):
    done = penglai("run", "loop", "--timeout", "0.1", "--trace", "mine.json", cwd=tmp_path)
    assert done.returncode == 1
    assert TraceFile(tmp_path / "mine.json").states("1 loop")[-1] == "DESTROYED"
    assert "cannot write" in penglai("run", "loop", "--trace", tmp_path).stderr


def test_endless_ones_are_destroyed_after_some_seconds(tmp_path: Path):
    done = penglai("trace", "loop", "loop", "--seconds", "0", "--harts", "1", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    trace = TraceFile(tmp_path / "trace.json")
    assert trace.states("1 loop")[-1] == trace.states("2 loop")[-1] == "DESTROYED"
    assert ("harts", "hart 1") not in trace.tracks


def test_a_fault_is_said_and_traced(tmp_path: Path):
    program = eapp("*(volatile long *)8 = 1;")
    done = penglai("trace", "hello-world", program, cwd=tmp_path)
    assert done.returncode == 1
    assert "was destroyed: store page fault at 0x8" in done.stderr
    assert TraceFile(tmp_path / "trace.json").states("2 program")[-1] == "FAULTED"


def test_relay_pages_are_none(tmp_path: Path):
    assert penglai("trace", "relay-page", cwd=tmp_path).returncode == 0
    assert TraceFile(tmp_path / "trace.json").states("1 relay-page")[-1] == "EXITED"


def test_what_is_wrong_is_said_in_a_line(tmp_path: Path):
    for arguments, status, message in (
        (["trace", "hello-world", "-o", "no/where.json"], 1, "cannot write no/where.json: No such file"),
        (["trace", "hello-world", "-o", "/dev/full"], 1, "the trace is not complete: No space left"),
        (["trace", "nothing"], 1, "no such file: nothing"),
        (["trace"], 2, "Missing argument"),
    ):
        done = penglai(*arguments, cwd=tmp_path)
        assert done.returncode == status
        assert message in done.stderr
        assert "Traceback" not in done.stderr


def test_ctrl_c_completes_the_file(tmp_path: Path):
    child = pexpect.spawn(PENGLAI, ["trace", "loop"], timeout=PATIENCE, cwd=str(tmp_path))
    child.expect("round 1")
    child.sendintr()
    child.expect("interrupted")
    child.expect(pexpect.EOF)
    child.close()
    assert child.exitstatus == 128 + signal.SIGINT
    assert "RUNNING" in TraceFile(tmp_path / "trace.json").states("1 loop")


def test_stats_say_what_each_enclave_has_used(tmp_path: Path):
    done = penglai("run", "caller", *SERVERS, "--stats", cwd=tmp_path)
    assert done.returncode == 0
    table = rows(done.stderr)
    assert list(table) == ["3 caller", "1 test-server", "2 test-server1"]
    pages, _, stops, calls, to_servers, ocalls = map(int, table["3 caller"])
    assert (stops, to_servers) == (0, 2)
    assert pages > 20
    assert calls > ocalls + to_servers
    assert int(table["1 test-server"][4]) == 1
    traced = rows(penglai("trace", "caller", *SERVERS, "--stats", cwd=tmp_path).stderr)
    assert [int(cells[4]) for cells in traced.values()] == [2, 1, 0]


def test_stats_of_instances_and_with_json(tmp_path: Path):
    done = penglai("run", "hello-world", "--instances", "2", "--stats", "--json", cwd=tmp_path)
    assert list(rows(done.stderr)) == ["2 hello-world", "3 hello-world"]
    for row in json.loads(done.stdout):
        assert row["server_calls"] == 0
        assert row["calls"] > row["ocalls"] == 1
