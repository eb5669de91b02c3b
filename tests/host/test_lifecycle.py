"""The life-cycle table through the public API: every call in every state, in this process and its threads."""

import itertools
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import pytest
from tests.support.programs import eapp
from tests.support.waiting import PATIENCE, until

import penglai
from penglai import Reason, State
from penglai.abi.riscv import CHUNK_SIZE
from penglai.monitor.invariants import check

WORKING = (State.RUNNING, State.RUNNABLE)
BUSY_LOOP = 'for (;;) __asm__ volatile("");'
TALKER = 'eapp_print("hello"); for (;;) __asm__ volatile("");'


@dataclass
class Scene:
    """A machine whose on_output blocks until `gate` opens, so that an enclave can be held in an ocall."""

    machine: penglai.Machine
    gate: threading.Event = field(default_factory=threading.Event)

    def bring(self, state: str) -> penglai.Enclave:
        """An enclave in that state."""
        text = {"OCALL": TALKER, "EXITED": "", "STOPPED in OCALL": TALKER}.get(state, BUSY_LOOP)
        enclave = self.machine.create(eapp(text))
        if state == "FRESH":
            return enclave
        run = enclave.start()
        if state == "EXITED":
            run.result(PATIENCE)
        elif "OCALL" in state:
            until(lambda: enclave.state is State.OCALL)
        elif state == "RUNNING":
            until(lambda: enclave.state is State.RUNNING)
        elif state == "RUNNABLE":
            for _ in range(2):  # more enclaves than harts: this one waits for its turn now and then
                self.machine.create(eapp(BUSY_LOOP)).start()
            until(lambda: enclave.state is State.RUNNABLE)
        if "STOPPED" in state:
            enclave.stop()
        if state == "DESTROYED":
            enclave.destroy()
        return enclave


@pytest.fixture
def scene() -> Iterator[Scene]:
    with penglai.Machine("32M", harts=2) as machine:
        scene = Scene(machine)
        machine.on_output = lambda *_: scene.gate.wait(PATIENCE)
        yield scene
        scene.gate.set()


REFUSED, GONE = penglai.StateError, penglai.NoSuchEnclaveError
STATES = ("FRESH", "RUNNING", "RUNNABLE", "OCALL", "STOPPED", "STOPPED in OCALL", "EXITED", "DESTROYED")
CALLS: dict[str, Callable[[penglai.Enclave], object]] = {
    "run": penglai.Enclave.start,
    "stop": penglai.Enclave.stop,
    "resume": penglai.Enclave.resume,
    "destroy": penglai.Enclave.destroy,
}
ALLOWED = {
    ("run", "FRESH"): WORKING,
    ("stop", "RUNNING"): (State.STOPPED,),
    ("stop", "RUNNABLE"): (State.STOPPED,),
    ("stop", "OCALL"): (State.STOPPED,),
    ("stop", "STOPPED"): (State.STOPPED,),
    ("stop", "STOPPED in OCALL"): (State.STOPPED,),
    ("resume", "STOPPED"): WORKING,
    ("resume", "STOPPED in OCALL"): (State.OCALL,),
    **{("destroy", state): (State.DESTROYED,) for state in STATES if state not in ("EXITED", "DESTROYED")},
}


@pytest.mark.parametrize(("call", "state"), [*itertools.product(CALLS, STATES)])
def test_every_call_in_every_state(scene: Scene, call: str, state: str):
    enclave = scene.bring(state)
    run = enclave._task.run
    allowed = ALLOWED.get((call, state))
    if allowed:
        CALLS[call](enclave)
        assert enclave.state in allowed
    else:
        ended = state in ("EXITED", "DESTROYED")
        before = enclave.state
        with pytest.raises(GONE if ended else REFUSED):
            CALLS[call](enclave)
        assert enclave.state in (WORKING if before in WORKING else (before,)), "an error changes nothing"
    if call == "destroy" and allowed and run is not None:
        assert run.result(PATIENCE).reason is Reason.DESTROYED
    elif enclave.state not in (State.EXITED, State.DESTROYED):
        enclave.destroy()
    assert scene.machine.create(eapp("EAPP_RETURN(1);")).run(PATIENCE).value == 1, "the machine goes on"


def test_stop_resume_destroy_of_unknown_ids(scene: Scene):
    for eid in (0, 99, -1, 1 << 40):
        with pytest.raises(GONE):
            scene.machine.enclave(eid)


