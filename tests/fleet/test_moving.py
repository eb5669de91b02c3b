"""Enclaves of a fleet change machines, and go on after one has died."""

import contextlib
import os
import signal
from pathlib import Path

import pytest
from tests.support.waiting import PATIENCE, until

import penglai
from penglai.fleet.rows import Status

pytestmark = pytest.mark.slow

WAITER = """
#include "eapp.h"
#include "print.h"

int EAPP_ENTRY main(void)
{
    unsigned long *args;
    EAPP_RESERVE_REG;
    volatile unsigned long count = 0;
    eapp_set_policy(EAPP_MAY_MOVE | EAPP_MAY_CLONE);
    eapp_print("begins\\n");
    while (!eapp_generation())
        ;
    for (unsigned long step = 0; step < 1000; step++)
        count++;
    eapp_print("goes on\\n");
    EAPP_RETURN(count);
}
"""
"""Does not end before it has been restored from a snapshot."""


CLIENT = """
#include "eapp.h"
#include "print.h"

int EAPP_ENTRY main(void)
{
    unsigned long *args;
    EAPP_RESERVE_REG;
    unsigned long server = acquire_enclave("a-server");
    eapp_print("begins\\n");
    while (!eapp_generation())
        ;
    struct call_enclave_arg_t call = {.req_arg = 20};
    EAPP_RETURN(call_enclave(server, &call) ? 0 : call.resp_val + 1000);
}
"""
"""Calls, after it has been restored, a server that it acquired before."""


