"""Enclaves that move: bit for bit, on both engines, into other processes; one life, whatever is killed."""

import asyncio
import itertools
import os
import random
import signal
import subprocess
import sys
import threading
from concurrent.futures import Future
from contextlib import suppress
from pathlib import Path

import pytest
from tests.attack import snapshots
from tests.attack.snapshots import lives_after_kills
from tests.support.moving import stop_after
from tests.support.programs import compiled, eapp
from tests.support.waiting import PATIENCE, until

import penglai
from penglai import Reason, SnapshotError, State

MIXED = """
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include "eapp.h"

static _Atomic unsigned long counter;
static _Atomic unsigned long words[512];

int EAPP_ENTRY main(void)
{
    unsigned long hash = 0xcbf29ce484222325UL;
    double lanes[8];
    for (int i = 0; i < 8; i++)
        lanes[i] = 0.1 + i * 0.02;
    for (unsigned long round = 1; round <= 40; round++) {
        __asm__ volatile("fsrm %0" : : "r"(round % 5));
        for (int step = 0; step < 500; step++) {
            for (int i = 0; i < 8; i++)
                lanes[i] = 3.9999 * lanes[i] * (1.0 - lanes[i]);
            atomic_fetch_add(&counter, round ^ (unsigned long)step);
            atomic_fetch_xor(&words[step], counter);
        }
        unsigned long *block = malloc(round * 64);
        for (unsigned long i = 0; i < round * 8; i++)
            block[i] = counter * i;
        hash = (hash ^ block[round * 8 - 1] ^ words[round]) * 0x100000001b3UL;
        free(block);
        for (int i = 0; i < 8; i++) {
            union { double number; unsigned long bits; } value = {lanes[i]};
            hash = (hash ^ value.bits) * 0x100000001b3UL;
        }
        printf("%lu %lx\\n", round, hash);
        fflush(stdout);
    }
    EAPP_RETURN(hash);
}
"""
"""Floating point with its modes, atomics, the heap and output: each lost bit shows in the value."""

GOES_ON_NS = 500_000
"""Of its run time, before an enclave is stopped again."""


@pytest.fixture
def state(tmp_path: Path) -> Path:
    return tmp_path / "state"


def machine_on(state: Path, engine: str | None = None, harts: int = 1) -> penglai.Machine:
    return penglai.Machine("16M", harts, state=state, engine=engine)


@pytest.mark.parametrize("engine", ["native", "unicorn"])
def test_the_result_is_the_same_bit_for_bit(state: Path, tmp_path: Path, engine: str):
    """Moved at every third line, each time into a machine that was just switched on."""
    program = compiled(MIXED)
    with machine_on(state, engine) as machine:
        expected = machine.create(program).run(timeout=PATIENCE).value
        text = machine.console.text
    written, file, value = "", tmp_path / "0", None
    with machine_on(state, engine) as machine:
        enclave = machine.create(program)
        stop_after(machine, enclave, 3)
        enclave.snapshot(file)
        written += machine.console.text
    for number in range(1, 13):
        with machine_on(state, engine) as machine:
            enclave = machine.restore(file)
            assert enclave.state is State.STOPPED
            file = tmp_path / str(number)
            stop_after(machine, enclave, 3)
            enclave.snapshot(file)
            written += machine.console.text
    with machine_on(state, engine) as machine:
        enclave = machine.restore(file)
        enclave.resume()
        value = enclave.wait(PATIENCE).value
        written += machine.console.text
    assert (value, written) == (expected, text)


MOVES, RARELY = 12, 500
"""So many moves are enough; so rarely somebody resumes it, who stops it all the time."""


class Crowd:
    """Threads that stop, resume and move whatever lives on a machine, until it has moved often or ended."""

    def __init__(self, machine: penglai.Machine, directory: Path) -> None:
        self.machine, self.directory = machine, directory
        self.over = threading.Event()
        self.ended: list[penglai.Result] = []
        self.moves: list[int] = []
        self.names = itertools.count()

    def note(self, run: Future[penglai.Result]) -> None:
        """A run is over; unless the enclave goes on elsewhere, all is."""
        if run.result().reason is not Reason.MOVED:
            self.ended.append(run.result())
            self.over.set()

    def disturb(self, seed: int) -> None:
        chance = random.Random(seed)
        while not self.over.is_set():
            for enclave in self.machine.enclaves:
                with suppress(penglai.PenglaiError):
                    (enclave.stop if chance.randrange(RARELY) else enclave.resume)()

    def move(self) -> None:
        while not self.over.is_set():
            for enclave in self.machine.enclaves:
                with suppress(penglai.PenglaiError):
                    self.move_one(enclave)

    def move_one(self, enclave: penglai.Enclave) -> None:
        file = self.directory / str(next(self.names))
        enclave.stop()
        enclave.snapshot(file)
        restored = self.machine.restore(file)
        restored.last_run.add_done_callback(self.note)
        self.moves.append(restored.eid)
        restored.resume()
        if len(self.moves) >= MOVES:
            self.over.set()


