"""The stub, as a gdb sees it that the test plays: it stops exactly, and changes nothing else."""

import random
import socket
import threading
import xml.etree.ElementTree as ET
from pathlib import Path

import pytest
from elftools.elf.elffile import ELFFile
from tests.support.gdbclient import GdbClient
from tests.support.programs import compiled, eapp
from tests.support.waiting import PATIENCE, until

import penglai
from penglai import Reason, State
from penglai.abi import layout
from penglai.attestation.report import DEBUG_MARK

A0, SP, PC, FT0, FFLAGS, FRM, FCSR = 10, 2, 32, 33, 65, 66, 67

COUNT = """#include "eapp.h"
#include "print.h"
volatile long counter;
__attribute__((noinline)) long add(long n)
{
    counter += n;
    return counter;
}
int EAPP_ENTRY main(void)
{
    long sum = 0;
    for (int i = 1; i <= 10; i++)
        sum += add(i);
    eapp_print("sum %ld\\n", sum);
    EAPP_RETURN(sum);
}
"""
SUM = 220

SPIN = """#include "eapp.h"
volatile unsigned long turns;
int EAPP_ENTRY main(void)
{
    for (;;)
        turns++;
}
"""


def address_of(image: Path, name: str) -> int:
    with image.open("rb") as file:
        (symbol,) = ELFFile(file).get_section_by_name(".symtab").get_symbol_by_name(name)
        return int(symbol["st_value"])


def start(machine: penglai.Machine, image: Path) -> tuple[penglai.DebugSession, penglai.Run]:
    enclave = machine.create(image)
    session = machine.debug(enclave)
    return session, enclave.start()


def test_it_is_halted_at_the_entry_and_runs_to_its_end(debuggable: penglai.Machine):
    image = compiled(COUNT)
    session, run = start(debuggable, image)
    with session, GdbClient(session.address) as gdb:
        assert gdb.ask("?") == f"T05thread:{run.eid:x};"
        assert gdb.pc == address_of(image, "_start")
        assert gdb.register(SP) == layout.STACK_TOP
        assert not run.done()
        assert gdb.ask("vCont;c") == f"W{SUM:02x}"
        assert run.result(PATIENCE).value == SUM
        assert session.wait(PATIENCE)


def test_a_breakpoint_is_reached_each_time_and_is_in_no_memory(debuggable: penglai.Machine):
    image = compiled(COUNT)
    add, counter = address_of(image, "add"), address_of(image, "counter")
    session, run = start(debuggable, image)
    with session, GdbClient(session.address) as gdb:
        before = gdb.memory(add, 16)
        assert gdb.ask(f"Z0,{add:x},2") == "OK"
        for turn in range(1, 11):
            assert gdb.ask("vCont;c").startswith("T05")
            assert (gdb.pc, gdb.register(A0)) == (add, turn)
            assert int.from_bytes(gdb.memory(counter, 8), "little") == sum(range(turn))
            assert gdb.memory(add, 16) == before
        assert gdb.ask("c") == f"W{SUM:02x}"
    assert run.result(PATIENCE).value == SUM


def test_steps_lead_through_every_instruction_and_to_the_same_end(debuggable: penglai.Machine):
    """From main on by steps alone: as often in add as it is called, and the values are the same."""
    image = compiled(COUNT)
    main, add = address_of(image, "main"), address_of(image, "add")
    session, run = start(debuggable, image)
    with session, GdbClient(session.address) as gdb:
        gdb.ask(f"Z0,{main:x},2")
        assert gdb.ask("c").startswith("T05")
        gdb.ask(f"z0,{main:x},2")
        seen = [gdb.pc]
        while seen.count(add) < 10:
            assert gdb.ask("vCont;s:-1").startswith("T05")
            seen.append(gdb.pc)
            assert seen[-1] != seen[-2]
        assert gdb.register(A0) == 10
        assert gdb.ask("c") == f"W{SUM:02x}"
    assert len(seen) > 60
    assert run.result(PATIENCE).value == SUM


