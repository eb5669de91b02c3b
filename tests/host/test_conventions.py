"""The API goes by the conventions of Python: with, ==, futures, iterators, names, reprs."""

import asyncio
import concurrent.futures
import inspect
import pickle
import threading

import pytest
from tests.support.programs import eapp
from tests.support.waiting import PATIENCE

import penglai
from penglai import Reason, Result, State

LINES = """
for (int i = 0; i < 3; i++)
    eapp_print("line %d of %d\\n", i, (int)get_enclave_id());
eapp_print("no newline");
EAPP_RETURN(5);
"""
DONE = Result(Reason.EXITED, 5)


class TestHandles:
    def test_leaving_the_block_destroys_the_enclave(self, machine: penglai.Machine):
        with machine.create("loop") as enclave:
            run = enclave.start()
        assert enclave.state is State.DESTROYED
        assert run.result(PATIENCE).reason is Reason.DESTROYED

    def test_leaving_the_block_of_one_that_has_ended_does_nothing(self, machine: penglai.Machine):
        with machine.create(eapp(LINES)) as enclave:
            assert enclave.run(PATIENCE) == DONE
        assert enclave.state is State.EXITED

    def test_handles_of_one_enclave_are_equal(self, machine: penglai.Machine):
        first, second = machine.create("loop"), machine.create("loop")
        assert first == machine.enclave(first.eid) == first.start().enclave
        assert {first, machine.enclave(first.eid)} == {first}
        assert first != second
        assert first != first.eid
        with penglai.Machine("16M", 1) as other:
            assert other.create("loop") != first, "ids are a machine's own"

    def test_a_kind_is_of_the_public_type(self, machine: penglai.Machine):
        assert machine.create("server", kind=penglai.Kind.SERVER).kind is penglai.Kind.SERVER
        assert machine.create("loop", kind="shadow").kind == "shadow"


class TestRuns:
    def test_a_run_is_a_future(self, machine: penglai.Machine):
        runs = [machine.create(eapp(LINES)).start() for _ in range(4)]
        assert all(isinstance(run, concurrent.futures.Future) for run in runs)
        done = list(concurrent.futures.as_completed(runs, PATIENCE))
        assert {run.eid for run in done} == {run.eid for run in runs}
        assert {run.result() for run in runs} == {DONE}
        assert all(run.done() and run.exception() is None for run in runs)

    def test_cancelling_does_nothing(self, machine: penglai.Machine):
        run = machine.create("loop").start()
        assert not run.cancel()
        assert run.running()
        run.enclave.destroy()
        assert run.result(PATIENCE).reason is Reason.DESTROYED

    def test_functions_are_called_at_the_end(self, machine: penglai.Machine):
        told: list[Result] = []
        called = threading.Event()

        def tell(run: penglai.Run) -> None:
            told.append(run.result())
            called.set()

        machine.create(eapp(LINES)).start().add_done_callback(tell)
        assert called.wait(PATIENCE)
        assert told == [DONE]

    def test_a_function_that_raises_harms_nobody(self, machine: penglai.Machine, caplog):
        def fail(_run: penglai.Run) -> None:
            raise ZeroDivisionError

        called = threading.Event()
        run = machine.create(eapp(LINES)).start()
        run.add_done_callback(fail)
        run.add_done_callback(lambda _: called.set())
        assert run.result(PATIENCE) == DONE
        assert called.wait(PATIENCE)
        assert machine.create(eapp(LINES)).run(PATIENCE) == DONE
        assert "exception calling callback" in caplog.text

    def test_waiting_too_short(self, machine: penglai.Machine):
        run = machine.create("loop").start()
        for wait in (run.result, run.exception):
            with pytest.raises(penglai.WaitTimeoutError, match="it goes on"):
                wait(0)

    def test_the_last_run(self, machine: penglai.Machine):
        enclave = machine.create("loop")
        with pytest.raises(penglai.StateError, match="not started"):
            _ = enclave.last_run
        assert enclave.start() is enclave.last_run