def test_one_life_while_others_stop_and_resume_it(state: Path, tmp_path: Path):
    """Who has moved it restores it; every other one's snapshot is refused, or worth nothing."""
    program = compiled(MIXED)
    with machine_on(state, harts=2) as machine:
        expected = machine.create(program).run(timeout=PATIENCE).value
        crowd = Crowd(machine, tmp_path)
        machine.create(program).start().add_done_callback(crowd.note)
        threads = [threading.Thread(target=crowd.move) for _ in range(2)]
        threads.append(threading.Thread(target=crowd.disturb, args=(1,)))
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(PATIENCE)
        for enclave in machine.enclaves:
            with suppress(penglai.StateError):
                enclave.resume()
        until(lambda: crowd.ended)
        assert [result.value for result in crowd.ended] == [expected]
        assert machine.enclaves == []
    assert len(set(crowd.moves)) == len(crowd.moves) > 0


@pytest.mark.slow
@pytest.mark.parametrize("engine", ["native", "unicorn"])
def test_it_does_not_matter_where_it_is_stopped(state: Path, tmp_path: Path, engine: str):
    """Not at a line, but wherever the timer and this thread have it: many times, in one process."""
    program = compiled(MIXED)
    with machine_on(state, engine, harts=2) as machine:
        expected = machine.create(program).run(timeout=PATIENCE).value
        enclave = machine.create(program)
        run, moves, ran = enclave.start(), 0, 0
        while True:
            until(lambda run=run, ran=ran: run.done() or run.enclave.info().run_time > ran)
            try:
                run.enclave.stop()
            except penglai.NoSuchEnclaveError:
                break
            ran = run.enclave.info().run_time + GOES_ON_NS
            run.enclave.snapshot(tmp_path / str(moves))
            enclave = machine.restore(tmp_path / str(moves))
            (tmp_path / str(moves)).unlink()
            enclave.resume()
            run, moves = enclave.last_run, moves + 1
        assert run.result(PATIENCE).value == expected
        assert moves, "it was never stopped"


def test_engines_exchange_them(state: Path, tmp_path: Path):
    program = compiled(MIXED)
    with machine_on(state, "native") as machine:
        expected = machine.create(program).run(timeout=PATIENCE).value
        enclave = machine.create(program)
        stop_after(machine, enclave, 7)
        enclave.snapshot(tmp_path / "one")
    with machine_on(state, "unicorn") as machine:
        enclave = machine.restore(tmp_path / "one")
        stop_after(machine, enclave, 7)
        enclave.snapshot(tmp_path / "two")
    with machine_on(state, "native") as machine:
        enclave = machine.restore(tmp_path / "two")
        enclave.resume()
        assert enclave.wait(PATIENCE).value == expected


OTHER_PROCESS = """
import sys, penglai
with penglai.Machine("16M", 1, state=sys.argv[1]) as machine:
    enclave = machine.restore(sys.argv[2])
    enclave.resume()
    print(enclave.wait().value)
"""


def test_another_process_goes_on_with_it(state: Path, tmp_path: Path):
    program, file = compiled(MIXED), tmp_path / "file"
    with machine_on(state) as machine:
        expected = machine.create(program).run(timeout=PATIENCE).value
        enclave = machine.create(program)
        stop_after(machine, enclave, 11)
        run = enclave.last_run
        enclave.snapshot(file)
        assert run.result(PATIENCE).reason is Reason.MOVED
        assert enclave.state is State.DESTROYED
        command = [sys.executable, "-c", OTHER_PROCESS, state, file]
        done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=PATIENCE)
        assert done.stdout == f"{expected}\n"
        with pytest.raises(SnapshotError, match="restored already"):
            machine.restore(file)


