"""Movements in a replay, compared with a full trace of moments and registers, forwards and back."""

import random
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.debug.test_replay import record, servers
from tests.debug.test_stub import COUNT, address_of
from tests.support.bare import ENGINES
from tests.support.gdbclient import GdbClient
from tests.support.programs import compiled, eapp
from tests.support.waiting import PATIENCE, SOAK

from penglai.abi.errors import RecordingError
from penglai.debug import recording, rewind, snapshots
from penglai.debug.recording import Reader, Run
from penglai.debug.replay import Interrupted
from penglai.debug.spaces import registers
from penglai.debug.timeline import Moment, Stop, Timeline

MOVES = 1000 if SOAK else 25
PC, ENOUGH = 32, 400

PREEMPTED = """#include "eapp.h"
volatile unsigned long sums[4];
__attribute__((noinline)) static void more(unsigned long n)
{
    for (unsigned long i = 0; i < n; i++)
        sums[i % 4] += i * n;
}
int EAPP_ENTRY main(void)
{
    for (int i = 1; i < 400; i++) {
        more(30000);
        if (i % 50 == 0)
            eapp_yield();
    }
    EAPP_RETURN((long)(sums[0] >> 1));
}
"""

Trace = list[tuple[Moment, bytes]]


@pytest.fixture(scope="module")
def recorded(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("recordings") / "count.rec"
    record(path, lambda machine: machine.create(compiled(COUNT)).run(timeout=PATIENCE))
    return path


@pytest.fixture(params=ENGINES)
def timeline(request: pytest.FixtureRequest, recorded: Path) -> Iterator[Timeline]:
    made = Timeline(Reader(recorded), request.param)
    yield made
    made.close()


def at(timeline: Timeline) -> tuple[Moment, bytes]:
    return timeline.moment, registers(timeline.enclave.context)


def trace_of(timeline: Timeline, most: int = 1 << 20) -> Trace:
    """Each instruction from here on."""
    found = [at(timeline)]
    while len(found) < most and timeline.step() is not Stop.END:
        found.append(at(timeline))
    return found


def test_steps_are_every_instruction_in_order(timeline: Timeline):
    trace = trace_of(timeline)
    moments = [moment for moment, _ in trace]
    assert moments == sorted(set(moments))
    add = address_of(compiled(COUNT), "add")
    assert sum(moment.pc == add for moment in moments) == 10
    assert timeline.step() is Stop.END
    assert at(timeline) == trace[-1]


def test_each_step_back_is_a_step_undone(timeline: Timeline):
    trace = trace_of(timeline)
    for wanted in trace[-2 : -ENOUGH - 2 : -1]:
        assert timeline.back() is Stop.BREAK
        assert at(timeline) == wanted
    timeline.go_to(trace[ENOUGH][0])
    for wanted in trace[ENOUGH - 1 :: -1]:
        assert timeline.back() is Stop.BREAK
        assert at(timeline) == wanted
    assert timeline.back() is Stop.BEGIN
    assert at(timeline) == trace[0]


def assert_moves_as_in(timeline: Timeline, trace: Trace, stops: set[int], moves: int) -> None:
    """From random moments, to breakpoints in both directions."""
    chance, at_stops = random.Random(8), [each for each in trace if each[0].pc in stops]
    for _ in range(moves):
        moment, _ = start = chance.choice(trace)
        timeline.go_to(moment)
        assert at(timeline) == start
        earlier = [each for each in at_stops if each[0] < moment]
        assert timeline.back_to(stops) is (Stop.BREAK if earlier else Stop.BEGIN)
        assert at(timeline) == (earlier[-1] if earlier else trace[0])
        later = [each for each in at_stops if each[0] > timeline.moment]
        assert timeline.forward(stops) is (Stop.BREAK if later else Stop.END)
        assert at(timeline) == (later[0] if later else trace[-1])


@pytest.mark.soak
def test_breakpoints_are_found_in_both_directions(timeline: Timeline):
    trace = trace_of(timeline)
    add = address_of(compiled(COUNT), "add")
    called = random.Random(2).sample(sorted({moment.pc for moment, _ in trace}), 3)
    assert_moves_as_in(timeline, trace, {add, *called}, MOVES)


@pytest.mark.parametrize("engine", ENGINES)
def test_so_are_those_of_a_program_that_was_preempted(
    engine: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    """Snapshots before every run.  The trace has the instructions around the ends of runs."""
    monkeypatch.setattr(snapshots, "LEAST_SECONDS", 0)
    monkeypatch.setattr(snapshots, "SHARE", 0)
    image, path = compiled(PREEMPTED), tmp_path / "run.rec"
    record(path, lambda machine: machine.create(image).run(timeout=PATIENCE))
    more = address_of(image, "more")
    timeline = Timeline(Reader(path), engine)
    calls = [at(timeline)]
    while timeline.forward({more}) is Stop.BREAK:
        calls.append(at(timeline))
    assert len(calls) == 400
    chance = random.Random(3)
    for place in [1, 399, *(chance.randrange(1, 400) for _ in range(6))]:
        timeline.go_to(calls[place][0])
        assert timeline.back_to({more}) is (Stop.BREAK if place > 1 else Stop.BEGIN)
        assert at(timeline) == calls[place - 1]
    ends = [event for event in Reader(path) if isinstance(event, Run)]
    assert len(ends) > 8
    for run in [index for index, event in enumerate(Reader(path)) if isinstance(event, Run)][1:6]:
        timeline.go_to(Moment(run, 0, starts_at(path, run)))
        trace = trace_of(timeline, 40)
        for wanted in trace[-2::-1]:
            timeline.back()
            assert at(timeline) == wanted
    timeline.close()


def starts_at(path: Path, run: int) -> int:
    """The pc with which a run begins."""
    pc = 0
    for index, event in enumerate(Reader(path)):
        if isinstance(event, Run):
            pc = dict(event.changes).get(recording.REGISTERS - 1, pc)
            if index == run:
                break
            pc = event.pc
    return pc


@pytest.mark.parametrize("engine", ENGINES)
def test_a_call_of_a_server_is_one_step_and_the_server_can_be_looked_at_too(engine: str, tmp_path: Path):
    def body(machine) -> None:
        servers(machine)
        machine.create("caller").run(timeout=PATIENCE)

    record(tmp_path / "run.rec", body)
    for eid in (None, 1, 2):
        timeline = Timeline(Reader(tmp_path / "run.rec"), engine, eid)
        assert timeline.space.eid == eid or timeline.space.name == "caller"
        trace = trace_of(timeline)
        assert_moves_as_in(timeline, trace, {trace[len(trace) // 2][0].pc}, 5)
        timeline.close()
    with pytest.raises(
        RecordingError, match=r"has no enclave 7; it has: 3 caller, 1 test-server, 2 test-server1"
    ):
        Timeline(Reader(tmp_path / "run.rec"), engine, 7)


def test_a_fault_stops_it_before_it_happens(tmp_path: Path):
    program = eapp("volatile long *p = (long *)8; *p = 1;")
    record(tmp_path / "run.rec", lambda machine: machine.create(program).run(timeout=PATIENCE))
    timeline = Timeline(Reader(tmp_path / "run.rec"))
    assert timeline.forward(()) is Stop.FAULT
    assert timeline.event.tval == 8
    assert timeline.forward(()) is Stop.END
    timeline.close()


def test_many_snapshots_are_thinned_out(recorded: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(snapshots, "LEAST_SECONDS", 0)
    monkeypatch.setattr(snapshots, "SHARE", 0)
    monkeypatch.setattr(snapshots, "MOST_BYTES", 1 << 18)
    timeline = Timeline(Reader(recorded))
    trace = trace_of(timeline)
    assert_moves_as_in(timeline, trace, {address_of(compiled(COUNT), "add")}, 5)
    assert timeline._snapshots._bytes < 1 << 20
    timeline.close()


# ---- gdb's side ------------------------------------------------------------------------------------


def test_gdb_goes_back_and_changes_nothing(timeline: Timeline):
    add = address_of(compiled(COUNT), "add")
    with rewind.ReplaySession(timeline, 0) as session, GdbClient(session.address) as gdb:
        assert "ReverseStep+;ReverseContinue+" in gdb.ask("qSupported")
        start = gdb.pc
        assert gdb.ask(f"Z0,{add:x},2") == "OK"
        values = []
        while (said := gdb.ask("vCont;c")) == "T05thread:1;":
            values.append(gdb.register(10))
        assert said == "T05thread:1;replaylog:end;"
        assert values == list(range(1, 11))
        while (said := gdb.ask("bc")) == "T05thread:1;":
            assert gdb.pc == add
            assert gdb.register(10) == values.pop()
        assert (said, values, gdb.pc) == ("T05thread:1;replaylog:begin;", [], start)
        assert gdb.ask("bs") == "T05thread:1;replaylog:begin;"
        assert gdb.ask("s") == gdb.ask("bs") == "T05thread:1;"
        assert gdb.pc == start
        assert gdb.ask("P0a=0100000000000000") == "E02"
        assert gdb.ask("G" + gdb.ask("g")) == "E02"
        assert gdb.ask(f"M{add:x},1:00") == "E0e"
        assert gdb.memory(add, 2) == timeline.read(add, 2)
        assert gdb.ask("vKill;1") == "OK"
        assert session.wait(PATIENCE)


def test_the_session_is_over_when_gdb_is_gone(timeline: Timeline):
    with rewind.ReplaySession(timeline, 0) as session:
        with GdbClient(session.address) as gdb:
            gdb.ask("?")
        assert session.wait(PATIENCE)


def test_ctrl_c_ends_a_movement(tmp_path: Path):
    path = tmp_path / "run.rec"
    record(path, lambda machine: machine.create(compiled(PREEMPTED)).run(timeout=PATIENCE))
    timeline = Timeline(Reader(path), "unicorn")
    more = address_of(compiled(PREEMPTED), "more")
    with rewind.ReplaySession(timeline, 0) as session, GdbClient(session.address) as gdb:
        gdb.ask(f"Z0,{more:x},2")
        assert gdb.ask("c") == gdb.ask("c") == "T05thread:1;"
        gdb.ask(f"z0,{more:x},2")
        gdb.send("c")
        gdb.interrupt()
        assert gdb.receive() in (b"T02thread:1;", b"T05thread:1;replaylog:end;")
        gdb.ask(f"Z0,{more:x},2")
        assert gdb.ask("bc") == "T05thread:1;"
        assert gdb.pc == more


def test_interrupted_on_its_way_back_it_is_where_it_was(timeline: Timeline):
    timeline.forward({address_of(compiled(COUNT), "add")})
    here = at(timeline)
    timeline.interrupt()
    with pytest.raises(Interrupted):
        timeline.back()
    assert at(timeline) == here
    assert timeline.back() is Stop.BREAK
