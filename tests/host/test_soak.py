"""A program's result is bit-identical with 0 or 12,500 stops in it, on whatever hart it resumes.

The default run does a part; `make soak` does the whole.
"""

import random

import pytest
from tests.support.programs import compiled
from tests.support.waiting import PATIENCE, SOAK, until

import penglai
from penglai import Reason

STOPS = 12_500 if SOAK else 2_000

PROGRAMS = {
    # name: rounds, chosen so that one run takes some tenths of a second
    "integer": 3_000_000,
    "atomics": 1_000_000,
    "calls": 20_000,
    "floats": 60_000,
}


def pairs_of_stop_and_resume(
    enclave: penglai.Enclave, run: penglai.Run, pause: random.Random, most: int
) -> int:
    """Stop and resume at random moments until the run ends; how many pairs hit a live enclave."""
    pairs = 0
    while not run.done() and pairs < most:
        for _ in range(pause.randrange(300)):
            pass
        if pause.random() < 0.3:  # surely in the guest: it runs on before the next stop
            seen = enclave.info()
            until(lambda seen=seen: run.done() or enclave.info().run_time > seen.run_time)
        try:
            enclave.stop()
            enclave.resume()
        except penglai.NoSuchEnclaveError:
            break
        pairs += 1
    return pairs


@pytest.mark.soak
@pytest.mark.parametrize("harts", [1, 2])
@pytest.mark.parametrize("name", PROGRAMS)
def test_results_do_not_depend_on_stops(name: str, harts: int):
    image = compiled(name, f"-DROUNDS={PROGRAMS[name]}UL")
    pause = random.Random(f"{name} {harts}")
    with penglai.Machine("32M", harts) as machine:
        undisturbed = machine.create(image).run(PATIENCE)
        assert undisturbed.reason is Reason.EXITED
        assert undisturbed.value, "the program itself finds no fault"
        written = machine.console.getvalue()
        pairs = 0
        while pairs < STOPS:
            machine.console.clear()
            if harts == 2:  # competition, so that it resumes on the other hart
                rival = machine.create("loop")
                rival.start()
            enclave = machine.create(image)
            run = enclave.start()
            pairs += pairs_of_stop_and_resume(enclave, run, pause, STOPS - pairs)
            assert run.result(PATIENCE) == undisturbed
            if harts == 2:
                rival.destroy()
            lines = [line for line in machine.console.getvalue().splitlines(True) if b"loop" not in line]
            assert b"".join(lines) == written


@pytest.mark.soak
def test_the_float_demo_survives_stops():
    with penglai.Machine("32M", 2) as machine:
        undisturbed = machine.create("float").run(PATIENCE)
        pause = random.Random(7)
        for _ in range(10 if SOAK else 2):
            enclave = machine.create("float")
            run = enclave.start()
            pairs_of_stop_and_resume(enclave, run, pause, STOPS)
            assert run.result(PATIENCE) == undisturbed