class TestMeaning:
    """Points 1 to 9 of the specification."""

    def test_1_a_stopped_enclave_executes_nothing(self, scene: Scene):
        """The enclave counts in the page that the host can see."""
        enclave = scene.machine.create(eapp("for (;;) ++*(volatile unsigned long *)EAPP_KERNEL_BUFFER;"))
        memory, buffer = scene.machine._driver._memory, enclave._task.kernel_buffer
        enclave.start()
        for _ in range(100):
            before = memory.read(buffer, 8)
            until(lambda before=before: memory.read(buffer, 8) != before)
            enclave.stop()
            stopped = memory.read(buffer, 8)
            run_time = enclave.info().run_time
            for _ in range(50):
                assert memory.read(buffer, 8) == stopped
            assert enclave.info().run_time == run_time
            enclave.resume()

    def test_1_an_enclave_blocked_in_an_ocall_stops_at_once_and_keeps_its_result(self, scene: Scene):
        enclave = scene.machine.create(eapp('EAPP_RETURN(eapp_print("hello") + 100);'))
        run = enclave.start()
        until(lambda: enclave.state is State.OCALL)
        enclave.stop()
        scene.gate.set()
        until(lambda: not enclave._task.in_callback)
        assert enclave.state is State.STOPPED
        assert not run.done()
        enclave.resume()
        assert run.result(PATIENCE).value == 105

    def test_5_the_run_lasts_over_stop_and_resume(self, scene: Scene):
        enclave = scene.machine.create(eapp("for (volatile int i = 0; i < 3000000; i++); EAPP_RETURN(9);"))
        run = enclave.start()
        enclave.stop()
        assert not run.done()
        with pytest.raises(penglai.WaitTimeoutError):
            run.result(0)
        enclave.resume()
        assert run.result(PATIENCE) == penglai.Result(Reason.EXITED, 9)

    def test_4_destroy_gives_everything_back_in_every_state(self, scene: Scene):
        driver = scene.machine._driver
        free = driver.free_bytes - CHUNK_SIZE  # the first create gives one chunk to the monitor
        scene.machine.create(eapp("")).destroy()
        before = owners(scene.machine)
        for state in STATES[:6]:
            if state == "RUNNABLE":
                continue  # brings enclaves of its own along
            scene.bring(state).destroy()
            assert owners(scene.machine) == before, state
            scene.gate.set()
            until(lambda: driver.free_bytes == free)
            scene.gate.clear()

    def test_9_errors_leave_everything_as_it_was(self, scene: Scene):
        enclave = scene.bring("STOPPED")
        before, info = owners(scene.machine), enclave.info()
        for call in (
            enclave.start,
            lambda: scene.machine.create("no such thing"),
            lambda: scene.machine.create("loop", stack_size=0),
            lambda: scene.machine.create("loop", stack_size=1 << 33),
            lambda: scene.machine.create("loop", name="much too long a name"),
        ):
            with pytest.raises(penglai.PenglaiError):
                call()
        assert owners(scene.machine) == before
        assert enclave.info() == info


def owners(machine: penglai.Machine) -> tuple[bytes, int]:
    """Owner of every page, and the free pages; the invariants hold."""
    check(machine._monitor)
    ownership = machine._monitor.platform.ownership
    return ownership.snapshot().tobytes(), ownership.free_pages


class TestFailuresOfTheOriginal:
    """What failed on the measured original system, by name: each is right here, and the machine goes on."""

    @pytest.fixture(autouse=True)
    def goes_on(self, scene: Scene) -> Iterator[None]:
        yield
        assert scene.machine.create(eapp("EAPP_RETURN(1);")).run(PATIENCE).value == 1

    @pytest.mark.parametrize("state", ["FRESH", "EXITED", "DESTROYED"])
    def test_after_a_refused_stop_the_next_monitor_call_returns(self, scene: Scene, state: str):
        enclave = scene.bring(state)
        for _ in range(3):
            with pytest.raises(penglai.PenglaiError):
                enclave.stop()
            assert scene.machine.create("hello-world").state is State.FRESH

    @pytest.mark.parametrize("state", ["FRESH", "RUNNING"])
    def test_a_wrong_resume_breaks_nothing(self, scene: Scene, state: str):
        enclave = scene.bring(state)
        with pytest.raises(REFUSED):
            enclave.resume()

    def test_resume_twice_breaks_nothing(self, scene: Scene):
        enclave = scene.bring("STOPPED")
        enclave.resume()
        with pytest.raises(REFUSED):
            enclave.resume()

    def test_running_an_enclave_twice_breaks_nothing(self, scene: Scene):
        for state in ("RUNNING", "STOPPED", "OCALL"):
            with pytest.raises(REFUSED):
                scene.bring(state).start()

    def test_destroying_a_running_or_an_exited_enclave_breaks_nothing(self, scene: Scene):
        scene.bring("RUNNING").destroy()
        with pytest.raises(GONE):
            scene.bring("EXITED").destroy()

    def test_a_destroyed_enclave_returns_no_value(self, scene: Scene):
        enclave = scene.bring("RUNNING")
        run = enclave._task.run
        enclave.destroy()
        assert run is not None
        assert run.result(PATIENCE).value is None

    def test_the_441st_create_succeeds(self):
        """There each create took 2 MiB for ever; here 1000 in 16 MiB leave no trace."""
        with penglai.Machine("16M", 1) as machine:
            for _ in range(1000):
                machine.create("hello-world").destroy()
