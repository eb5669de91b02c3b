"""Traces: what is on the tracks is what happened, whatever happened; and what enclaves have used."""

import itertools
import random
import threading
from pathlib import Path

import pytest
from tests.support.programs import compiled, eapp
from tests.support.rawhost import EXIT, RawHost
from tests.support.sampled import run_until_sampled
from tests.support.traces import TraceFile
from tests.support.waiting import PATIENCE, until

import penglai
from penglai import Reason, State
from penglai.abi.firmware import Status
from penglai.abi.sbi import HostCall, RunValue
from penglai.tracing.writer import Writer

LEAVE_NO_ROOM = (HostCall.DESTROY, HostCall.MEMORY_RECLAIM, HostCall.MEMORY_EXTEND, HostCall.LIMIT)
"""Calls after which there may be nothing for another enclave."""
SPIN = "for (;;) ;"


def contiguous(trace: TraceFile, enclave: str) -> bool:
    states = trace.track(f"enclave {enclave}", "state")
    return all(one.end == other.start for one, other in itertools.pairwise(states))


def test_a_life_from_create_to_exit(machine: penglai.Machine, tmp_path: Path):
    with machine.trace(tmp_path / "trace.json") as written:
        enclave = machine.create("hello-world", name="hello")
        enclave.run(PATIENCE)
    trace = TraceFile(tmp_path / "trace.json")
    assert written.events == len(trace.events)
    states = trace.states("1 hello")
    assert [*states[:3], *states[-2:]] == ["FRESH", "RUNNABLE", "RUNNING", "RUNNING", "EXITED"]
    assert states.count("OCALL") == 1
    assert contiguous(trace, "1 hello")
    assert [call.name for call in trace.track("enclave 1 hello", "calls")] == ["ocall write"]
    visits = trace.on_harts("1 hello")
    assert visits[-1].args == {"eid": 1, "left": "exited"}
    assert [visit.args["left"] for visit in visits].count("ocall write") == 1
    calls = trace.host_calls()
    assert calls["create"][-1].args == {"eid": 1}
    assert len(calls["run"]) == 1


def test_pages_are_counted(machine: penglai.Machine, tmp_path: Path):
    program = eapp("eapp_unmap(eapp_mmap(0, 8 * 4096), 8 * 4096); sbrk(3 * 4096);")
    with machine.trace(tmp_path / "trace.json"):
        enclave = machine.create(program, name="maps")
        pages = enclave.info().pages
        enclave.run(PATIENCE)
    counters = TraceFile(tmp_path / "trace.json").counters
    own = counters["enclave 1 maps", "pages"]
    assert (own[0], own[-1]) == (pages, 0)
    free = counters["host", "free pages"]
    assert free[-1] == max(free), "all of it is back"


def test_functions_are_on_the_time_line_of_a_machine_that_takes_samples(tmp_path: Path):
    source = """#include "eapp.h"
__attribute__((noinline)) static void spin(void) { for (volatile int n = 1; n;) ; }
int EAPP_ENTRY main(void) { spin(); EAPP_RETURN(0); }
"""
    with penglai.Machine("64M", sampling=True) as machine, machine.trace(tmp_path / "trace.json"):
        run_until_sampled(machine, machine.create(compiled(source), name="spins"), compiled(source))
    functions = TraceFile(tmp_path / "trace.json").track("enclave 1 spins", "functions")
    assert {"main", "spin"} <= {each.name for each in functions}
    outer = max((each for each in functions if each.name == "main"), key=lambda each: each.end - each.start)
    assert any(outer.start <= each.start < each.end <= outer.end for each in functions if each.name == "spin")