def test_what_was_written_is_shown_once(state: Path, tmp_path: Path):
    """Also what is being shown at the moment of the snapshot."""
    shown: list[bytes] = []
    held, go = threading.Event(), threading.Event()

    def hold(_eid: int, text: bytes) -> None:
        shown.append(text)
        held.set()
        assert go.wait(PATIENCE)

    with machine_on(state) as machine:
        machine.on_output = hold
        enclave = machine.create(eapp('eapp_print("once\\n"); eapp_print("twice\\n");'))
        enclave.start()
        assert held.wait(PATIENCE)
        enclave.stop()
        taking = threading.Thread(target=enclave.snapshot, args=(tmp_path / "file",))
        taking.start()
        go.set()
        taking.join(PATIENCE)
        machine.on_output = lambda _eid, text: shown.append(text)
        enclave = machine.restore(tmp_path / "file")
        enclave.resume()
        assert enclave.wait(PATIENCE).reason is Reason.EXITED
    assert shown == [b"once\n", b"twice\n"]


def test_the_kernel_buffer_is_as_it_was(state: Path, tmp_path: Path):
    """The text that is about to be written is there, though no monitor has sealed it."""
    text = "char *buffer = (char *)EAPP_KERNEL_BUFFER; for (;;) { if (buffer[0] == 7) break; eapp_yield(); }"
    with machine_on(state) as machine:
        enclave = machine.create(eapp(f"*(char *)EAPP_KERNEL_BUFFER = 5; {text}"))
        enclave.start()
        until(lambda: enclave.info().calls > 5)
        enclave.stop()
        before = machine._driver.kernel_buffer(enclave._task)
        enclave.snapshot(tmp_path / "file")
        restored = machine.restore(tmp_path / "file")
        assert machine._driver.kernel_buffer(restored._task) == before
        assert before[0] == 5


def test_clones_with_shared_memory(tmp_path: Path, state: Path):
    """A clone of which the policy allows it; its generation tells it."""
    body = """
    eapp_set_policy(EAPP_MAY_CLONE);
    while (!eapp_generation())
        eapp_yield();
    EAPP_RETURN(eapp_generation() * 10 + args[11] / EAPP_PAGE_SIZE);
    """
    with machine_on(state) as machine:
        shm = machine.shared_memory(8192)
        enclave = machine.create(eapp(body), shm=shm)
        enclave.start()
        until(lambda: enclave.info().calls > 5)
        enclave.stop()
        with pytest.raises(SnapshotError, match="policy"):
            enclave.snapshot(tmp_path / "moved")
        assert not (tmp_path / "moved").exists()
        enclave.snapshot(tmp_path / "file", clone=True)
        assert enclave.state is State.STOPPED
        with pytest.raises(SnapshotError, match="shm"):
            machine.restore(tmp_path / "file")
        clones = [machine.restore(tmp_path / "file", shm=shm) for _ in range(3)]
        for clone in clones:
            clone.resume()
        assert [clone.wait(PATIENCE).value for clone in clones] == [12, 12, 12]


# ---- refused -----------------------------------------------------------------------------------


def test_one_that_runs_is_refused(state: Path, tmp_path: Path):
    with machine_on(state) as machine:
        enclave = machine.create("loop")
        enclave.start()
        with pytest.raises(penglai.StateError, match="stop it first"):
            enclave.snapshot(tmp_path / "file")
        assert not (tmp_path / "file").exists()
        enclave.destroy()
        with pytest.raises(penglai.NoSuchEnclaveError):
            enclave.snapshot(tmp_path / "file")
        server = machine.create("server", name="s", kind="server")
        with pytest.raises(penglai.StateError):
            server.snapshot(tmp_path / "file")


def test_a_file_that_is_there_is_not_written_over(state: Path, tmp_path: Path):
    file = tmp_path / "file"
    file.write_text("mine")
    with machine_on(state) as machine:
        enclave = machine.create("hello-world")
        for path in (file, tmp_path / "none" / "file", tmp_path):
            with pytest.raises(penglai.BadArgumentError):
                enclave.snapshot(path)
        assert file.read_text() == "mine"
        assert enclave.run(timeout=PATIENCE).reason is Reason.EXITED
        for path in (tmp_path / "none", tmp_path):
            with pytest.raises(penglai.BadArgumentError):
                machine.restore(path)


