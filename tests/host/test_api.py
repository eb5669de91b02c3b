"""The Python API as its users have it."""

import gc
import threading
import warnings
from pathlib import Path

import pytest
from tests.support.programs import compiled, eapp
from tests.support.waiting import PATIENCE, until

import penglai
from penglai import Reason, Result, State
from penglai.abi.riscv import Cause
from penglai.sdk.build import build_demo, demo_source


def test_the_example_of_the_readme():
    with penglai.Machine(memory="256M", harts=2) as machine:
        enclave = machine.create("loop")
        run = enclave.start()
        enclave.stop()
        enclave.resume()
        enclave.destroy()
        result = run.result(timeout=PATIENCE)
    assert result == Result(reason=Reason.DESTROYED, value=None)


def test_a_run_to_the_end(machine: penglai.Machine):
    enclave = machine.create("hello-world")
    assert enclave.state is State.FRESH
    assert enclave.run(PATIENCE) == Result(Reason.EXITED, 0)
    assert enclave.state is State.EXITED
    assert machine.console.getvalue() == b"hello world!\n"
    assert machine.console.text == str(machine.console) == "hello world!\n"
    assert "hello" in machine.console
    assert b"nothing" not in machine.console


@pytest.mark.parametrize("kind", [str, Path, Path.read_bytes, lambda path: bytearray(path.read_bytes())])
def test_an_image_is_a_path_or_bytes(machine: penglai.Machine, kind):
    path = eapp("EAPP_RETURN(7);")
    assert machine.create(kind(path)).run(PATIENCE).value == 7


def test_every_demo_has_the_result_it_promises(machine: penglai.Machine):
    assert {"caller", "float", "hello-world", "libc", "loop", "prime", "server"} < set(penglai.demos())
    assert machine.create("prime").run(PATIENCE).value == 78498
    first, second = (machine.create("float").run(PATIENCE) for _ in range(2))
    assert first == second
    assert first.value not in (0, None)
    loop = machine.create("loop")
    loop.start()
    machine.console.wait_for("round 1", PATIENCE)
    loop.destroy()
    for name in ("test-server=server", "test-server1=server1"):
        machine.create(name.partition("=")[2], name=name.partition("=")[0], kind="server")
    for name in ("caller", "cxx", "libc", "mem", "zigzag"):
        assert machine.create(name).run(PATIENCE).reason is Reason.EXITED, name
    pages = machine.relay_pages(4096)
    assert machine.create("relay-page").run(PATIENCE, relay=pages).reason is Reason.RELAY


def test_a_file_of_the_directory_comes_before_a_demo(machine: penglai.Machine, tmp_path, monkeypatch):
    (tmp_path / "loop").write_bytes(eapp("EAPP_RETURN(5);").read_bytes())
    monkeypatch.chdir(tmp_path)
    assert machine.create("loop").run(PATIENCE).value == 5


def test_names(machine: penglai.Machine):
    data = build_demo("hello-world")
    assert machine.create(data).name == "hello-world"
    assert machine.create(data.read_bytes()).name == ""
    assert machine.create(data, name="fifteen-letters").name == "fifteen-letters"
    same = machine.create(data, name="fifteen-letters")
    assert same.run(PATIENCE).reason is Reason.EXITED, "names of normal enclaves need not be unique"
    for name in ("sixteen--letters", "é" * 8, "a\0b"):
        with pytest.raises(penglai.BadArgumentError, match="name"):
            machine.create(data, name=name)


def test_info(machine: penglai.Machine):
    enclave = machine.create("loop", stack_size=16384)
    info = enclave.info()
    assert (info.state, info.run_time, info.stops, info.preemptions) == (State.FRESH, 0, 0, 0)
    assert len(info.measurement) == 32
    assert info.measurement == machine.create("loop", stack_size=16384).measurement
    assert info.measurement != machine.create("loop").measurement
    assert machine.create("loop").info().pages == info.pages + 12
    enclave.start()
    until(lambda: enclave.info().run_time > 0)
    enclave.stop()
    stopped = enclave.info()
    assert (stopped.state, stopped.stops) == (State.STOPPED, 1)
    assert enclave.info() == stopped, "nothing moves"
    enclave.resume()
    until(
        lambda: (
            enclave.info().run_time > stopped.run_time and enclave.info().preemptions > stopped.preemptions
        )
    )
    enclave.destroy()
    last = enclave.info()
    assert last.state is State.DESTROYED
    assert last.run_time > stopped.run_time
    assert last.measurement == info.measurement