def test_the_time_on_harts_is_the_run_time(machine: penglai.Machine, tmp_path: Path):
    """To the nanosecond, with more enclaves than harts, stops at any moment, and ends of every kind."""
    moment = random.Random(7)
    with machine.trace(tmp_path / "trace.json"):
        enclaves = [machine.create(eapp(SPIN), name="spin") for _ in range(4)]
        enclaves.append(machine.create("prime", name="spin"))
        runs = [enclave.start() for enclave in enclaves]
        for enclave in moment.choices(enclaves[:4], k=40):
            time = enclave.info().run_time
            until(lambda enclave=enclave, time=time: enclave.info().run_time > time)
            enclave.stop()
            enclave.resume()
        runs[4].result(PATIENCE)
        for enclave in enclaves[:4]:
            enclave.destroy()
    trace = TraceFile(tmp_path / "trace.json")
    for enclave in enclaves:
        label = f"{enclave.eid} spin"
        info = enclave.info()
        visits = trace.on_harts(label)
        assert sum(visit.end - visit.start for visit in visits) == info.run_time
        assert len([v for v in visits if v.args["left"] == "preempted"]) == info.preemptions
        assert trace.states(label).count("STOPPED") == info.stops
        assert trace.states(label)[-1] == info.state.name
        assert contiguous(trace, label)
    assert len(trace.host_calls()["stop"]) == 40


def test_a_stop_shows_on_every_track(machine: penglai.Machine, tmp_path: Path):
    with machine.trace(tmp_path / "trace.json"):
        enclave = machine.create(eapp(SPIN), name="spin")
        enclave.start()
        until(lambda: enclave.info().run_time > 0)
        enclave.stop()
        enclave.resume()
        enclave.destroy()
    trace = TraceFile(tmp_path / "trace.json")
    [stopped] = [each for each in trace.track("enclave 1 spin", "state") if each.name == "STOPPED"]
    calls = trace.host_calls()
    [stop], [resume], [destroy] = calls["stop"], calls["resume"], calls["destroy"]
    assert stop.start <= stopped.start <= stop.end <= resume.start <= stopped.end <= resume.end
    assert destroy.args == {"eid": 1}
    assert all(v.end <= stopped.start or v.start >= stopped.end for v in trace.on_harts("1 spin"))
    assert trace.states("1 spin")[-1] == "DESTROYED"


def test_calls_of_servers_are_inside_each_other(machine: penglai.Machine, tmp_path: Path):
    with machine.trace(tmp_path / "trace.json"):
        machine.create("server", name="test-server", kind="server")
        machine.create("server1", name="test-server1", kind="server")
        machine.create("caller").run(PATIENCE)
    trace = TraceFile(tmp_path / "trace.json")
    calls = trace.track("enclave 3 caller", "calls")
    outer = next(call for call in calls if call.name == "call test-server")
    inner = next(call for call in calls if call.name == "call test-server1")
    assert outer.start <= inner.start <= inner.end <= outer.end
    assert outer.args == {"server": 1}
    assert any(inner.start <= call.start and call.end <= inner.end for call in calls if "ocall" in call.name)
    server = "enclave 2 test-server1 (server)"
    assert [each.name for each in trace.track(server, "state")] == ["IDLE", "BUSY", "IDLE", "BUSY", "IDLE"]
    busy = trace.track(server, "state")[1]
    assert (busy.start, busy.end, busy.args) == (inner.start, inner.end, {"for": 3})
    arrows = sorted((arrow.at, arrow.tail, arrow.head) for arrow in trace.arrows)
    assert len(arrows) == sum("call" in call.name and "server" in call.args for call in calls)
    assert (inner.start + 1, ("enclave 3 caller", "calls"), (server, "state")) in arrows


def test_a_ring_of_servers_that_is_stopped_and_destroyed_at_any_moment(
    machine: penglai.Machine, tmp_path: Path
):
    """TraceFile checks that what is on a track fits into each other."""
    elf = compiled("ring-server")
    caller = compiled("ring-caller", "-DROUNDS=100000UL", "-DPAGES=1")
    with machine.trace(tmp_path / "trace.json"):
        servers = [machine.create(elf, name=f"ring{n}", kind="server") for n in range(8)]
        for _ in range(5):
            enclave = machine.create(caller, name="caller")
            enclave.start()
            for _ in range(5):
                rounds = servers[6].info().server_calls
                until(lambda rounds=rounds: servers[6].info().server_calls > rounds)
                enclave.stop()
                enclave.resume()
            enclave.destroy()
        for server in servers:
            assert server.state is State.IDLE
    trace = TraceFile(tmp_path / "trace.json")
    for eid in range(9, 14):
        calls = trace.track(f"enclave {eid} caller", "calls")
        assert {call.name for call in calls} >= {f"call ring{n}" for n in range(8)}
        assert trace.states(f"{eid} caller").count("STOPPED") == 5
    for number in range(8):
        assert trace.states(f"{number + 1} ring{number} (server)")[-1] == "IDLE"


