"""Many threads, many enclaves: calls on one enclave are linearizable, and everyone gets a turn."""

import random
import threading
from collections.abc import Callable
from contextlib import suppress

import psutil
import pytest
from tests.support.programs import eapp
from tests.support.waiting import PATIENCE, until

import penglai
from penglai import Reason, State
from penglai.monitor.invariants import check

COUNTER = "for (;;) ++*(volatile unsigned long *)EAPP_KERNEL_BUFFER;"


def count(machine: penglai.Machine, enclave: penglai.Enclave) -> int:
    """What a COUNTER has counted, from the page that the host sees."""
    return int.from_bytes(machine._driver._memory.read(enclave._task.kernel_buffer, 8), "little")


def together(*bodies: Callable[[], None]) -> None:
    """Run each on a thread of its own; the first error of one is raised here."""
    errors: list[BaseException] = []

    def guarded(body: Callable[[], None]) -> None:
        try:
            body()
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=guarded, args=(body,)) for body in bodies]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(PATIENCE)
        assert not thread.is_alive(), "a deadlock"
    if errors:
        raise errors[0]


@pytest.mark.parametrize("harts", [1, 2])
def test_four_enclaves_all_make_progress(harts: int):
    with penglai.Machine("32M", harts) as machine:
        enclaves = [machine.create(eapp(COUNTER)) for _ in range(4)]
        for enclave in enclaves:
            enclave.start()
        for _ in range(3):
            before = [count(machine, enclave) for enclave in enclaves]
            until(
                lambda before=before: all(
                    count(machine, enclave) > seen for enclave, seen in zip(enclaves, before, strict=True)
                )
            )
        until(lambda: all(enclave.info().preemptions > 3 for enclave in enclaves))


def test_a_never_ending_enclave_keeps_no_other_from_running():
    with penglai.Machine("32M", 1) as machine:
        machine.create(eapp(COUNTER)).start()
        for _ in range(20):
            assert machine.create(eapp("EAPP_RETURN(4);")).run(PATIENCE).value == 4


def test_turns_are_fair():
    """Of 6 endless enclaves on 2 harts, none gets twice as many turns as another."""
    with penglai.Machine("32M", 2) as machine:
        enclaves = [machine.create(eapp(COUNTER)) for _ in range(6)]
        for enclave in enclaves:
            enclave.start()
        until(lambda: min(enclave.info().preemptions for enclave in enclaves) >= 10)
        for enclave in enclaves:
            enclave.stop()
        turns = [enclave.info().preemptions for enclave in enclaves]
        assert max(turns) < 2 * min(turns)


def test_more_than_16_enclaves_live_at_once():
    with penglai.Machine("64M", 2) as machine:
        runs = [machine.create("prime").start() for _ in range(40)]
        assert {run.result(PATIENCE).value for run in runs} == {78498}


@pytest.mark.parametrize("seed", range(3))
def test_stops_resumes_and_destroys_from_many_threads_at_once(seed: int):
    """Each call either does what the table says or is refused as the table says; in the end all is well."""
    with penglai.Machine("32M", 2) as machine:
        machine.create("hello-world").run(PATIENCE)
        check(machine._monitor)
        before = machine._monitor.platform.ownership.snapshot()
        for round_ in range(25):
            enclave = machine.create(eapp(COUNTER))
            run = enclave.start()
            outcomes: list[str] = []

            def storm(number: int, enclave=enclave, outcomes=outcomes, round_=round_) -> None:
                chance = random.Random(f"{seed} {round_} {number}")
                for _ in range(12):
                    call = chance.choice(
                        [enclave.stop, enclave.resume, enclave.stop, enclave.resume, enclave.info]
                    )
                    try:
                        call()
                        outcomes.append("ok")
                    except penglai.StateError:
                        assert call == enclave.resume, "of these only resume can be refused for the state"
                        outcomes.append("refused")

            together(*(lambda number=number: storm(number) for number in range(4)))
            assert len(outcomes) == 48
            if enclave.state is State.STOPPED:
                enclave.resume()
            seen = count(machine, enclave)
            until(lambda enclave=enclave, seen=seen: count(machine, enclave) > seen)
            enclave.destroy()
            assert run.result(PATIENCE).reason is Reason.DESTROYED
        check(machine._monitor)
        assert (machine._monitor.platform.ownership.snapshot() == before).all()