def test_a_step_over_a_call_of_the_monitor_ends_behind_it(debuggable: penglai.Machine):
    image = eapp("long id = get_enclave_id(); EAPP_RETURN(id);", "-O1")
    session, run = start(debuggable, image)
    with session, GdbClient(session.address) as gdb:
        ecall = b"\x73\x00\x00\x00"
        main = address_of(image, "main")
        gdb.ask(f"Z0,{main:x},2")
        gdb.ask("c")
        for _ in range(1000):
            pc = gdb.pc
            if gdb.memory(pc, 4) == ecall:
                break
            gdb.ask("s")
        assert gdb.ask("s").startswith("T05")
        assert gdb.pc == pc + 4
        assert gdb.register(A0) == run.eid
        assert gdb.ask("c").startswith("W")


def test_load_reserved_and_store_conditional_are_one_step(debuggable: penglai.Machine):
    """Stopping between them would make the second fail for ever."""
    body = (
        "static long word; long done = 0, old, failed;"
        "for (int i = 0; i < 3; i++) __asm__ volatile("
        '"1: lr.d %0, (%2)\\naddi %0, %0, 1\\nsc.d %1, %0, (%2)\\nbnez %1, 1b"'
        ': "=&r"(old), "=&r"(failed) : "r"(&word) : "memory");'
        "done = word; EAPP_RETURN(done);"
    )
    image = eapp(body)
    session, run = start(debuggable, image)
    with session, GdbClient(session.address) as gdb:
        gdb.ask(f"Z0,{address_of(image, 'main'):x},2")
        gdb.ask("c")
        for _ in range(60):
            gdb.ask("s")
        assert gdb.ask("c") == "W03"
    assert run.result(PATIENCE).value == 3


def test_a_jump_to_itself_is_a_step(debuggable: penglai.Machine):
    image = eapp('__asm__ volatile("1: j 1b");')
    session, _ = start(debuggable, image)
    with session, GdbClient(session.address) as gdb:
        gdb.ask(f"Z0,{address_of(image, 'main'):x},2")
        gdb.ask("c")
        pcs = []
        while len(pcs) < 3 or pcs[-1] != pcs[-2]:
            assert gdb.ask("s").startswith("T05")
            pcs.append(gdb.pc)
        assert gdb.ask("s").startswith("T05")
        assert gdb.pc == pcs[-1]


def test_ctrl_c_stops_it_wherever_it_is(debuggable: penglai.Machine):
    image = compiled(SPIN)
    turns = address_of(image, "turns")
    session, run = start(debuggable, image)
    with session, GdbClient(session.address) as gdb:
        counted = 0
        for _ in range(5):
            gdb.send("vCont;c")
            gdb.interrupt()
            assert gdb.receive().startswith(b"T02")
            now = int.from_bytes(gdb.memory(turns, 8), "little")
            assert now >= counted
            assert int.from_bytes(gdb.memory(turns, 8), "little") == now, "it does not run"
            counted = now
        run.enclave.destroy()
    assert run.result(PATIENCE).reason is Reason.DESTROYED


def test_a_ctrl_c_that_crosses_a_stop_is_not_lost(debuggable: penglai.Machine):
    """gdb steps off a breakpoint by itself, and counts on an answer to what it sent meanwhile."""
    session, _ = start(debuggable, compiled(SPIN))
    with session, GdbClient(session.address) as gdb:
        assert gdb.ask("s").startswith("T05")
        gdb.interrupt()
        pc = gdb.pc
        assert gdb.ask("c").startswith("T02")
        assert gdb.pc == pc
        assert gdb.ask("s").startswith("T05")


def test_stop_resume_and_destroy_work_on_what_is_halted(debuggable: penglai.Machine):
    session, run = start(debuggable, compiled(SPIN))
    with session, GdbClient(session.address) as gdb:
        gdb.send("c")
        until(lambda: run.enclave.info().run_time > 0)
        gdb.interrupt()
        gdb.receive()
        pc = gdb.pc
        run.enclave.stop()
        assert run.enclave.state is State.STOPPED
        assert gdb.pc == pc
        run.enclave.resume()
        assert gdb.ask("s").startswith("T05")
        gdb.send("c")
        run.enclave.destroy()
        assert gdb.receive() == b"X09"
    assert run.result(PATIENCE).reason is Reason.DESTROYED


COUNTERS = """#include "eapp.h"
long counter;
int EAPP_ENTRY main(void)
{
    __asm__ volatile(
        "li s0, 0\\n"
        "1: ld t0, 0(%0)\\naddi t0, t0, 1\\nsd t0, 0(%0)\\naddi s0, s0, 1\\nj 1b"
        : : "r"(&counter) : "s0", "t0", "memory");
    EAPP_RETURN(0);
}
"""
S0 = 8