def test_a_server_that_faults_is_shown_to_end(machine: penglai.Machine, tmp_path: Path):
    machine.create(eapp("*(volatile long *)8 = 1;"), name="server", kind="server")
    body = 'long h = acquire_enclave("server"); struct call_enclave_arg_t a = {0}; call_enclave(h, &a);'
    with machine.trace(tmp_path / "trace.json"):
        machine.create(
            compiled(f'#include "eapp.h"\nint EAPP_ENTRY main(void)\n{{{body} EAPP_RETURN(0);}}\n'),
            name="caller",
        ).run(PATIENCE)
    trace = TraceFile(tmp_path / "trace.json")
    assert trace.states("1 server (server)") == ["IDLE", "BUSY", "DESTROYED"]
    assert [call.name for call in trace.track("enclave 2 caller", "calls")] == ["call server"]


def test_a_fault_is_named(machine: penglai.Machine, tmp_path: Path):
    with machine.trace(tmp_path / "trace.json"):
        result = machine.create(eapp("*(volatile long *)8 = 1;"), name="wrong").run(PATIENCE)
    assert result.reason is Reason.FAULTED
    trace = TraceFile(tmp_path / "trace.json")
    assert trace.states("1 wrong")[-1] == "FAULTED"
    assert trace.on_harts("1 wrong")[-1].args["left"] == "faulted"


def test_an_ocall_lasts_until_it_is_answered(tmp_path: Path):
    may_return, called = threading.Event(), threading.Event()

    def listener(eid: int, text: bytes) -> None:
        called.set()
        may_return.wait(PATIENCE)

    with penglai.Machine("64M", on_output=listener) as machine, machine.trace(tmp_path / "trace.json"):
        enclave = machine.create("hello-world", name="hello")
        run = enclave.start()
        assert called.wait(PATIENCE)
        until(lambda: enclave.state is State.OCALL)
        enclave.stop()
        enclave.resume()
        may_return.set()
        run.result(PATIENCE)
    trace = TraceFile(tmp_path / "trace.json")
    states = trace.states("1 hello")
    place = states.index("STOPPED")
    assert states[place - 1 : place + 2] == ["OCALL", "STOPPED", "OCALL"]
    [ocall] = trace.track("enclave 1 hello", "calls")
    stop = trace.host_calls()["stop"][0]
    assert ocall.start < stop.start < stop.end < ocall.end


def test_instances_of_a_shadow(machine: penglai.Machine, tmp_path: Path):
    with machine.trace(tmp_path / "trace.json") as written:
        shadow = machine.create("hello-world", name="hello", kind="shadow")
        runs = [shadow.start() for _ in range(20)]
        for run in runs:
            run.result(PATIENCE)
        until(lambda: not machine.enclaves[1:])
        kept = len(written._lives)
    assert kept == 1, "of ended enclaves it keeps nothing"
    trace = TraceFile(tmp_path / "trace.json")
    assert trace.states("1 hello (shadow)") == ["TEMPLATE"]
    assert all(trace.states(f"{run.eid} hello")[-1] == "EXITED" for run in runs)
    assert trace.host_calls()["run shadow"][-1].args == {"eid": 1}


def test_a_refused_call_is_shown_with_its_error(machine: penglai.Machine, tmp_path: Path):
    with machine.trace(tmp_path / "trace.json"):
        enclave = machine.create("loop")
        with pytest.raises(penglai.StateError):
            enclave.stop()
    trace = TraceFile(tmp_path / "trace.json")
    assert [call.args for call in trace.host_calls()["stop"]] == [{"error": -1, "eid": 1}]
    assert trace.states("1 loop") == ["FRESH"]


def test_a_trace_may_begin_and_end_in_the_middle(machine: penglai.Machine, tmp_path: Path):
    enclave = machine.create(eapp(SPIN), name="spin")
    enclave.start()
    for number in range(2):
        path = tmp_path / f"{number}.json"
        with machine.trace(path) as trace:
            turns = enclave.info().preemptions
            until(lambda turns=turns: enclave.info().preemptions > turns + 2)
            assert trace.open
        assert not trace.open
        found = TraceFile(path)
        assert set(found.states("1 spin")) == {"RUNNABLE", "RUNNING"}
        assert len(found.on_harts("1 spin")) >= 2
    size = path.stat().st_size
    enclave.destroy()
    trace.close()
    assert path.stat().st_size == size