def test_the_final_account_of_an_enclave_that_exited(machine: penglai.Machine):
    enclave = machine.create("prime")
    enclave.run(PATIENCE)
    info = enclave.info()
    assert info.state is State.EXITED
    assert info.run_time > 0
    assert info.pages > 245 - 10, "the heap is counted"


def test_reprs_can_be_read(machine: penglai.Machine):
    enclave = machine.create("loop")
    assert repr(enclave) == f"<Enclave {enclave.eid} FRESH 'loop' {enclave.info().pages} pages>"
    run = enclave.start()
    assert repr(run) == f"<Run of enclave {enclave.eid} 'loop': under way>"
    assert repr(machine) == "<Machine on 64 MiB 1 enclaves>"
    enclave.destroy()
    run.result(PATIENCE)
    assert repr(run) == f"<Run of enclave {enclave.eid} 'loop': DESTROYED>"
    assert "DESTROYED" in repr(enclave)


def test_a_fault_is_a_reason_of_its_own(machine: penglai.Machine):
    result = machine.create(eapp("*(volatile int *)0x123000 = 1;")).run(PATIENCE)
    assert result.reason is Reason.FAULTED
    assert result.value is None
    assert result.fault == penglai.Fault(Cause.STORE_PAGE_FAULT, 0x123000)
    assert str(result.fault) == "store page fault at 0x123000"


def test_run_with_a_timeout_leaves_the_enclave_alive(machine: penglai.Machine):
    enclave = machine.create("loop")
    with pytest.raises(penglai.WaitTimeoutError, match="still alive") as error:
        enclave.run(timeout=0.01)
    assert isinstance(error.value, TimeoutError)
    assert enclave.state in (State.RUNNING, State.RUNNABLE, State.OCALL)
    enclave.destroy()
    assert enclave.wait(PATIENCE).reason is Reason.DESTROYED


def test_waiting_for_what_was_never_started(machine: penglai.Machine):
    with pytest.raises(penglai.StateError, match="not started"):
        machine.create("loop").wait()