def test_stops_from_both_sides_and_steps_lose_no_instruction(debuggable: penglai.Machine):
    """gdb and the host stop it at random: the counters in memory and in a register never differ by more than
    the one that is between them."""
    image = compiled(COUNTERS)
    counter = address_of(image, "counter")
    session, run = start(debuggable, image)
    over = threading.Event()
    stops: list[int] = []

    def stop_and_resume() -> None:
        while not over.is_set():
            run.enclave.stop()
            run.enclave.resume()
            stops.append(1)

    chance = random.Random(5)
    with session, GdbClient(session.address) as gdb:
        gdb.ask(f"Z0,{address_of(image, 'main'):x},2")
        gdb.ask("c")
        for _ in range(12):
            gdb.ask("s")
        host = threading.Thread(target=stop_and_resume)
        host.start()
        seen = []
        try:
            for _ in range(40):
                if chance.random() < 0.5:
                    gdb.send("c")
                    gdb.interrupt()
                    assert gdb.receive().startswith(b"T02")
                else:
                    assert gdb.ask("s").startswith("T0")
                in_memory, in_register = int.from_bytes(gdb.memory(counter, 8), "little"), gdb.register(S0)
                assert in_memory - in_register in (0, 1)
                seen.append(in_memory)
        finally:
            over.set()
            host.join()
        assert sorted(seen) == seen
        assert stops
        run.enclave.destroy()


@pytest.mark.parametrize(
    ("body", "signal"),
    [("*(volatile int *)8 = 1;", 11), ('__asm__ volatile("unimp");', 4), ('__asm__ volatile("ebreak");', 5)],
)
def test_a_fault_stops_before_it_has_its_consequences(debuggable: penglai.Machine, body: str, signal: int):
    session, run = start(debuggable, eapp(body))
    with session, GdbClient(session.address) as gdb:
        assert gdb.ask("c").startswith(f"T{signal:02x}")
        pc = gdb.pc
        assert gdb.ask("c").startswith(f"T{signal:02x}"), "without its signal it tries again"
        assert gdb.pc == pc
        assert not run.done()
        assert gdb.ask(f"vCont;C{signal:02x}") == "X0b"
    result = run.result(PATIENCE)
    assert result.reason is Reason.FAULTED
    assert result.fault is not None
    assert result.fault.backtrace[0].pc == pc


def test_what_was_wrong_can_be_mended(debuggable: penglai.Machine):
    """gdb changes a register, and the enclave goes on."""
    image = eapp("long *p = (long *)args[12]; EAPP_RETURN(*(volatile long *)p);")
    session, run = start(debuggable, image)
    with session, GdbClient(session.address) as gdb:
        assert gdb.ask("c").startswith("T0b")
        instruction = int.from_bytes(gdb.memory(gdb.pc, 2), "little")
        base = 8 + (instruction >> 7 & 7)
        place = layout.STACK_TOP - 64
        assert gdb.ask(f"M{place:x},8:2a00000000000000") == "OK"
        assert gdb.ask(f"P{base:x}={place.to_bytes(8, 'little').hex()}") == "OK"
        assert gdb.ask("c") == "W2a"
    assert run.result(PATIENCE).value == 42


def test_registers_are_written_and_read_back(debuggable: penglai.Machine):
    session, _ = start(debuggable, compiled(SPIN))
    with session, GdbClient(session.address) as gdb:
        assert gdb.ask(f"P{FT0:x}=0102030405060708") == "OK"
        assert gdb.register(FT0) == 0x0807060504030201
        assert gdb.ask(f"P{FRM:x}=03000000") == gdb.ask(f"P{FFLAGS:x}=11000000") == "OK"
        assert gdb.register(FCSR) == 0x71
        assert gdb.ask("P0=ffffffffffffffff") == "OK"
        assert gdb.register(0) == 0
        whole = gdb.ask("g")
        assert gdb.ask("G" + whole) == "OK"
        assert gdb.ask("g") == whole
        assert gdb.ask("P1=00") == gdb.ask("P99=0000000000000000") == gdb.ask("G00") == "E01"