@pytest.mark.parametrize("program", ["EAPP_RETURN(5);", COUNTER, 'for (;;) eapp_print("x");'])
def test_exactly_one_of_many_destroys_succeeds(program: str):
    with penglai.Machine("32M", 2) as machine:
        for _ in range(40):
            enclave = machine.create(eapp(program))
            run = enclave.start()
            winners = []

            def destroy(enclave=enclave, winners=winners) -> None:
                try:
                    enclave.destroy()
                    winners.append(1)
                except penglai.NoSuchEnclaveError:
                    pass

            together(*[destroy] * 4)
            result = run.result(PATIENCE)
            assert len(winners) == (result.reason is Reason.DESTROYED)
            assert result.value == (None if winners else 5)
            assert enclave.state is (State.DESTROYED if winners else State.EXITED)


def test_only_one_start_succeeds():
    with penglai.Machine("32M", 2) as machine:
        for _ in range(20):
            enclave = machine.create(eapp("EAPP_RETURN(6);"))
            runs = []

            def start(enclave=enclave, runs=runs) -> None:
                with suppress(penglai.StateError, penglai.NoSuchEnclaveError):
                    runs.append(enclave.start())

            together(*[start] * 4)
            assert [run.result(PATIENCE).value for run in runs] == [6]


def test_creates_and_runs_from_many_threads():
    with penglai.Machine("64M", 2) as machine:

        def worker() -> None:
            for _ in range(15):
                assert machine.create("hello-world").run(PATIENCE).value == 0

        together(*[worker] * 6)
        assert machine.console.text == "hello world!\n" * 90
        check(machine._monitor)


def test_closing_the_machine_under_everything():
    """Whatever is under way ends with a result or with an error of ours."""
    for _ in range(10):
        machine = penglai.Machine("32M", 2)
        started = threading.Barrier(5)

        def worker(machine=machine, started=started) -> None:
            started.wait(PATIENCE)
            try:
                for _ in range(100):
                    enclave = machine.create(eapp(COUNTER))
                    run = enclave.start()
                    enclave.stop()
                    enclave.resume()
                    enclave.destroy()
                    assert run.result(PATIENCE).reason is Reason.DESTROYED
            except (penglai.MachineError, penglai.NoSuchEnclaveError):
                pass

        def closer(machine=machine, started=started) -> None:
            started.wait(PATIENCE)
            machine.close()

        together(*[worker] * 4, closer)


def test_a_thousand_lives_leave_no_trace():
    """Free pages, every page's owner and the process's memory are as at the start."""
    process = psutil.Process()
    with penglai.Machine("64M", 2) as machine:
        image = eapp('void *top = sbrk(65536); *(long *)(top - 8) = 1; eapp_print("x\\n");')

        def live() -> None:
            enclave = machine.create(image)
            if enclave.eid % 3:
                assert enclave.run(PATIENCE).value == 0
            else:
                run = enclave.start()
                enclave.destroy() if enclave.eid % 2 else run.result(PATIENCE)
            machine.console.clear()

        for _ in range(100):  # whatever grows once has grown
            live_or_exited(live)
        check(machine._monitor)
        ownership = machine._monitor.platform.ownership
        before, free, resident = ownership.snapshot(), ownership.free_pages, process.memory_info().rss
        for _ in range(1000):
            live_or_exited(live)
        until(lambda: not machine._driver._tasks)
        check(machine._monitor)
        assert (ownership.snapshot() == before).all()
        assert ownership.free_pages == free
        assert process.memory_info().rss - resident < 4 << 20
        assert machine.enclaves == []


def live_or_exited(live: Callable[[], None]) -> None:
    """An enclave that was faster than its destroy has ended just as well."""
    with suppress(penglai.NoSuchEnclaveError):
        live()