class TestErrors:
    def test_they_say_what_what_state_and_what_to_do(self, machine: penglai.Machine):
        enclave = machine.create("loop")
        label = f"enclave {enclave.eid} 'loop'"
        with pytest.raises(penglai.StateError, match=f"cannot stop {label}: it is FRESH; start it first"):
            enclave.stop()
        with pytest.raises(penglai.StateError, match=r"cannot resume .*FRESH; only a stopped enclave"):
            enclave.resume()
        enclave.start()
        with pytest.raises(penglai.StateError, match=r"cannot run .*; an enclave runs once"):
            enclave.start()
        enclave.destroy()
        for call in (enclave.stop, enclave.resume, enclave.destroy, enclave.start):
            with pytest.raises(
                penglai.NoSuchEnclaveError, match="it is DESTROYED, and its id no longer exists"
            ):
                call()

    @pytest.mark.parametrize(
        ("image", "message"),
        [
            ("no-such-file", "no such file: no-such-file .and no demo of that name; there are caller"),
            ("/", "cannot read /: Is a directory"),
            ("/proc/self/mem", "cannot read /proc/self/mem"),
            (__file__, "is not an ELF file; compile it with: penglai build"),
            (b"", "the image is not an ELF"),
            ("/bin/sh", "is an ELF for x64 .64 bit., not for 64-bit RISC-V"),
            (7, "7 is no image"),
            (None, "None is no image"),
        ],
        ids=repr,
    )
    def test_an_image_that_is_none(self, machine: penglai.Machine, image: object, message: str):
        with pytest.raises(penglai.ImageError, match=message):
            machine.create(image)  # type: ignore[arg-type]
        assert machine.enclaves == []

    @pytest.mark.parametrize("stack_size", [0, -1, 1 << 40, 1 << 70])
    def test_a_stack_that_cannot_be(self, machine: penglai.Machine, stack_size: int):
        with pytest.raises(penglai.BadArgumentError, match="a stack of"):
            machine.create("loop", stack_size=stack_size)

    @pytest.mark.parametrize("stack_size", [64 << 20, 1 << 34])
    def test_too_big_for_the_machine(self, machine: penglai.Machine, stack_size: int):
        free = machine._driver.free_bytes
        for _ in range(3):
            with pytest.raises(penglai.NoMemoryError, match="more memory"):
                machine.create("loop", stack_size=stack_size)
        assert machine._driver.free_bytes == free, "nothing was given away for nothing"
        assert machine.create("hello-world").run(PATIENCE).value == 0

    def test_they_are_pythons_own_kinds_too(self):
        assert issubclass(penglai.NoMemoryError, MemoryError)
        assert issubclass(penglai.ImageError, ValueError)
        assert issubclass(penglai.NoSuchEnclaveError, LookupError)

    @pytest.mark.parametrize("kwargs", [{"memory": "3M"}, {"memory": 0}, {"memory": "lots"}, {"harts": 0}])
    def test_a_machine_that_cannot_be(self, kwargs):
        with pytest.raises(penglai.BadArgumentError):
            penglai.Machine(**kwargs)


class TestMachine:
    def test_two_in_one_process(self):
        with penglai.Machine("16M", 1) as one, penglai.Machine("16M", 1) as two:
            first, second = one.create("loop"), two.create("prime")
            run = first.start()
            assert second.run(PATIENCE).value == 78498
            one.close()
            assert run.result(PATIENCE).reason is Reason.DESTROYED

    def test_closing_destroys_what_is_left(self):
        machine = penglai.Machine("16M", 1)
        enclaves = [machine.create("loop") for _ in range(4)]
        runs = [enclave.start() for enclave in enclaves[:3]]
        enclaves[1].stop()
        machine.close()
        machine.close()
        assert [run.result(PATIENCE).reason for run in runs] == [Reason.DESTROYED] * 3
        assert repr(machine) == "<Machine off 16 MiB 0 enclaves>"
        for call in (lambda: machine.create("loop"), enclaves[0].stop, enclaves[3].start):
            with pytest.raises(penglai.MachineError):
                call()

    def test_a_forgotten_machine_is_switched_off_with_a_warning(self):
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            machine = penglai.Machine("16M", 1)
            machine.create("loop").start()
            threads = [thread for thread in threading.enumerate() if thread.name == "penglai-hart-0"]
            del machine
            gc.collect()
        assert [warning.category for warning in caught] == [ResourceWarning]
        for thread in threads:
            thread.join(PATIENCE)
            assert not thread.is_alive()

    def test_enclaves_by_id(self, machine: penglai.Machine):
        one, two = machine.create("loop"), machine.create("prime")
        assert [enclave.eid for enclave in machine.enclaves] == [one.eid, two.eid]
        assert machine.enclave(two.eid).run(PATIENCE).value == 78498
        with pytest.raises(penglai.NoSuchEnclaveError):
            machine.enclave(two.eid)
        assert [enclave.eid for enclave in machine.enclaves] == [one.eid]


class TestProcesses:
    """Only the process that created an enclave may act on it; for others there is none."""

    def test_another_process_has_no_such_enclave(self, machine: penglai.Machine):
        other = machine.program()
        mine, theirs = machine.create("loop"), other.create("loop")
        with pytest.raises(penglai.NoSuchEnclaveError, match="this host process has no enclave"):
            other.enclave(mine.eid)
        with pytest.raises(penglai.NoSuchEnclaveError):
            machine.enclave(theirs.eid)
        assert other.enclave(theirs.eid).state is State.FRESH

    def test_the_end_of_a_process_is_the_end_of_its_enclaves(self, machine: penglai.Machine):
        mine = machine.create("loop")
        with machine.program() as other:
            run = other.create("loop").start()
            other.create("loop")
        assert run.result(PATIENCE).reason is Reason.DESTROYED
        assert mine.state is State.FRESH
        with pytest.raises(penglai.MachineError, match="closed"):
            other.create("loop")