@pytest.fixture(scope="module")
def waiter(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return built(tmp_path_factory.mktemp("waiter") / "waiter", WAITER)


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return built(tmp_path_factory.mktemp("client") / "client", CLIENT)


def built(path: Path, text: str) -> Path:
    """A program of this text."""
    source = path.with_suffix(".c")
    source.write_text(text)
    return penglai.build(source, output=path)


def begun(fleet: penglai.Fleet, waiter: Path, machine: str = "") -> penglai.FleetEnclave:
    """One that waits."""
    placed = fleet.place(waiter, machine=machine)
    until(lambda: placed.output == b"begins\n")
    return placed


def check_end(placed: penglai.FleetEnclave) -> None:
    """It went on where it had been: nothing was lost, and nothing was written twice."""
    row = placed.wait(PATIENCE)
    assert (row.status, row.value, row.reason) == (Status.EXITED, 1000, "")
    assert placed.output == b"begins\ngoes on\n"
    assert row.moves == 1


def other(machine: str) -> str:
    return {"node-1": "node-2", "node-2": "node-1"}[machine]


def kill_machine(fleet: penglai.Fleet, name: str) -> None:
    (pid,) = {row.pid for row in fleet.machines() if row.name == name}
    os.kill(pid, signal.SIGKILL)


def test_what_is_moved_goes_on_there(fleet: penglai.Fleet, waiter: Path):
    placed = begun(fleet, waiter)
    here = placed.row.machine
    assert placed.move() == other(here) == placed.row.machine
    check_end(placed)
    assert not list(fleet._site.snapshots.iterdir())


def test_its_servers_are_where_it_goes(fleet: penglai.Fleet, client: Path):
    """It has acquired the server before, and calls it afterwards."""
    placed = fleet.place(client, servers={"a-server": "server1"}, machine="node-1")
    until(lambda: placed.output == b"begins\n")
    placed.move()
    assert placed.wait(PATIENCE).value == 40 + 1000
    until(lambda: all(row.used == 0 for row in fleet.machines()))


def test_what_is_stopped_stays_so(fleet: penglai.Fleet):
    loop = fleet.place("loop", machine="node-1")
    loop.stop()
    time = loop.row.run_time
    assert loop.move("node-2") == "node-2"
    assert (loop.row.status, loop.row.run_time) == (Status.STOPPED, time)
    loop.resume()
    until(lambda: loop.row.run_time > time)
    for _ in range(3):
        loop.move()
    assert (loop.row.machine, loop.row.moves) == ("node-1", 4)
    loop.destroy()


def test_where_it_cannot_go_it_stays(fleet: penglai.Fleet):
    big = fleet.place("loop", stack_size=25 << 20, machine="node-1")
    full: list[penglai.FleetEnclave] = []
    with contextlib.suppress(penglai.NoMemoryError):  # less than twice 12 MiB is free then
        while len(full) < 64:
            full.append(fleet.place("loop", stack_size=12 << 20, machine="node-2"))
    with pytest.raises(penglai.NoMemoryError):
        big.move()
    row = big.row
    assert (row.machine, row.status, row.moves) == ("node-1", Status.RUNNING, 0)
    with pytest.raises(penglai.BadArgumentError, match="no machine 'node-9'"):
        big.move("node-9")
    with pytest.raises(penglai.FleetError, match="no other machine"):
        big.move("node-1")
    until(lambda: big.row.run_time > row.run_time)
    for each in (big, *full):
        each.destroy()


def test_what_does_not_allow_clones_is_not_saved(fleet: penglai.Fleet):
    loop = fleet.place("loop")
    with pytest.raises(penglai.SnapshotError, match="policy"):
        loop.save()
    fleet.save()
    assert (loop.row.snapshots, loop.row.status) == (0, Status.RUNNING)
    loop.destroy()


def test_what_was_saved_goes_on_when_its_machine_dies(fleet: penglai.Fleet, waiter: Path):
    saved, stopped = (begun(fleet, waiter, "node-2") for _ in range(2))
    stopped.stop()
    fleet.save()
    assert (saved.row.snapshots, stopped.row.snapshots) == (1, 0)
    stopped.save()
    stopped.save()
    kill_machine(fleet, "node-2")
    check_end(saved)
    until(lambda: stopped.row.machine == "node-1")
    assert stopped.row.status is Status.STOPPED
    stopped.resume()
    check_end(stopped)
    assert not list(fleet._site.snapshots.iterdir())


def test_a_drained_machine_is_empty_and_its_node_ended(fleet: penglai.Fleet, waiter: Path, state: Path):
    name = fleet.join("64M", 1, state=state)
    placed = [begun(fleet, waiter, name) for _ in range(3)]
    session = fleet._site.sessions[name]
    assert fleet.drain(name) == {}
    for each in placed:
        check_end(each)
    assert name not in {row.name for row in fleet.machines()}
    assert not session.processes()
    with pytest.raises(penglai.BadArgumentError, match="no machine"):
        fleet.drain(name)
    with pytest.raises(penglai.BadArgumentError, match="no machine"):
        fleet.crash("node-9")


def test_a_device_alone_keeps_what_is_on_it(fleet: penglai.Fleet, tmp_path: Path):
    name = fleet.join("16M", 1, state=tmp_path)
    loop = fleet.place("loop", machine=name)
    with pytest.raises(penglai.FleetError, match="device"):
        loop.move()
    failures = fleet.drain(name)
    assert list(failures) == [loop.number]
    assert loop.row.status is Status.RUNNING
    with pytest.raises(penglai.FleetError, match="is being drained"):
        fleet.place("loop", machine=name)
    loop.destroy()
    assert fleet.drain(name) == {}


def test_what_was_saved_goes_on_when_its_node_dies(fleet: penglai.Fleet, waiter: Path):
    """From here on the fleet has one node."""
    placed = begun(fleet, waiter, "node-2")
    placed.save()
    fleet.crash("node-2")
    check_end(placed)
    assert [row.name for row in fleet.machines()] == ["node-1"]


def test_where_there_is_no_other_machine_it_waits_for_one(fleet: penglai.Fleet, waiter: Path):
    """The machine that takes the dead one's place has it."""
    placed = begun(fleet, waiter, "node-1")
    placed.save()
    kill_machine(fleet, "node-1")
    check_end(placed)