class TestOutput:
    def test_lines_of_each_enclave(self, machine: penglai.Machine):
        runs = [machine.create(eapp(LINES)).start() for _ in range(5)]
        for run in runs:
            expected = [f"line {n} of {run.eid}" for n in range(3)] + ["no newline"]
            assert list(run.enclave.output) == expected
            assert run.enclave.output.text == "\n".join(expected)
            assert "no newline" in run.enclave.output
        total = sum(len(bytes(run.enclave.output)) for run in runs)
        assert total == len(machine.console.getvalue())

    def test_lines_come_while_it_runs(self, machine: penglai.Machine):
        enclave = machine.create(eapp('for (int i = 0;; i++) eapp_print("%d\\n", i);'))
        enclave.start()
        lines = iter(enclave.output)
        first = int(next(lines))
        assert [int(next(lines)) for _ in range(100)] == list(range(first + 1, first + 101))
        enclave.destroy()
        assert all(line.isdigit() for line in lines), "and it ends"

    def test_what_an_enclave_without_output_gives(self, machine: penglai.Machine):
        enclave = machine.create(eapp("EAPP_RETURN(0);"))
        enclave.run(PATIENCE)
        assert list(enclave.output) == []
        assert (enclave.output.text, bytes(enclave.output)) == ("", b"")

    def test_waiting_for_text_of_one(self, machine: penglai.Machine):
        one = machine.create(eapp('eapp_print("a secret wo"); eapp_print("rd\\n"); while (1) ;'))
        other = machine.create(eapp(LINES))
        one.start()
        one.output.wait_for("secret word", PATIENCE)
        other.run(PATIENCE)
        with pytest.raises(penglai.WaitTimeoutError, match="has ended"):
            other.output.wait_for("secret word", PATIENCE)
        with pytest.raises(penglai.WaitTimeoutError, match="within 0"):
            one.output.wait_for("never", 0)

    def test_it_is_bounded_as_the_console_is(self):
        limits = penglai.Limits(console="4K")
        with penglai.Machine("16M", 1, state=None, limits=limits) as machine:
            enclave = machine.create(
                eapp('for (int i = 0; i < 2000; i++) eapp_print("%04d\\n", i); EAPP_RETURN(0);')
            )
            enclave.run(PATIENCE)
            kept = enclave.output.getvalue()
            assert kept == machine.console.getvalue()
            assert len(kept) <= 4096
            assert kept.endswith(b"1999\n")

    def test_one_thread_calls_the_listener(self):
        threads = set()
        names = []

        def listen(_eid: int, text: bytes) -> None:
            threads.add(threading.get_ident())
            names.append(text)

        with penglai.Machine("16M", state=None, on_output=listen) as machine:
            for run in [machine.create(eapp(LINES)).start() for _ in range(3)]:
                run.result(PATIENCE)
        assert len(threads) == 1
        assert len(names) == 12


class TestAsync:
    def test_many_at_once(self):
        async def main() -> list[Result]:
            async with penglai.aio.Machine("64M", state=None) as machine:
                enclaves = [await machine.create(eapp(LINES)) for _ in range(40)]
                runs = await asyncio.gather(*(enclave.run(PATIENCE) for enclave in enclaves))
                assert [enclave.state for enclave in enclaves] == [State.EXITED] * 40
                return runs

        assert asyncio.run(main()) == [DONE] * 40

    def test_a_run_can_be_awaited(self, machine: penglai.Machine):
        async def main() -> Result:
            return await machine.create(eapp(LINES)).start()

        assert asyncio.run(main()) == DONE

    def test_life_cycle(self):
        async def main() -> None:
            async with (
                penglai.aio.Machine("16M", state=None) as machine,
                await machine.create("loop") as enclave,
            ):
                with pytest.raises(penglai.StateError):
                    await enclave.wait(PATIENCE)
                run = await enclave.start()
                await enclave.stop()
                assert enclave.state is State.STOPPED
                assert (await enclave.attest(7)).nonce == 7
                await enclave.resume()
                with pytest.raises(penglai.WaitTimeoutError):
                    await enclave.wait(0)
                assert not run.done()
                await enclave.destroy()
                assert (await run).reason is Reason.DESTROYED
                assert (await enclave.wait(PATIENCE)).reason is Reason.DESTROYED

        asyncio.run(main())

    def test_cancelling_the_wait_leaves_the_enclave_alone(self):
        async def main() -> None:
            async with penglai.aio.Machine("16M", state=None) as machine:
                enclave = await machine.create("loop")
                waiting = asyncio.create_task(enclave.run())
                while enclave.state is State.FRESH:
                    await asyncio.sleep(0)
                waiting.cancel()
                with pytest.raises(asyncio.CancelledError):
                    await waiting
                assert enclave.state in (State.RUNNABLE, State.RUNNING)

        asyncio.run(main())

    def test_lines_and_text(self):
        async def main() -> None:
            async with penglai.aio.Machine("16M", state=None) as machine:
                enclave = await machine.create(eapp(LINES))
                run = await enclave.start()
                await machine.wait_for("no newline", PATIENCE)
                assert [line async for line in enclave.lines()][-1] == "no newline"
                assert await run == DONE
                with pytest.raises(penglai.WaitTimeoutError):
                    await machine.wait_for("never", 0)

        asyncio.run(main())


class TestNames:
    @pytest.mark.parametrize("name", [name for name in penglai.__all__ if name not in ("USER_STATE", "aio")])
    def test_public_names_are_of_penglai(self, name: str):
        assert getattr(penglai, name).__module__ == "penglai"

    def test_errors_say_where_users_find_them(self):
        error = pickle.loads(pickle.dumps(penglai.StateError("no")))
        assert type(error) is penglai.StateError
        assert f"{type(error).__module__}.{type(error).__qualname__}" == "penglai.StateError"

    def test_every_object_has_a_repr(self, machine: penglai.Machine):
        enclave = machine.create("loop")
        run = enclave.start()
        things = [
            machine,
            machine.console,
            machine.program(),
            machine.shared_memory(1),
            machine.relay_pages(1),
            enclave,
            enclave.info(),
            enclave.output,
            run,
            enclave.state,
            penglai.Limits(),
            penglai.USER_STATE,
        ]
        for thing in things:
            assert " object at 0x" not in repr(thing), type(thing)
        assert "under way" in repr(run)
        enclave.destroy()
        assert "DESTROYED" in repr(run)

    def test_an_empty_path_is_no_state_directory(self):
        with pytest.raises(penglai.BadArgumentError, match="names no directory"):
            penglai.Machine("16M", state="")
        assert inspect.signature(penglai.Machine).parameters["state"].default is penglai.USER_STATE