def test_memory_is_what_the_enclave_could_reach_and_code_is_not_written(debuggable: penglai.Machine):
    image = compiled(COUNT)
    counter, main = address_of(image, "counter"), address_of(image, "main")
    session, run = start(debuggable, image)
    with session, GdbClient(session.address) as gdb:
        assert gdb.ask(b"X%x,4:}\x03}\x04}\x5d\x01" % counter) == "OK"
        assert gdb.memory(counter, 4) == b"#$}\x01"
        assert gdb.ask(f"M{main:x},2:0000") == "E0e"
        assert gdb.ask("m0,4") == gdb.ask("mffffffffffffffff,10") == gdb.ask("m2000000000,1") == "E0e"
        assert len(gdb.memory(layout.STACK_TOP - 16, 64)) == 16, "as far as there is something"
        assert len(gdb.memory(layout.STACK_TOP - 65536, 1 << 40)) < 4096
        assert gdb.ask(f"M{layout.STACK_TOP - 1:x},2:0000") == "E0e"
        assert gdb.memory(layout.STACK_TOP - 1, 1) == b"\0"
        run.enclave.destroy()
        assert gdb.ask(f"m{main:x},2") in ("E02", "")


def test_watchpoints_are_refused_and_so_is_what_is_unknown(debuggable: penglai.Machine):
    session, _ = start(debuggable, compiled(SPIN))
    with session, GdbClient(session.address) as gdb:
        assert [gdb.ask(f"Z{kind},1000,4") for kind in (2, 3, 4)] == ["", "", ""]
        assert gdb.ask("vMustReplyEmpty") == gdb.ask("qnonsense") == gdb.ask("") == ""
        assert gdb.ask("qCRC:1000,4") == ""
        assert gdb.ask("c1000") == gdb.ask("C0") == gdb.ask("s 1") == "E01"
        assert gdb.ask("Z0,zz,2") == gdb.ask("m1") == gdb.ask("vCont;x") == "E01"


def test_the_description_of_the_target_is_sent_in_parts(debuggable: penglai.Machine):
    session, _ = start(debuggable, compiled(SPIN))
    with session, GdbClient(session.address) as gdb:
        text, answer = "", "m"
        while answer[0] == "m":
            answer = gdb.ask(f"qXfer:features:read:target.xml:{len(text):x},100")
            text += answer[1:]
        names = [reg.get("name") for reg in ET.fromstring(text).iter("reg")]
        assert (names[SP], names[PC], names[FT0], names[FCSR], len(names)) == ("sp", "pc", "ft0", "fcsr", 68)


def test_detached_it_runs_on_and_another_gdb_may_come(debuggable: penglai.Machine):
    image = compiled(SPIN)
    turns = address_of(image, "turns")
    session, run = start(debuggable, image)
    with session:
        with GdbClient(session.address) as gdb:
            main = address_of(image, "main")
            gdb.ask(f"Z0,{main:x},2")
            assert gdb.ask("c").startswith("T05")
            before = run.enclave.info().preemptions
            assert gdb.ask("D;1") == "OK"
        until(lambda: run.enclave.info().preemptions > before)
        with GdbClient(session.address) as gdb:
            assert gdb.ask("?").startswith("T")
            assert int.from_bytes(gdb.memory(turns, 8), "little") > 0
    before = run.enclave.info().preemptions
    until(lambda: run.enclave.info().preemptions > before)


def test_killed_it_is_destroyed(debuggable: penglai.Machine):
    session, run = start(debuggable, compiled(SPIN))
    with session, GdbClient(session.address) as gdb:
        assert gdb.ask("vKill;1") == "OK"
        assert run.result(PATIENCE).reason is Reason.DESTROYED


def test_of_several_enclaves_only_one_stops(debuggable: penglai.Machine):
    """Two of the same program, at the same addresses, on the same harts."""
    image = compiled(COUNT)
    other = debuggable.create(image)
    session, run = start(debuggable, image)
    with session, GdbClient(session.address) as gdb:
        gdb.ask(f"Z0,{address_of(image, 'add'):x},2")
        assert gdb.ask("c").startswith("T05")
        assert other.run(PATIENCE).value == SUM
        gdb.ask(f"z0,{address_of(image, 'add'):x},2")
        assert gdb.ask("c") == f"W{SUM:02x}"
    assert run.result(PATIENCE).value == SUM


