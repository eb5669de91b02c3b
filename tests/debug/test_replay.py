"""What is recorded on one engine replays on each bit by bit, or says where it does not."""

import itertools
import random
import threading
from collections.abc import Callable
from pathlib import Path

import pytest
from tests.debug.test_stub import COUNT, SUM, address_of
from tests.support.bare import ENGINES
from tests.support.gdbclient import GdbClient
from tests.support.linuxprograms import linux_program
from tests.support.programs import compiled, eapp
from tests.support.waiting import PATIENCE, SOAK

import penglai
from penglai.abi.errors import BadArgumentError, RecordingError, StateError
from penglai.debug import recording
from penglai.debug.recording import Reader, Run
from penglai.machine import ManualClock

PAIRS = list(itertools.product(ENGINES, ENGINES))
RUNS = 1000 // len(PAIRS) if SOAK else 2

on_each_pair = pytest.mark.parametrize(("recorded", "replayed"), PAIRS, ids=map("-".join, PAIRS))


def record(path: Path, body: Callable[[penglai.Machine], object], engine: str | None = None) -> None:
    with (
        penglai.Machine("64M", harts=1, debug=True, engine=engine, state=None) as machine,
        machine.record(path),
    ):
        body(machine)


def servers(machine: penglai.Machine) -> None:
    machine.create("server", name="test-server", kind="server")
    machine.create("server1", name="test-server1", kind="server")


def replays(path: Path, engine: str) -> int:
    """How many runs there were."""
    done = penglai.replay(path, engine=engine)
    found = sum(isinstance(event, Run) for event in Reader(path))
    assert (done.runs > 0, done.digests > 0) == (True, True)
    assert done.runs == found
    return found


# ---- the same again --------------------------------------------------------------------------------


@on_each_pair
def test_demos_and_servers(recorded: str, replayed: str, tmp_path: Path):
    def body(machine: penglai.Machine) -> None:
        servers(machine)
        runs = [machine.create(demo).start() for demo in ("caller", "prime", "libc", "mem", "cxx")]
        assert {run.result(PATIENCE).reason for run in runs} == {penglai.Reason.EXITED}

    record(tmp_path / "run.rec", body, recorded)
    assert replays(tmp_path / "run.rec", replayed) > 100


@on_each_pair
def test_threads_of_a_linux_program(recorded: str, replayed: str, tmp_path: Path):
    image = penglai.pack(linux_program("threads.c"))
    record(tmp_path / "run.rec", lambda machine: machine.create(image).run(timeout=PATIENCE), recorded)
    assert replays(tmp_path / "run.rec", replayed) > 100


@on_each_pair
def test_instances_of_a_shadow_and_relay_pages(recorded: str, replayed: str, tmp_path: Path):
    def body(machine: penglai.Machine) -> None:
        shadow = machine.create("hello-world", kind="shadow")
        for _ in range(2):
            assert shadow.run(timeout=PATIENCE).value == 0
        relayed = machine.create("relay-page")
        pages = machine.relay_pages(8192)
        pages.write(b"\1" * 4096)
        assert relayed.run(relay=pages, timeout=PATIENCE).reason is penglai.Reason.RELAY
        relayed.continue_with().result(PATIENCE)

    record(tmp_path / "run.rec", body, recorded)
    replays(tmp_path / "run.rec", replayed)


@on_each_pair
@pytest.mark.soak
def test_random_programs_that_are_stopped_and_call_servers(recorded: str, replayed: str, tmp_path: Path):
    image = compiled("chances")
    chance = random.Random(recorded + replayed)
    for _ in range(RUNS):

        def body(machine: penglai.Machine) -> None:
            servers(machine)
            enclaves = [machine.create(image) for _ in range(2)]
            runs = [enclave.start() for enclave in enclaves]
            for _ in range(chance.randrange(12)):
                enclave = chance.choice(enclaves)
                try:
                    enclave.stop()
                    chance.choice(enclaves).info()
                    enclave.resume()
                except penglai.PenglaiError:
                    continue  # it has ended
            for run in runs:
                run.result(PATIENCE)

        record(tmp_path / "run.rec", body, recorded)
        replays(tmp_path / "run.rec", replayed)


