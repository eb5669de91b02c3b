"""A fleet of two nodes: placing, policies, reports, and what dies."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import psutil
import pytest
from tests.support.sessions import living
from tests.support.waiting import PATIENCE, until

import penglai
from penglai.fleet.rows import Status

pytestmark = pytest.mark.slow


def processes(fleet: penglai.Fleet) -> list[psutil.Process]:
    """All of its nodes."""
    return [psutil.Process(pid) for each in fleet._site.sessions.values() for pid in each.processes()]


def test_what_is_placed_runs_to_its_end(fleet: penglai.Fleet):
    placed = fleet.place("prime")
    row = placed.wait(PATIENCE)
    assert (row.status, row.value, row.name) == (Status.EXITED, 78498, "prime")
    assert row.run_time > 0
    hello = fleet.place("hello-world", name="other")
    assert hello.wait(PATIENCE).name == "other"
    assert hello.output == b"hello world!\n"
    assert fleet.enclave(hello.number) == hello


def test_they_are_spread_by_free_pages(fleet: penglai.Fleet):
    placed = [fleet.place("loop") for _ in range(4)]
    until(lambda: all(row.used for row in fleet.machines()))
    assert {each.row.machine for each in placed} == {"node-1", "node-2"}
    assert sum(row.enclaves for row in fleet.machines()) == 4
    for each in placed:
        each.destroy()
    assert all(row.used == 0 and row.free == row.pages == 16384 for row in fleet.machines())


def test_servers_are_with_their_callers(fleet: penglai.Fleet):
    servers = {"test-server": "server", "test-server1": "server1"}
    for _ in range(2):
        assert fleet.place("caller", servers=servers).wait(PATIENCE).value == 101
    until(lambda: all(row.used == 0 for row in fleet.machines()))
    other = fleet.place("caller", servers={"test-server": "server1", "test-server1": "server"})
    assert other.wait(PATIENCE).status is Status.EXITED


def test_stop_resume_and_destroy(fleet: penglai.Fleet):
    loop = fleet.place("loop")
    loop.stop()
    before = loop.row
    assert (before.status, loop.row.run_time) == (Status.STOPPED, before.run_time)
    loop.resume()
    until(lambda: loop.row.run_time > before.run_time)
    with pytest.raises(penglai.WaitTimeoutError, match="still alive after 0 seconds"):
        loop.wait(0)
    with pytest.raises(penglai.StateError):
        loop.resume()
    loop.destroy()
    assert loop.wait(PATIENCE).status is Status.DESTROYED
    with pytest.raises(penglai.NoSuchEnclaveError, match="has ended"):
        loop.stop()
    with pytest.raises(penglai.NoSuchEnclaveError, match="no enclave 9999"):
        fleet.enclave(9999)


def test_a_report_proves_what_runs(fleet: penglai.Fleet):
    loop = fleet.place("loop")
    (device,) = {row.device_key for row in fleet.machines()}
    report = loop.verify(measurement=penglai.measure("loop"), devices=[device], nonce=42)
    assert (report.nonce, report.device_key) == (42, device)
    assert loop.row.status is Status.RUNNING
    with pytest.raises(penglai.AttestationError):
        loop.verify(measurement=penglai.measure("prime"))
    with pytest.raises(penglai.AttestationError, match="not allowed"):
        loop.verify(measurement=penglai.measure("loop"), devices=[bytes(64)])
    loop.destroy()


def test_what_cannot_be_placed_says_why_and_leaves_nothing(fleet: penglai.Fleet):
    with pytest.raises(penglai.ImageError, match="is not an ELF file"):
        fleet.place(Path(__file__))
    with pytest.raises(penglai.NoMemoryError, match="no machine of the fleet has room"):
        fleet.place("loop", stack_size=1 << 28)
    with pytest.raises(penglai.FleetError, match="policy"):
        fleet.place("loop", devices=[bytes(64)])
    with pytest.raises(penglai.BadArgumentError, match="64 bytes"):
        fleet.place("loop", devices=[b"short"])
    with pytest.raises(penglai.BadArgumentError, match="no machine 'node-9'"):
        fleet.place("loop", machine="node-9")
    assert all(row.used == 0 for row in fleet.machines())


def test_another_fleet_in_this_process_is_refused(fleet: penglai.Fleet):
    with pytest.raises(penglai.StateError, match="in a fleet already"):
        penglai.Fleet(1, "64M", 1)
    with pytest.raises(penglai.BadArgumentError):
        penglai.Fleet(1, "3M", 1)
    with pytest.raises(penglai.BadArgumentError):
        penglai.Fleet(0)


def test_it_listens_on_the_loopback_alone(fleet: penglai.Fleet):
    listening = [
        connection.laddr.ip.removeprefix("::ffff:")
        for process in processes(fleet)
        for connection in process.net_connections()
        if connection.status == psutil.CONN_LISTEN
    ]
    assert listening
    assert set(listening) == {"127.0.0.1"}


def test_who_has_no_token_stays_outside(fleet: penglai.Fleet):
    script = (
        f"import ray; ray.init({fleet._site.address!r}, namespace='penglai'); print(ray.get_actor('keeper'))"
    )
    environment = {name: value for name, value in os.environ.items() if not name.startswith("RAY_AUTH")}
    environment["HOME"] = str(fleet._site.directory)  # no token there either
    done = subprocess.run(
        [sys.executable, "-c", script], env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode != 0
    assert "Actor" not in done.stdout
    assert "uthenticat" in done.stderr


def test_a_device_that_joins_takes_what_only_it_may_have(fleet: penglai.Fleet, tmp_path: Path):
    name = fleet.join("64M", 1, state=tmp_path / "another")
    (key,) = {row.device_key for row in fleet.machines() if row.name == name}
    placed = fleet.place("prime", devices=[key])
    assert (placed.wait(PATIENCE).machine, placed.row.value) == (name, 78498)
    fleet._site.sessions[name].signal(signal.SIGKILL)
    until(lambda: name not in {row.name for row in fleet.machines()})


def test_a_machine_that_is_killed_loses_its_enclaves_and_another_takes_its_place(fleet: penglai.Fleet):
    loop = fleet.place("loop", machine="node-2")
    (pid,) = {row.pid for row in fleet.machines() if row.name == "node-2"}
    os.kill(pid, signal.SIGKILL)
    row = loop.wait(PATIENCE)
    assert row.status is Status.LOST
    assert row.reason == "its machine on node-2 has died; no snapshot was saved"
    until(lambda: {row.pid for row in fleet.machines() if row.name == "node-2"} - {pid} != set())
    assert fleet.place("prime", machine="node-2").wait(PATIENCE).value == 78498


def test_a_node_that_is_killed_is_left_out(fleet: penglai.Fleet):
    """The last one here: the fleet has one node less."""
    loops = [fleet.place("loop", machine=f"node-{number}") for number in (1, 2)]
    fleet._site.sessions["node-2"].signal(signal.SIGKILL)
    assert loops[1].wait(PATIENCE).status is Status.LOST
    assert [row.name for row in fleet.machines()] == ["node-1"]
    assert loops[0].row.status is Status.RUNNING
    assert fleet.place("prime").wait(PATIENCE).machine == "node-1"


def test_without_ray_it_says_what_to_install():
    script = """