def test_every_byte_of_a_file_counts(state: Path, tmp_path: Path):
    file, free = tmp_path / "file", 0
    with machine_on(state) as machine:
        machine.create("hello-world").snapshot(file)
        good = file.read_bytes()
        host = len(good) - sum(len(part) for part in good.split(b"penglai\x1a")[1:]) - 8
        places = [*range(0, 120, 7), *range(host - 32, host + 260, 5), *range(host + 260, len(good), 997)]
        before = machine._driver.free_bytes
        for place in places:
            bad = bytearray(good)
            bad[place] ^= 0x10
            file.write_bytes(bad)
            with pytest.raises(SnapshotError):
                machine.restore(file)
        for size in (0, 1, host - 1, host, host + 100, host + 184, len(good) - 17, len(good) - 1):
            file.write_bytes(good[:size])
            with pytest.raises(SnapshotError):
                machine.restore(file)
        assert machine.enclaves == []
        free = machine._driver.free_bytes
        file.write_bytes(good)
        assert machine.restore(file).run(timeout=PATIENCE).reason is Reason.EXITED
    assert before - free <= 2 << 20, "pages that were kept"


def test_not_in_on_output(state: Path, tmp_path: Path):
    errors: list[Exception] = []

    def save(eid: int, _text: bytes) -> None:
        try:
            machine.enclave(eid).stop()
            machine.enclave(eid).snapshot(tmp_path / "file")
        except penglai.PenglaiError as error:
            errors.append(error)

    with machine_on(state) as machine:
        machine.on_output = save
        enclave = machine.create("hello-world")
        run = enclave.start()
        until(lambda: errors)
        assert isinstance(errors[0], penglai.StateError)
        until(lambda: not enclave._task.in_callback)
        enclave.resume()
        assert run.result(PATIENCE).reason is Reason.EXITED


def test_asyncio(state: Path, tmp_path: Path):
    async def move() -> penglai.Result:
        async with penglai.aio.Machine("16M", state=state) as machine:
            await (await machine.create("hello-world")).snapshot(tmp_path / "file")
            restored = await machine.restore(tmp_path / "file")
            return await restored.run()

    assert asyncio.run(move()).reason is Reason.EXITED


def test_ctrl_c_in_the_middle_comes_behind_it(state: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """The enclave is in the file then, and the file is not thrown away."""
    fsync = os.fsync

    def interrupted(handle: int) -> None:
        os.kill(os.getpid(), signal.SIGINT)
        fsync(handle)

    with machine_on(state) as machine:
        enclave = machine.create("hello-world")
        monkeypatch.setattr(os, "fsync", interrupted)
        with pytest.raises(KeyboardInterrupt):
            enclave.snapshot(tmp_path / "file")
        monkeypatch.undo()
        assert enclave.state is State.DESTROYED
        assert machine.restore(tmp_path / "file").run(timeout=PATIENCE).reason is Reason.EXITED


def test_nobody_else_may_read_the_file(state: Path, tmp_path: Path):
    before = os.umask(0)
    try:
        with machine_on(state) as machine:
            machine.create("hello-world").snapshot(tmp_path / "file")
    finally:
        os.umask(before)
    assert (tmp_path / "file").stat().st_mode & 0o777 == 0o600


def test_a_fault_after_a_move_is_explained_as_far_as_it_can_be(state: Path, tmp_path: Path):
    with machine_on(state) as machine, machine.trace(tmp_path / "trace.json"):
        enclave = machine.create(eapp('eapp_print("now\\n"); *(volatile long *)64 = 0;'))
        stop_after(machine, enclave, 1)
        enclave.snapshot(tmp_path / "file")
        restored = machine.restore(tmp_path / "file")
        restored.resume()
        fault = restored.wait(PATIENCE).fault
        assert fault is not None
        assert fault.address == 64
    assert "MOVED" not in (tmp_path / "trace.json").read_text()


# ---- kill -9 -----------------------------------------------------------------------------------

EVERY = 9
"""Of the lines, one in so many; `make attack` has the others."""


@pytest.mark.slow
def test_killed_while_it_moves_it_is_in_the_snapshot_or_was_here(tmp_path: Path):
    """From one line on there is the snapshot, before it there is nothing; never two."""
    found = lives_after_kills(tmp_path, snapshots.move, EVERY)
    assert found == sorted(found)
    assert set(found) == {0, 1}


@pytest.mark.slow
def test_killed_while_it_is_restored_it_is_in_the_snapshot_or_was_here(tmp_path: Path):
    """Up to one line it can be restored again, once; after it, it was here."""
    found = lives_after_kills(tmp_path, snapshots.restore, EVERY)
    assert found == sorted(found, reverse=True)
    assert set(found) == {0, 1}