RACE = """#include "eapp.h"
int EAPP_ENTRY main(void)
{
    eapp_shmget(77, 4096);
    volatile long *shared = eapp_shmat(77);
    for (long i = 0; i < 2000000; i++)
        shared[0] = shared[0] + 1;
    shared[1] = shared[1] + 1;
    while (shared[1] != 2)
        eapp_yield();
    EAPP_RETURN(shared[0]);
}
"""


@on_each_pair
def test_a_race_between_two_that_share_memory(recorded: str, replayed: str, tmp_path: Path):
    """Whatever updates were lost in it are lost again: the digests at the ends are of these pages too."""

    def body(machine: penglai.Machine) -> None:
        runs = [machine.create(compiled(RACE)).start() for _ in range(2)]
        sums = {run.result(PATIENCE).value for run in runs}
        assert len(sums) == 1
        assert max(sums) <= 4_000_000

    record(tmp_path / "run.rec", body, recorded)
    assert replays(tmp_path / "run.rec", replayed) > 4


HOSTS = """#include "eapp.h"
int EAPP_ENTRY main(void)
{
    volatile unsigned char *shared = (volatile unsigned char *)0x3900000000;
    unsigned long sum = 0;
    for (int round = 0; round < 3; round++) {
        for (int i = 0; i < 4096; i++)
            sum = sum * 31 + shared[i];
        shared[round] = (unsigned char)sum;
        eapp_return_relay_page();
    }
    EAPP_RETURN((long)(sum >> 1));
}
"""


@on_each_pair
def test_what_the_host_writes_to_memory_that_it_shares(recorded: str, replayed: str, tmp_path: Path):
    def body(machine: penglai.Machine) -> None:
        with machine.shared_memory(4096) as shared:
            enclave = machine.create(compiled(HOSTS), shm=shared)
            run = enclave.start()
            for number in range(3):
                assert run.result(PATIENCE).reason is penglai.Reason.RELAY
                shared[100 + number] = 7 * number + 1
                run = enclave.continue_with()
            assert run.result(PATIENCE).reason is penglai.Reason.EXITED

    record(tmp_path / "run.rec", body, recorded)
    replays(tmp_path / "run.rec", replayed)


@on_each_pair
def test_an_enclave_that_is_destroyed_wherever_it_is(recorded: str, replayed: str, tmp_path: Path):
    def body(machine: penglai.Machine) -> None:
        servers(machine)
        for demo in ("loop", "caller", "loop"):
            enclave = machine.create(demo)
            run = enclave.start()
            threading.Thread(target=enclave.stop).start() if demo == "loop" else None
            enclave.destroy() if demo == "loop" else None
            run.result(PATIENCE)

    record(tmp_path / "run.rec", body, recorded)
    replays(tmp_path / "run.rec", replayed)


def test_a_fault_is_there_again(tmp_path: Path):
    program = eapp("volatile long *p = (long *)8; *p = 1;")
    record(tmp_path / "run.rec", lambda machine: machine.create(program).run(timeout=PATIENCE))
    assert [event.tval for event in Reader(tmp_path / "run.rec") if isinstance(event, Run)][-1] == 8
    for engine in ENGINES:
        replays(tmp_path / "run.rec", engine)


@on_each_pair
def test_a_recording_begins_at_any_moment(recorded: str, replayed: str, tmp_path: Path):
    with penglai.Machine("64M", harts=1, debug=True, engine=recorded, state=None) as machine:
        enclave = machine.create("loop")
        enclave.start()
        enclave.stop()
        for name in ("first", "second"):
            with machine.record(tmp_path / name):
                enclave.resume()
                machine.create("hello-world").run(timeout=PATIENCE)
                enclave.stop()
    for name in ("first", "second"):
        replays(tmp_path / name, replayed)