class TestOutput:
    def test_a_callback_gets_every_write_with_its_writer(self):
        seen: list[tuple[int, bytes]] = []
        with penglai.Machine("16M", on_output=lambda eid, text: seen.append((eid, text))) as machine:
            first, second = machine.create("hello-world"), machine.create("prime")
            first.run(PATIENCE)
            second.run(PATIENCE)
            assert seen == [
                (first.eid, b"hello world!\n"),
                (second.eid, b"prime: 78498 primes below 1000000\n"),
            ], "all of it has come when run returns"
            assert machine.console.text.startswith("hello")

    def test_an_enclave_waits_for_its_callback_and_others_do_not(self):
        gate = threading.Event()
        with penglai.Machine("16M", 1, on_output=lambda *_: gate.wait(PATIENCE)) as machine:
            waiting, quiet = machine.create("hello-world"), machine.create(eapp("EAPP_RETURN(3);"))
            run = waiting.start()
            until(lambda: waiting.state is State.OCALL)
            assert quiet.run(PATIENCE).value == 3
            assert not run.done()
            gate.set()
            assert run.result(PATIENCE).value == 0

    def test_a_callback_may_stop_resume_and_destroy(self):
        def on_output(eid: int, text: bytes) -> None:
            enclave = machine.enclave(eid)
            if text == b"one\n":
                enclave.stop()
                enclave.resume()
            else:
                enclave.destroy()

        with penglai.Machine("16M", 1) as machine:
            machine.on_output = on_output
            program = eapp('eapp_print("one\\n"); eapp_print("two\\n"); eapp_print("three\\n");')
            assert machine.create(program).run(PATIENCE).reason is Reason.DESTROYED
            assert machine.console.text == "one\ntwo\n"

    def test_a_callback_that_raises_harms_nobody(self, caplog):
        def on_output(_eid: int, _text: bytes) -> None:
            raise ValueError("in the callback")

        with penglai.Machine("16M", 1, on_output=on_output) as machine:
            assert machine.create("hello-world").run(PATIENCE).value == 0
        assert "in the callback" in caplog.text

    def test_a_chatterbox_cannot_fill_the_hosts_memory(self):
        line = "x" * 4000
        program = compiled(
            '#include "eapp.h"\n#include "print.h"\n#include "ocall.h"\n'
            f'int EAPP_ENTRY main(void) {{ eapp_print("{line}");'
            "for (int i = 0; i < 5000; i++) { EAPP_KERNEL_BUFFER[0] = 'x'; eapp_ocall(OCALL_WRITE, 0); }"
            "EAPP_RETURN(0); }\n"
        )
        with penglai.Machine("16M", 1) as machine:
            machine.create(program).run(PATIENCE)
            assert machine.console.dropped > 0
            assert len(machine.console.getvalue()) <= 16 << 20

    def test_waiting_for_text(self, machine: penglai.Machine):
        with pytest.raises(penglai.WaitTimeoutError, match="was not written"):
            machine.console.wait_for("hello", timeout=0.001)
        machine.create("hello-world").start()
        machine.console.wait_for("hello", PATIENCE)
        assert machine.console.read() == b"hello world!\n"
        assert machine.console.read() == b""
        machine.create("hello-world").run(PATIENCE)
        assert machine.console.read() == b"hello world!\n"
        assert machine.console.getvalue() == b"hello world!\n" * 2
        machine.console.clear()
        assert machine.console.getvalue() == machine.console.read() == b""


def test_the_sources_of_the_demos_are_shipped():
    assert all(demo_source(name).is_file() for name in penglai.demos())
