"""penglai fleet, as somebody types it."""

import json
import os
import re
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
from tests.support.person import PENGLAI
from tests.support.sessions import living
from tests.support.waiting import PATIENCE, until

from penglai.fleet import site

pytestmark = pytest.mark.slow

SMALL = ("--memory", "16M", "--harts", "1")


@pytest.fixture
def state(tmp_path: Path) -> Iterator[dict[str, str]]:
    """An environment whose user has no fleet, and has none afterwards."""
    environment = {**os.environ, "PENGLAI_STATE": str(tmp_path)}
    yield environment
    subprocess.run([PENGLAI, "fleet", "down"], env=environment, capture_output=True, check=False)


def penglai(environment: dict[str, str], *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [PENGLAI, "fleet", *arguments],
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
        env=environment,
    )


def test_a_fleet_from_up_to_down(state: dict[str, str], tmp_path: Path):
    store = tmp_path / "store"
    up = penglai(state, "up", "--nodes", "1", *SMALL, "--save-every", "0.5", "--store", str(store))
    assert (up.returncode, up.stderr) == (0, "")
    assert re.search(r"node-1 +[0-9a-f]{16} +4096 +4096 +1 +0", up.stdout)
    again = penglai(state, "up")
    assert (again.returncode, again.stdout) == (1, "")
    assert again.stderr == "penglai: a fleet is up already; end it with: penglai fleet down\n"

    placed = penglai(state, "place", "hello-world", "--wait", "--json")
    (row,) = json.loads(placed.stdout)
    assert (row["number"], row["status"], row["value"], row["machine"]) == (1, "EXITED", 0, "node-1")
    assert penglai(state, "logs", "1").stdout == "hello world!\n"
    assert "RUNNING" in penglai(state, "place", "loop").stdout
    late = penglai(state, "place", "loop", "--wait", "--timeout", "0.1")
    assert (late.returncode, late.stderr) == (1, "penglai: enclave 3 is still alive after 0.1 seconds\n")

    measurement = subprocess.check_output([PENGLAI, "measure", "loop"], text=True).strip()
    verified = penglai(state, "verify", "2", "--measurement", measurement)
    assert verified.stdout.startswith(f"valid: enclave 2 is {measurement} on device ")
    wrong = penglai(state, "verify", "2", "--measurement", "00" * 32)
    assert wrong.returncode == 1
    assert wrong.stderr.startswith("penglai: ")

    assert "node-2" in penglai(state, "join", *SMALL).stdout
    assert penglai(state, "move", "2").stdout == "node-2\n"
    assert penglai(state, "save", "2").stderr.startswith("penglai: cannot snapshot enclave")
    assert penglai(state, "destroy", "3").returncode == 0
    drained = penglai(state, "drain", "node-2")
    assert (drained.returncode, drained.stderr) == (0, "")
    rows = json.loads(penglai(state, "ps", "--json").stdout)
    assert [machine["name"] for machine in rows["machines"]] == ["node-1"]
    assert [enclave["status"] for enclave in rows["enclaves"]] == ["EXITED", "RUNNING", "DESTROYED"]
    assert rows["enclaves"][1]["moves"] == 2
    alone = penglai(state, "drain", "node-1")
    assert (alone.returncode, alone.stdout) == (1, "")
    assert alone.stderr.startswith("enclave 2 stays: the fleet has no other machine")
    assert penglai(state, "place", "count").returncode == 1

    here = site.found(tmp_path / site.RECORD)
    down = penglai(state, "down")
    assert (down.returncode, down.stderr) == (0, "ended 2 nodes\n")
    assert not any(each.processes() for each in here.sessions.values())
    assert not here.directory.exists()
    assert not (tmp_path / site.RECORD).exists()


@pytest.mark.parametrize(
    ("arguments", "status", "message"),
    [
        (["ps"], 1, "no fleet is up; start one with: penglai fleet up"),
        (["down"], 1, "no fleet is up"),
        (["place", "loop"], 1, "no fleet is up"),
        (["up", "--memory", "3M"], 1, "must be a multiple of 2 MiB"),
        (["up", "--nodes", "0"], 2, "less than 1"),
        (["up", "--nodes", "1", "--memory", "16M", "--harts", "99"], 1, "must have 1 to 64"),
        (["verify", "1", "--measurement", "00"], 2, "64 hex digits"),
        (["logs", "one"], 2, "no whole number"),
    ],
    ids=str,
)
def test_what_is_wrong_is_said(state: dict[str, str], arguments: list[str], status: int, message: str):
    done = penglai(state, *arguments)
    assert (done.returncode, done.stdout) == (status, "")
    assert message in " ".join(done.stderr.split())
    assert "Traceback" not in done.stderr


def test_the_demo_ends_right(state: dict[str, str]):
    done = penglai(state, "demo", "--nodes", "3", "--enclaves", "9")
    assert (done.returncode, done.stderr) == (0, "")
    assert "node-2 is killed" in done.stdout
    assert "node-3 is empty" in done.stdout
    assert "9 of 9 counts ended right" in done.stdout


@pytest.mark.parametrize("words", [("up", "--nodes", "3", *SMALL), ("demo", "--nodes", "1")], ids=str)
def test_ctrl_c_leaves_nothing(state: dict[str, str], words: tuple[str, ...]):
    """While it comes up, and while the demo's enclaves run."""
    command = [PENGLAI, "fleet", *words]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    with subprocess.Popen(command, env=state, text=True, **pipes) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        me = psutil.Process(process.pid)
        until(lambda: len(me.children(recursive=True)) > 1)
        sessions = {os.getsid(child.pid) for child in me.children(recursive=True)} - {os.getsid(0)}
        if words[0] == "demo":
            assert "node" in process.stdout.readline()
            assert "enclaves count" in process.stdout.readline()
        process.send_signal(signal.SIGINT)
        assert process.wait(PATIENCE) == 128 + signal.SIGINT
        assert process.stderr.read() == "penglai: interrupted\n"
    assert living(sessions) == []
    assert "no fleet is up" in penglai(state, "ps").stderr


def test_what_a_killed_up_leaves_down_ends(state: dict[str, str], tmp_path: Path):
    with subprocess.Popen([PENGLAI, "fleet", "up", *SMALL], env=state) as process:
        until((tmp_path / site.RECORD).exists)
        process.kill()
    left = site.found(tmp_path / site.RECORD)
    assert "has not come up" in penglai(state, "ps").stderr
    assert "a fleet is up already" in penglai(state, "up").stderr
    assert penglai(state, "down").returncode == 0
    assert not any(each.processes() for each in left.sessions.values())
    assert not left.directory.exists()