@on_each_pair
def test_what_gdb_did_meanwhile_is_recorded_too(recorded: str, replayed: str, tmp_path: Path):
    image = compiled(COUNT)
    add, counter = address_of(image, "add"), address_of(image, "counter")

    def body(machine: penglai.Machine) -> None:
        enclave = machine.create(image)
        with machine.debug(enclave) as session:
            run = enclave.start()
            with GdbClient(session.address) as gdb:
                assert gdb.ask(f"Z0,{add:x},2") == "OK"
                for value in (5, 6):
                    assert gdb.ask("c") == "T05thread:1;"
                    assert gdb.ask(f"P0a={value:02x}00000000000000") == "OK"
                    for _ in range(3):
                        assert gdb.ask("s") == "T05thread:1;"
                assert gdb.ask(f"M{counter:x},1:40") == "OK"
                assert gdb.ask(f"z0,{add:x},2") == "OK"
                assert gdb.ask("c").startswith("W")
            assert run.result(PATIENCE).value != SUM

    record(tmp_path / "run.rec", body, recorded)
    replays(tmp_path / "run.rec", replayed)


# ---- what differs is found -------------------------------------------------------------------------


def change(path: Path, what: Callable[[recording.Event], recording.Event | None]) -> Path:
    """Write a recording once more, with some events changed or left out."""
    reader = Reader(path)
    changed = path.with_suffix(".changed")
    writer = recording.Writer(changed, reader.memory, without_floats=reader.without_floats)
    for event in reader:
        if (now := what(event)) is not None:
            writer.add(now)
    writer.close()
    return changed


@pytest.fixture(scope="module")
def prime(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("recordings") / "run.rec"
    record(path, lambda machine: machine.create("prime").run(timeout=PATIENCE))
    return path


@pytest.mark.parametrize("engine", ENGINES)
def test_another_input_is_found_where_it_matters(prime: Path, engine: str):
    def other_result(event: recording.Event) -> recording.Event:
        if not isinstance(event, Run):
            return event
        changes = tuple((index, value ^ 1 if index == 10 else value) for index, value in event.changes)
        return event._replace(changes=changes)

    with pytest.raises(RecordingError, match=r"run \d+ of enclave 1 prime: .*(not with|are not what)"):
        penglai.replay(change(prime, other_result), engine=engine)


@pytest.mark.parametrize("engine", ENGINES)
def test_a_page_that_is_missing_is_found(prime: Path, engine: str):
    seen: list[recording.Page] = []

    def without_text(event: recording.Event) -> recording.Event | None:
        if isinstance(event, recording.Page):
            seen.append(event)
            if len(seen) == 8:
                return None
        return event

    with pytest.raises(RecordingError, match="of enclave 1 prime"):
        penglai.replay(change(prime, without_text), engine=engine)


# ---- what cannot be recorded is refused ------------------------------------------------------------


def test_machines_that_cannot_be_recorded_say_why(tmp_path: Path):
    with penglai.Machine("64M", harts=1) as machine, pytest.raises(StateError, match="debug=True"):
        machine.record(tmp_path / "run.rec")
    with (
        penglai.Machine("64M", harts=2, debug=True) as machine,
        pytest.raises(RecordingError, match="harts=1"),
    ):
        machine.record(tmp_path / "run.rec")
    assert not list(tmp_path.iterdir())
    with penglai.Machine("64M", harts=1, debug=True) as machine:
        with pytest.raises(BadArgumentError, match="No such file or directory"):
            machine.record(tmp_path / "no" / "run.rec")
        with machine.record(tmp_path / "run.rec") as first, pytest.raises(StateError, match="being recorded"):
            machine.record(tmp_path / "other.rec")
        assert not first.open
        machine.record(tmp_path / "other.rec")
    replay_of_nothing = penglai.replay(tmp_path / "other.rec")
    assert (replay_of_nothing.enclaves, replay_of_nothing.runs) == (0, 0)


def test_without_a_recording_nothing_stands_in_the_way():
    with penglai.Machine("64M", harts=1, debug=True, clock=ManualClock()) as machine:
        memory = machine._board.memory
        assert "write" not in vars(memory)
