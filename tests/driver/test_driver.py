"""The driver through its own door: system calls in, SBI calls out, and harts that it drives.

The enclaves are a few lines for the fake engine, so none of this waits for a compiler.
"""

from collections.abc import Iterator

import pytest
from tests.support.elffile import R, Segment, X, elf_file
from tests.support.fake import FakeEngine
from tests.support.rawhost import EXIT, FOREVER, call, name_at
from tests.support.waiting import PATIENCE, until

from penglai.abi.errors import ExistsError, MachineError, NoMemoryError, NoSuchEnclaveError, StateError
from penglai.abi.sbi import EnclaveType
from penglai.abi.state import State
from penglai.driver.disk import MemoryDisk
from penglai.driver.driver import Driver, Order
from penglai.driver.image import paged_image
from penglai.driver.task import Reason, Task
from penglai.machine import Board
from penglai.monitor import Monitor

STACK = 8192
FAULT = "li a0, 0\nsd a0, 0(a0)\n"


class Screen:
    """What enclaves write."""

    listener = None

    def __init__(self) -> None:
        self.written: list[bytes] = []

    def write(self, _eid: int, text: bytes) -> None:
        self.written.append(text)

    def ended(self) -> None:
        pass


class Bench:
    """A driver, the board below it, and the tasks that have ended."""

    def __init__(self, harts: int = 2) -> None:
        self.board = Board(16 << 20, harts, engine=FakeEngine())
        Monitor(self.board)
        self.driver = Driver(self.board.host_memory(), self.board.host_port(), Screen(), MemoryDisk())
        self.harts = harts
        self.ended: list[Task] = []
        self.board.power_on(self.driver.hart_main)

    def create(self, text: str, name: str = "", kind: EnclaveType = EnclaveType.NORMAL) -> Task:
        code = FakeEngine.assemble(text)
        image = elf_file([Segment(0x1000, len(code), code, R | X)])
        paged = paged_image(
            image, None if kind is EnclaveType.SHADOW else STACK, name or "test", self.driver.memory_pages
        )
        return self.driver.create(paged, Order(name, kind, STACK, self.ended.append))

    def state(self, task: Task) -> State:
        return self.driver.info(task).state

    def close(self) -> None:
        self.driver.close(self.harts)
        self.board.power_off()


@pytest.fixture
def bench() -> Iterator[Bench]:
    bench = Bench()
    yield bench
    bench.close()


def test_an_enclave_runs_to_its_end_and_gives_its_value(bench: Bench):
    task = bench.create("li a0, 7\n" + EXIT)
    assert bench.state(task) is State.FRESH
    result = bench.driver.run(task).result(PATIENCE)
    assert (result.reason, result.value) == (Reason.EXITED, 7)
    assert bench.ended == [task]
    assert bench.state(task) is State.EXITED, "what was known last is still told"


def test_a_fault_ends_it_and_says_where(bench: Bench):
    result = bench.driver.run(bench.create(FAULT)).result(PATIENCE)
    assert result.reason is Reason.FAULTED
    assert result.fault is not None
    assert result.fault.address == 0


def test_stop_resume_and_destroy(bench: Bench):
    driver, task = bench.driver, bench.create(FOREVER)
    run = driver.run(task)
    until(lambda: bench.state(task) is State.RUNNING)
    driver.stop(task)
    assert bench.state(task) is State.STOPPED
    before = driver.info(task).run_time
    assert driver.info(task).run_time == before
    driver.resume(task)
    until(lambda: bench.state(task) is State.RUNNING)
    driver.destroy(task)
    assert run.result(PATIENCE).reason is Reason.DESTROYED


def test_refusals_say_the_state_and_a_remedy(bench: Bench):
    driver, task = bench.driver, bench.create(FOREVER)
    for verb, remedy in (
        ("stop", "start it first"),
        ("resume", "only a stopped"),
        ("go_on", "no relay pages"),
    ):
        with pytest.raises(StateError, match=f"it is FRESH; .*{remedy}"):
            getattr(driver, verb)(task)
    server = bench.create(FOREVER, "server", EnclaveType.SERVER)
    with pytest.raises(StateError, match="only when an enclave calls it"):
        driver.run(server)
    driver.destroy(task)
    for verb in ("run", "stop", "resume", "destroy"):
        with pytest.raises(NoSuchEnclaveError, match="it is DESTROYED, and its id no longer exists"):
            getattr(driver, verb)(task)


def test_a_servers_name_is_taken_until_it_is_destroyed(bench: Bench):
    first = bench.create(FOREVER, "server", EnclaveType.SERVER)
    with pytest.raises(ExistsError, match="'server' already"):
        bench.create(FOREVER, "server", EnclaveType.SERVER)
    bench.driver.destroy(first)
    bench.create(FOREVER, "server", EnclaveType.SERVER)


def test_instances_of_a_shadow_end_one_by_one(bench: Bench):
    shadow = bench.create("li a0, 3\n" + EXIT, "shadow", EnclaveType.SHADOW)
    for _ in range(3):
        instance = bench.driver.instantiate(shadow)
        assert instance.run is not None
        bench.driver.launch(instance)
        assert instance.run.result(PATIENCE).value == 3
    with pytest.raises(StateError, match="a shadow only makes instances"):
        bench.driver.run(shadow)


def test_more_enclaves_than_harts_take_turns(bench: Bench):
    tasks = [bench.create(FOREVER) for _ in range(5)]
    for task in tasks:
        bench.driver.run(task)
    until(lambda: all(bench.driver.info(task).run_time > 0 for task in tasks))


def test_memory_comes_back_to_the_byte(bench: Bench):
    bench.driver.run(bench.create(EXIT)).result(PATIENCE)
    bench.driver.destroy(bench.create(EXIT))
    before = bench.driver.free_bytes
    for text in (EXIT, FAULT, EXIT):
        bench.driver.run(bench.create(text)).result(PATIENCE)
    until(lambda: bench.driver.free_bytes == before)


def test_memory_that_is_not_there_is_refused_and_nothing_is_lost(bench: Bench):
    made: list[Task] = []

    def create_all() -> None:
        while True:
            made.append(bench.create(FOREVER))

    with pytest.raises(NoMemoryError):
        create_all()
    for task in made:
        bench.driver.destroy(task)
    assert bench.driver.run(bench.create(EXIT)).result(PATIENCE).reason is Reason.EXITED


def test_an_enclave_that_asks_for_nothing_known_is_answered(bench: Bench):
    """The host's answer to an ocall is data; the enclave goes on whatever it is."""
    text = name_at(0x38_0000_0000 - 64, "nobody") + call(97, 0x38_0000_0000 - 64) + EXIT
    result = bench.driver.run(bench.create(text)).result(PATIENCE)
    assert result.reason is Reason.EXITED
    assert result.value == (1 << 64) - 1


def test_switched_off_it_makes_and_runs_nothing(bench: Bench):
    task = bench.create(FOREVER)
    run = bench.driver.run(task)
    bench.driver.close(bench.harts)
    assert run.result(PATIENCE).reason is Reason.DESTROYED
    with pytest.raises(MachineError, match="it is switched off"):
        bench.create(EXIT)
