"""What happens when something inside fails, when memory runs out, when the user presses Ctrl-C."""

import os
import signal
import subprocess
import sys
import threading
from contextlib import suppress
from pathlib import Path

import pytest
from tests.support.programs import eapp
from tests.support.waiting import PATIENCE, until

import penglai
from penglai import Reason
from penglai.driver.shield import Shield
from penglai.monitor.invariants import check


class TestMemory:
    def test_a_heap_larger_than_the_pool_gets_memory_of_the_host(self):
        program = eapp(
            "char *heap = sbrk(0); if (sbrk(10 << 20) == (void *)-1) EAPP_RETURN(1);"
            "for (long i = 0; i < 10 << 20; i += 4096) { if (heap[i]) EAPP_RETURN(2); heap[i] = 1; }"
            "EAPP_RETURN(3);"
        )
        with penglai.Machine("32M", 1) as machine:
            assert machine.create(program).run(PATIENCE).value == 3
            check(machine._monitor)

    def test_an_enclave_that_wants_all_there_is_gets_minus_one_and_harms_nobody(self):
        program = eapp("long n = 0; while (sbrk(1 << 20) != (void *)-1) n++; EAPP_RETURN(n);")
        with penglai.Machine("32M", 2) as machine:
            greedy, other = machine.create(program), machine.create("prime")
            runs = [greedy.start(), other.start()]
            assert 20 < runs[0].result(PATIENCE).value < 32
            assert runs[1].result(PATIENCE).value == 78498
            assert machine.create(program).run(PATIENCE).value > 20, "all of it came back"
            check(machine._monitor)

    def test_creating_until_memory_is_full_and_again_after_destroying(self):
        with penglai.Machine("16M", 1) as machine:
            counts = []
            for _ in range(2):
                enclaves: list[penglai.Enclave] = []
                with suppress(penglai.NoMemoryError):
                    while len(enclaves) < 100:
                        enclaves.append(machine.create("loop", stack_size=1 << 20))
                counts.append(len(enclaves))
                for enclave in enclaves:
                    enclave.destroy()
                check(machine._monitor)
            assert 100 > counts[0] == counts[1] > 8


class TestCtrlC:
    def test_it_waits_for_the_end_of_a_system_call(self):
        steps = []

        def interrupted() -> None:
            with Shield():
                signal.raise_signal(signal.SIGINT)
                steps.append("after the signal")

        with pytest.raises(KeyboardInterrupt):
            interrupted()
        assert steps == ["after the signal"]
        assert signal.getsignal(signal.SIGINT) is signal.default_int_handler

    def test_shields_may_be_nested(self):
        steps = []

        def interrupted() -> None:
            with Shield():
                with Shield():
                    signal.raise_signal(signal.SIGINT)
                    steps.append("inner")
                steps.append("outer")

        with pytest.raises(KeyboardInterrupt):
            interrupted()
        assert steps == ["inner", "outer"]

    def test_without_a_handler_of_python_nothing_changes(self):
        before = signal.signal(signal.SIGINT, signal.SIG_IGN)
        try:
            with Shield():
                assert signal.getsignal(signal.SIGINT) is signal.SIG_IGN
        finally:
            signal.signal(signal.SIGINT, before)

    def test_other_threads_need_no_shield(self):
        seen = []

        def body() -> None:
            with Shield():
                seen.append(signal.getsignal(signal.SIGINT))

        thread = threading.Thread(target=body)
        thread.start()
        thread.join(PATIENCE)
        assert seen == [signal.default_int_handler]

    def test_at_any_moment_it_leaves_a_sound_machine(self):
        """A process is interrupted hundreds of times in the middle of everything."""
        script = Path(__file__).with_name("interrupted.py")
        done = subprocess.run(
            [sys.executable, script], capture_output=True, text=True, timeout=PATIENCE, check=False
        )
        assert done.returncode == 0, done.stderr
        interrupts, creates = map(int, done.stdout.split())
        assert interrupts >= 100
        assert creates > 50, "it gets something done between them, however busy the machine is"


class TestBugs:
    """An invariant broken inside the monitor stops the machine loudly; nobody waits for ever."""

    @pytest.fixture
    def broken(self, monkeypatch: pytest.MonkeyPatch):
        with penglai.Machine("16M", 2) as machine:
            run = machine.create("loop").start()
            stopped = machine.create("loop")
            stopped_run = stopped.start()
            stopped.stop()
            monkeypatch.setattr(machine._monitor.platform.ownership, "take", lambda *_: 1 // 0)
            with pytest.raises(
                penglai.MonitorBug, match="create failed inside the monitor: ZeroDivisionError"
            ):
                machine.create("loop")
            yield machine, run, stopped_run

    def test_it_is_said_at_every_later_call(self, broken):
        machine, *_ = broken
        for call in (lambda: machine.create("loop"), machine.enclaves[0].stop, machine.enclaves[0].info):
            with pytest.raises(penglai.PenglaiError, match="ZeroDivisionError"):
                call()

    def test_runs_end_with_the_error(self, broken):
        machine, *runs = broken
        for run in runs:
            with pytest.raises(penglai.MonitorBug):
                run.result(PATIENCE)
        with pytest.raises(penglai.MachineError, match="out of use"):
            machine.create("loop")


def test_an_engine_that_gives_up_stops_the_machine(monkeypatch: pytest.MonkeyPatch, caplog):
    with penglai.Machine("16M", 1) as machine:
        hart = machine._board.harts[0]

        def give_up(*_args: object, **_kwargs: object) -> None:
            raise penglai.MachineError("hart 0: Unicorn gave up with error 99")

        monkeypatch.setattr(hart, "execute", give_up)
        run = machine.create("loop").start()
        with pytest.raises(penglai.MonitorBug, match="Unicorn gave up"):
            run.result(PATIENCE)
        assert "the machine is stopped" in caplog.text


def test_a_fork_cannot_use_the_machine(machine: penglai.Machine):
    enclave = machine.create("loop")
    child = os.fork()
    if child == 0:
        try:
            enclave.stop()
        except penglai.MachineError:
            os._exit(7)
        finally:
            os._exit(1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 7
    assert enclave.start().done() is False
    enclave.destroy()


def test_callbacks_outlive_their_machine_quietly(caplog):
    gate = threading.Event()
    machine = penglai.Machine("16M", 1, on_output=lambda *_: gate.wait(PATIENCE))
    run = machine.create("hello-world").start()
    until(lambda: bool(machine.console.getvalue()))
    machine.close()
    assert run.result(PATIENCE).reason is Reason.DESTROYED
    gate.set()
    for thread in threading.enumerate():
        if thread.name == "penglai-output":
            thread.join(PATIENCE)
    assert caplog.text == ""


def test_a_stack_that_is_too_small_is_called_so(machine: penglai.Machine):
    body = "volatile char big[60000]; big[args[10]] = 1; EAPP_RETURN(big[args[11]]);"
    result = machine.create(eapp(body), stack_size=16384).run(PATIENCE)
    assert result.reason is penglai.Reason.FAULTED
    assert "below the stack" in str(result.fault)
