"""Servers and shadows through the public door: many calls, many instances, stops at any moment."""

import random

import pytest
from tests.support.programs import compiled, eapp
from tests.support.waiting import PATIENCE, SOAK, until

import penglai
from penglai import Reason, State
from penglai.monitor.invariants import check

RINGS = 1250
"""Rounds through the ring: 10,000 calls of servers, 8 in each round."""
INSTANCES = 200


def make_ring(machine: penglai.Machine) -> list[penglai.Enclave]:
    elf = compiled("ring-server")
    return [machine.create(elf, name=f"ring{n}", kind="server") for n in range(8)]


def ring_caller(rounds: int, pages: int = 3) -> str:
    return str(compiled("ring-caller", f"-DROUNDS={rounds}UL", f"-DPAGES={pages}"))


def let_run(enclave: penglai.Enclave, ns: int) -> None:
    """Until it has run for so long on a hart."""
    end = enclave.info().run_time + ns
    until(lambda: enclave.info().run_time > end)


def test_a_ring_of_eight_servers_loses_nothing(machine: penglai.Machine):
    servers = make_ring(machine)
    check(machine._monitor)
    ownership = machine._monitor.platform.ownership
    machine.create(ring_caller(2)).run(PATIENCE)
    before = ownership.snapshot().tobytes(), [server.info().pages for server in servers]
    assert machine.create(ring_caller(RINGS)).run(PATIENCE) == penglai.Result(Reason.EXITED, RINGS * 8)
    after = ownership.snapshot().tobytes(), [server.info().pages for server in servers]
    assert after == before
    check(machine._monitor)


@pytest.mark.soak
def test_a_ring_that_is_stopped_resumed_and_destroyed_at_random(machine: penglai.Machine):
    """At every stop one owner has each page, wherever in the ring it is; the host's relay pages come home."""
    servers = make_ring(machine)
    ownership = machine._monitor.platform.ownership
    chance = random.Random(7)
    endless, bounded = ring_caller(1 << 40), ring_caller(20)
    relay = machine.relay_pages(3 * 4096)
    tables = None
    depths = set()
    for turn in range(200 if SOAK else 40):
        use_relay = turn % 2 == 0
        caller = machine.create(endless)
        run = caller.start(relay=relay if use_relay else None)
        for _ in range(chance.randrange(1, 6)):
            spin = chance.randrange(3_000_000)
            let_run(caller, spin)
            caller.stop()
            check(machine._monitor)
            depths.add(sum(server.state is State.BUSY for server in servers))
            caller.resume()
        caller.destroy()
        assert run.result(PATIENCE).reason is Reason.DESTROYED
        assert [server.state for server in servers] == [State.IDLE] * 8
        check(machine._monitor)
        assert relay.read() == bytes(3 * 4096)
        owned = (ownership.snapshot() > 0).sum()
        tables = tables or owned
        assert owned == tables, "no page has stayed behind in a server"
    assert machine.create(bounded).run(PATIENCE).value == 160
    assert len(depths) > 3, f"the stops have to come at different depths, they came at {depths}"


def test_two_callers_share_the_ring(machine: penglai.Machine):
    make_ring(machine)
    runs = [machine.create(ring_caller(30, pages)).start() for pages in (1, 5, 9)]
    assert [run.result(PATIENCE).value for run in runs] == [240, 240, 240]
    check(machine._monitor)


COUNTER = """
static unsigned long counter = 1000;
static unsigned long zeros[2000];
counter += get_enclave_id();
for (int i = 0; i < 2000; i++)
    zeros[i] += counter;
for (int i = 0; i < 50; i++) {
    EAPP_YIELD();
    counter += zeros[i] - zeros[1999 - i];
}
EAPP_RETURN(counter - get_enclave_id());
"""