def test_one_trace_at_a_time(machine: penglai.Machine, tmp_path: Path):
    with machine.trace(tmp_path / "one.json"):
        with pytest.raises(penglai.StateError, match="close it first"):
            machine.trace(tmp_path / "two.json")
        assert not (tmp_path / "two.json").exists()
    with machine.trace(tmp_path / "two.json"):
        pass
    assert TraceFile(tmp_path / "two.json").tracks.keys() == {("harts", "hart 0"), ("harts", "hart 1")}


def test_a_machine_that_is_switched_off_completes_its_trace(tmp_path: Path):
    with penglai.Machine("64M") as machine:
        trace = machine.trace(tmp_path / "trace.json")
        machine.create("loop").start()
    assert not trace.open
    assert TraceFile(tmp_path / "trace.json").states("1 loop")[-1] == "DESTROYED"
    with pytest.raises(penglai.MachineError, match="switched off"):
        machine.trace(tmp_path / "another.json")


def test_a_file_that_cannot_be_written(machine: penglai.Machine, tmp_path: Path):
    with pytest.raises(penglai.BadArgumentError, match=r"cannot write .*: Is a directory"):
        machine.trace(tmp_path)
    trace = machine.trace("/dev/full")
    assert machine.create("hello-world").run(PATIENCE).value == 0, "the enclave does not notice"
    with pytest.raises(penglai.StorageError, match="No space left"):
        trace.close()
    with pytest.raises(ZeroDivisionError), machine.trace("/dev/full"):
        raise ZeroDivisionError
    with pytest.raises(penglai.StorageError), machine.trace("/dev/full"):
        pass


def test_it_holds_no_more_than_a_buffer(machine: penglai.Machine, tmp_path: Path):
    body = "for (int i = 0; i < 3000; i++) eapp_ocall(OCALL_WRITE, 0);"
    with machine.trace(tmp_path / "trace.json") as written:
        machine.create(eapp(body), name="writes").run(PATIENCE)
        waiting = len(written._writer._waiting)
    assert written.events > 10_000
    assert waiting <= 65536 < (tmp_path / "trace.json").stat().st_size
    calls = TraceFile(tmp_path / "trace.json").track("enclave 1 writes", "calls")
    assert [call.name for call in calls] == ["ocall write"] * 3000


def test_calls_are_counted(machine: penglai.Machine):
    before = machine.create(eapp(""))
    assert (before.info().calls, before.info().server_calls, before.info().ocalls) == (0, 0, 0)
    before.run(PATIENCE)
    idle = before.info().calls
    body = """for (int i = 0; i < 10; i++) get_enclave_id();
    for (int i = 0; i < 3; i++) eapp_ocall(OCALL_WRITE, 0);"""
    enclave = machine.create(eapp(body))
    enclave.run(PATIENCE)
    info = enclave.info()
    assert (info.calls - idle, info.server_calls, info.ocalls) == (13, 0, 3)


def test_calls_of_servers_are_counted_where_they_are_made(machine: penglai.Machine):
    elf = compiled("ring-server")
    servers = [machine.create(elf, name=f"ring{n}", kind="server") for n in range(8)]
    caller = machine.create(compiled("ring-caller", "-DROUNDS=7UL", "-DPAGES=0"))
    assert caller.run(PATIENCE).value == 7 * 8
    made = [each.info().server_calls for each in (caller, *servers)]
    assert sum(made) == 7 * 8
    assert caller.info().server_calls == made[0] > 0


def test_a_trace_that_begins_inside_a_call_leaves_it_out(machine: penglai.Machine, tmp_path: Path):
    """The server waits in an ocall of its own until the trace has begun."""
    may_return, called = threading.Event(), threading.Event()

    def listener(eid: int, text: bytes) -> None:
        called.set()
        may_return.wait(PATIENCE)

    machine.create("server", name="test-server", kind="server")
    machine.create("server1", name="test-server1", kind="server")
    caller = machine.create("caller")
    machine.on_output = listener
    run = caller.start()
    assert called.wait(PATIENCE)
    with machine.trace(tmp_path / "trace.json"):
        may_return.set()
        run.result(PATIENCE)
    trace = TraceFile(tmp_path / "trace.json")
    assert trace.states("1 test-server (server)") == ["BUSY", "IDLE"]
    names = [call.name for call in trace.track("enclave 3 caller", "calls")]
    assert "call test-server" not in names
    assert "call test-server1" in names
    assert trace.states("3 caller")[0] == "OCALL"