import sys
sys.modules["ray"] = None
from penglai import *
try:
    Fleet()
except FleetError as error:
    print(error)
"""
    said = subprocess.check_output([sys.executable, "-c", script], text=True)
    assert said.startswith("a fleet needs Ray; run: pip install 'pypenglai[fleet]'")


def test_whoever_wants_no_fleet_imports_no_ray():
    script = (
        "import sys, os; from penglai import *; print('ray' in sys.modules, 'RAY_AUTH_MODE' in os.environ)"
    )
    clean = {name: value for name, value in os.environ.items() if not name.startswith("RAY_")}
    assert subprocess.check_output([sys.executable, "-c", script], text=True, env=clean) == "False False\n"


def test_at_the_end_nothing_is_left(state: Path):
    """A fleet of its own, since it ends; a process has one."""
    script = "import penglai, sys; f = penglai.Fleet(1, '16M', 1, state=sys.argv[1]); f.place('loop');"
    script += "print(*(n.number for n in f._site.sessions.values()), f._site.directory, flush=True);"
    for ending, status in (
        ("f.down(); f.down()", 0),
        ("import os; os.kill(os.getpid(), 9)", -9),
    ):
        done = subprocess.run(
            [sys.executable, "-W", "ignore", "-c", script + ending, state],
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == status, done.stderr
        session, directory = done.stdout.split()
        until(lambda: not living({int(session)}))  # noqa: B023
        until(lambda: not Path(directory).exists())  # noqa: B023