def test_two_hundred_instances_of_one_shadow(machine: penglai.Machine):
    shadow = machine.create(eapp(COUNTER), kind="shadow")
    before = machine._monitor.platform.ownership.snapshot()
    runs = [shadow.start() for _ in range(INSTANCES // 2)]
    template = shadow.measurement
    runs += [shadow.start() for _ in range(INSTANCES // 2)]
    assert len({run.eid for run in runs}) == INSTANCES
    shadow.destroy()
    with pytest.raises(penglai.NoSuchEnclaveError):
        shadow.start()
    assert {run.result(PATIENCE) for run in runs} == {penglai.Result(Reason.EXITED, 1000)}
    assert {run.enclave.measurement for run in runs} == {template}
    check(machine._monitor)
    after = machine._monitor.platform.ownership.snapshot()
    assert (before > 0).sum() > 0
    assert (after > 0).sum() == 0


def test_an_instance_is_stopped_resumed_and_destroyed_like_any_enclave(machine: penglai.Machine):
    shadow = machine.create("loop", kind="shadow")
    run = shadow.start()
    instance = run.enclave
    until(lambda: instance.info().run_time > 0)
    instance.stop()
    assert instance.state is State.STOPPED
    instance.attest(9).verify(measurement=shadow.measurement, nonce=9, device_key=machine.device_key)
    instance.resume()
    instance.destroy()
    assert run.result(PATIENCE).reason is Reason.DESTROYED
    assert shadow.state is State.TEMPLATE


def test_a_server_whose_callers_process_ends(machine: penglai.Machine):
    server = machine.create(eapp("for (;;) ;"), name="stuck", kind="server")
    body = 'struct call_enclave_arg_t a = {0}; EAPP_RETURN(call_enclave(acquire_enclave("stuck"), &a));'
    with machine.program() as program:
        run = program.create(eapp(body)).start()
        until(lambda: server.state is State.BUSY)
        with pytest.raises(penglai.StateError, match="BUSY"):
            server.destroy()
    assert run.result(PATIENCE).reason is Reason.DESTROYED
    assert server.state is State.IDLE
    server.destroy()


CALL_STUCK = 'struct call_enclave_arg_t a = {0}; EAPP_RETURN(call_enclave(acquire_enclave("stuck"), &a));'


def test_a_process_ends_with_its_servers_also_those_that_it_calls_itself(machine: penglai.Machine):
    before = machine._monitor.platform.ownership.snapshot()
    with machine.program() as program:
        server = program.create(eapp("for (;;) ;"), name="stuck", kind="server")
        program.create(eapp(CALL_STUCK)).start()
        until(lambda: server.state is State.BUSY)
    assert server.state is State.DESTROYED
    machine.create("hello-world", name="stuck", kind="server").destroy()
    after = machine._monitor.platform.ownership.snapshot()
    assert (after > 0).sum() == (before > 0).sum() == 0


def test_a_server_that_others_call_goes_when_they_are_done(machine: penglai.Machine):
    with machine.program() as program:
        server = program.create(eapp("for (;;) ;"), name="stuck", kind="server")
        caller = machine.create(eapp(CALL_STUCK))
        run = caller.start()
        until(lambda: server.state is State.BUSY)
    assert server.state is State.BUSY
    caller.destroy()
    assert run.result(PATIENCE).reason is Reason.DESTROYED
    until(lambda: server.state is State.DESTROYED)
    machine.create("hello-world", name="stuck", kind="server")
    check(machine._monitor)


def test_the_text_of_a_server_is_its_callers(machine: penglai.Machine):
    seen: list[tuple[int, bytes]] = []
    machine.on_output = lambda eid, text: seen.append((eid, text))
    machine.create(eapp('eapp_print("from the server\\n"); SERVER_RETURN(0);'), name="s", kind="server")
    body = 'struct call_enclave_arg_t a = {0}; EAPP_RETURN(call_enclave(acquire_enclave("s"), &a));'
    caller = machine.create(eapp(body))
    assert caller.run(PATIENCE).value == (1 << 64) - 1, "a null answer is refused, and the server exits"
    assert seen == [(caller.eid, b"from the server\n")]


def test_a_name_is_one_servers_and_belongs_to_the_machine(machine: penglai.Machine):
    elf = eapp("EAPP_RETURN(0);")
    machine.create(elf, name="one", kind="server")
    with machine.program() as other, pytest.raises(penglai.ExistsError, match="'one'"):
        other.create(elf, name="one", kind="server")
    with pytest.raises(penglai.BadArgumentError, match="name"):
        machine.create(elf.read_bytes(), kind="server")
    with pytest.raises(penglai.BadArgumentError, match="kind"):
        machine.create(elf, kind="daemon")