def test_a_destroy_ends_the_calls_under_way(machine: penglai.Machine, tmp_path: Path):
    may_return, called = threading.Event(), threading.Event()

    def listener(eid: int, text: bytes) -> None:
        called.set()
        may_return.wait(PATIENCE)

    machine.on_output = listener
    with machine.trace(tmp_path / "trace.json"):
        enclave = machine.create("hello-world", name="hello")
        run = enclave.start()
        assert called.wait(PATIENCE)
        until(lambda: enclave.state is State.OCALL)
        enclave.destroy()
        run.result(PATIENCE)
        may_return.set()
    trace = TraceFile(tmp_path / "trace.json")
    assert trace.states("1 hello")[-2:] == ["OCALL", "DESTROYED"]
    assert [call.name for call in trace.track("enclave 1 hello", "calls")] == ["ocall write"]


def test_calls_that_no_driver_makes_pass_unharmed(raw: RawHost, tmp_path: Path):
    """Whatever number a host invents, the answer is the monitor's, and the trace stays sound."""
    moment = random.Random(5)
    ports = [raw.board.host_port(hart) for hart in raw.board.harts]
    eid = raw.make(EXIT)
    with penglai.Trace(tmp_path / "trace.json", raw.board, raw.monitor):
        assert raw.board.host_port().ecall(0x10, 3, 1) == (Status.NOT_SUPPORTED, 0)
        for _ in range(500):
            port = moment.choice([None, *ports])
            function = moment.choice([*HostCall, 0, 3, -1, 1 << 40])
            if function in LEAVE_NO_ROOM:
                continue
            values = [moment.choice([0, 1, 2, 3, eid, -1, 1 << 63]) for _ in range(moment.randrange(6))]
            raw.call(function, *values, port=port)
        raw.start(other := raw.make(EXIT))
        assert raw.enter(other, ports[1]) == (0, RunValue.ENDED)
    trace = TraceFile(tmp_path / "trace.json")
    assert trace.states(f"{other} raw")[-1] == "EXITED"
    assert trace.on_harts(f"{other} raw")[-1].args["left"] == "exited"


def test_viewers_show_numbers_that_mean_something(machine: penglai.Machine, tmp_path: Path):
    """Behind the name of a group, Perfetto shows its number: of an enclave it is the eid.  A track whose
    number is its group's it takes for a main thread."""
    with machine.trace(tmp_path / "trace.json"):
        machine.create("server", name="test-server", kind="server")
        machine.create("hello-world", name="hello").run(PATIENCE)
    events = TraceFile(tmp_path / "trace.json").events
    groups = {event["args"]["name"]: event["pid"] for event in events if event["name"] == "process_name"}
    assert groups == {
        "harts": 0,
        "host": 1_000_000_000,
        "enclave 1 test-server (server)": 1,
        "enclave 2 hello": 2,
    }
    tracks = [(event["pid"], event["tid"]) for event in events if event["name"] == "thread_name"]
    assert all(tid > 1000 and tid != pid for pid, tid in tracks)


@pytest.mark.parametrize("begin", [0, 999, 1_000_000_001, 3_600_000_000_007])
def test_times_are_exact_for_viewers_that_cut_and_for_those_that_add(tmp_path: Path, begin: int):
    writer = Writer(tmp_path / "trace.json")
    track = writer.track(writer.group("group", 1, 1), "track", "test")
    lengths = [random.Random(begin).randrange(1, 1 << 30) for _ in range(1000)]
    starts = list(itertools.accumulate(lengths, initial=begin))
    for start, end in itertools.pairwise(starts):
        writer.slice(track, "slice", start, end)
    writer.slice(track, "nothing", starts[-1], starts[-1])
    writer.close()
    *found, nothing = TraceFile(tmp_path / "trace.json").track("group", "track")
    assert [each.start for each in found] == starts[:-1]
    assert [each.end for each in found] == starts[1:]
    assert (nothing.start, nothing.end) == (starts[-1], starts[-1])