def test_a_server_is_debugged_while_its_caller_waits(debuggable: penglai.Machine):
    server = debuggable.create("server1", name="test-server1", kind="server")
    debuggable.create("server", name="test-server", kind="server")
    caller = debuggable.create("caller")
    with debuggable.debug(server) as session, GdbClient(session.address) as gdb:
        entry = gdb.pc
        gdb.send("s")  # until somebody calls it
        run = caller.start()
        assert gdb.receive().startswith(b"T05")
        assert gdb.pc != entry
        assert not run.done()
        assert gdb.ask("D;1") == "OK"
    assert run.result(PATIENCE).reason is Reason.EXITED


def test_who_attaches_to_what_runs_finds_it_halted(debuggable: penglai.Machine):
    image = compiled(SPIN)
    turns = address_of(image, "turns")
    run = debuggable.create(image).start()
    until(lambda: run.enclave.info().preemptions > 0)
    with debuggable.debug(run.enclave) as session, GdbClient(session.address) as gdb:
        first = gdb.memory(turns, 8)
        assert int.from_bytes(first, "little") > 0
        assert gdb.memory(turns, 8) == first
        assert gdb.ask("s").startswith("T05")
        with pytest.raises(penglai.StateError, match="being debugged already"):
            debuggable.debug(run.enclave)
    run.enclave.destroy()
    with pytest.raises(penglai.NoSuchEnclaveError):
        debuggable.debug(run.enclave)


def test_it_is_on_this_machine_alone(debuggable: penglai.Machine, tmp_path: Path):
    session, run = start(debuggable, compiled(SPIN))
    with session:
        assert session.address.startswith("127.0.0.1:")
    place = tmp_path / "gdb"
    with debuggable.debug(run.enclave, place) as session:
        assert session.address == str(place)
        assert place.stat().st_mode & 0o777 == 0o600
        with GdbClient(session.address) as gdb:
            assert gdb.pc
    with pytest.raises(penglai.BadArgumentError, match="cannot be waited for"):
        debuggable.debug(run.enclave, place)
    with pytest.raises(penglai.BadArgumentError, match="cannot be waited for"):
        debuggable.debug(run.enclave, 1 << 20)


@pytest.mark.parametrize(
    "noise", [b"\0" * 5000, b"$" * 5000, b"$abc#00" * 100, b"$" + b"a" * 100000, b"+-\x03"]
)
def test_noise_harms_nobody(debuggable: penglai.Machine, noise: bytes):
    session, run = start(debuggable, compiled(COUNT))
    with session:
        host, _, port = session.address.partition(":")
        with socket.create_connection((host, int(port)), PATIENCE) as peer:
            done = threading.Thread(target=lambda: _send_all(peer, noise))
            done.start()
            done.join(PATIENCE)
        assert run.result(PATIENCE).value == SUM, "gdb went away, and it ran on"


def _send_all(peer: socket.socket, noise: bytes) -> None:
    try:
        peer.sendall(noise)
    except OSError:
        return


def test_a_machine_without_debug_refuses(machine: penglai.Machine):
    enclave = machine.create("hello-world")
    with pytest.raises(penglai.StateError, match="debug=True"):
        machine.debug(enclave)


def test_a_report_says_that_the_machine_can_be_debugged(
    debuggable: penglai.Machine, machine: penglai.Machine
):
    enclave = debuggable.create("hello-world")
    report, measurement = enclave.attest(7), enclave.measurement
    assert report.debuggable
    assert report.monitor_hash.startswith(DEBUG_MARK)
    plain = machine.create("hello-world").attest(7)
    assert not plain.debuggable
    assert plain.monitor_key != report.monitor_key
    expected = {"measurement": measurement, "nonce": 7, "device_key": debuggable.device_key}
    with pytest.raises(penglai.AttestationError, match="can be debugged"):
        report.verify(**expected, monitor_hash=plain.monitor_hash)
    report.verify(**expected, monitor_hash=plain.monitor_hash, allow_debug=True)
    plain.verify(**expected, allow_debug=True)
    mixed = plain.__class__(bytes(plain)[:160] + bytes(report)[160:])
    with pytest.raises(penglai.AttestationError, match="not signed by the monitor"):
        mixed.verify(**expected)


def test_the_measurement_is_the_same(debuggable: penglai.Machine):
    image = compiled(COUNT)
    session, run = start(debuggable, image)
    with session, GdbClient(session.address) as gdb:
        gdb.ask(f"Z0,{address_of(image, 'add'):x},2")
        gdb.ask("c")
        assert run.enclave.measurement == penglai.measure(image)
