"""Threads that take turns as a schedule says, so that every interleaving can be tried, and tried again.

One thread of an experiment runs at a time.  It runs until its next point: where it wants a lock of the
monitor, where it interrupts a hart, where a hart is about to execute a block; with `releases`, also where it
has let a lock go, and with `lines`, before each line of the monitor.  There the schedule says who goes on.  A
thread that wants a lock which another one holds is not asked; if that is so of all of them, it is a deadlock.
"""

import random
import sys
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import FrameType, TracebackType
from typing import Any

import penglai.machine.hart
import penglai.monitor
from penglai.abi.riscv import Cause
from penglai.machine import Board, Context, Hart
from penglai.monitor.enclave import Enclave
from penglai.monitor.registry import Registry
from tests.support.rawhost import RawHost
from tests.support.waiting import PATIENCE

BLOCKS = 6
"""Basic blocks that an enclave executes before its time is up."""

MONITOR_ROOM = str(Path(penglai.monitor.__file__).parent)
HART = str(Path(penglai.machine.hart.__file__))


class Deadlock(Exception):  # noqa: N818 - what the schedule has found
    """No thread can go on."""


@dataclass
class Actor:
    """A thread of an experiment.  wants: the lock that it waits for at its point."""

    act: Callable[[], object]
    go: threading.Semaphore = field(default_factory=lambda: threading.Semaphore(0))
    wants: "TurnLock | None" = None
    done: bool = False
    result: object = None

    @property
    def can_go_on(self) -> bool:
        return not self.done and (self.wants is None or not self.wants.held)


@dataclass(frozen=True)
class Choice:
    """Who went on at a point: number chosen of so many that could have.  Number 0 is who ran before."""

    chosen: int
    options: int


class Turns:
    """Runs experiments.  preemptions: how often a thread that could go on may have to wait, or None.

    releases: points are also behind each release of a lock.  lines: and before each line of the monitor, or
    of the files whose paths begin with one of `places`.
    """

    def __init__(
        self,
        preemptions: int | None = None,
        *,
        releases: bool = False,
        lines: bool = False,
        places: tuple[str, ...] = (MONITOR_ROOM,),
    ) -> None:
        self.preemptions = preemptions
        self.releases = releases
        self.lines = lines
        self.places = places
        self._local = threading.local()
        self._back = threading.Semaphore(0)

    def point(self, wants: "TurnLock | None" = None) -> None:
        """The thread that calls may have to wait here.  Threads of no experiment go on at once."""
        actor: Actor | None = getattr(self._local, "actor", None)
        if actor is None:
            assert wants is None or not wants.held, "a thread outside the experiment would wait for ever"
            return
        actor.wants = wants
        self._back.release()
        actor.go.acquire()
        actor.wants = None

    def run(self, acts: list[Callable[[], object]], prefix: list[int]) -> tuple[list[object], list[Choice]]:
        """Run acts, each on a thread; the first points are decided by prefix, the others by number 0.

        Returns their results (an exception is one) and all the choices.  Raises Deadlock.
        """
        actors = [Actor(act) for act in acts]
        threads = [threading.Thread(target=self._body, args=(actor,), daemon=True) for actor in actors]
        for thread in threads:
            thread.start()
            assert self._back.acquire(timeout=PATIENCE)
        choices: list[Choice] = []
        current: Actor | None = None
        left = len(actors) * 10_000 if self.preemptions is None else self.preemptions
        while ready := [actor for actor in actors if actor.can_go_on]:
            free_to_choose = current not in ready
            if not free_to_choose:
                assert current is not None
                ready.remove(current)
                ready.insert(0, current)
            options = len(ready) if free_to_choose or left else 1
            chosen = min(prefix[len(choices)], options - 1) if len(choices) < len(prefix) else 0
            left -= not free_to_choose and chosen > 0
            choices.append(Choice(chosen, options))
            current = ready[chosen]
            current.go.release()
            assert self._back.acquire(timeout=PATIENCE), "a thread waits for what is no point"
        if not all(actor.done for actor in actors):
            raise Deadlock([choice.chosen for choice in choices])
        for thread in threads:
            thread.join()
        return [actor.result for actor in actors], choices

    def explore(
        self, experiment: Callable[[list[int]], list[Choice]], most: int | None = None
    ) -> Iterator[list[int]]:
        """Call experiment(prefix) for every schedule, depth first; yields each schedule that was run.

        experiment returns the choices that were made.  most: stop after so many.
        """
        prefix: list[int] = []
        count = 0
        while most is None or count < most:
            choices = experiment(prefix)
            count += 1
            yield [choice.chosen for choice in choices]
            while choices and choices[-1].chosen + 1 >= choices[-1].options:
                choices.pop()
            if not choices:
                return
            prefix = [choice.chosen for choice in choices]
            prefix[-1] += 1

    def sample(
        self, experiment: Callable[[list[int]], list[Choice]], count: int, chance: random.Random
    ) -> Iterator[list[int]]:
        """Like explore, of count schedules that are preempted at random points."""
        points = len(experiment([]))
        yield []
        for _ in range(count - 1):
            prefix = [0] * points
            for _ in range(self.preemptions or 4):
                prefix[chance.randrange(points)] = chance.choice([1, 1, 2])
            points = max(points, len(experiment(prefix)))
            yield prefix

    def _body(self, actor: Actor) -> None:
        self._local.actor = actor
        self.point()
        if self.lines:
            sys.settrace(self._trace)
        try:
            actor.result = actor.act()
        except BaseException as error:
            actor.result = error
        finally:
            sys.settrace(None)
        actor.done = True
        self._back.release()

    def _trace(self, frame: FrameType, event: str, _argument: object) -> Any:
        if not frame.f_code.co_filename.startswith(self.places):
            return None
        if event == "line":
            self.point()
        return self._trace


class TurnLock:
    """A lock whose taking is a point, and its release if so wanted.  inner: that in whose place it stands."""

    def __init__(self, turns: Turns, inner: "threading.Lock | None" = None) -> None:
        self._turns = turns
        self._inner = inner or threading.Lock()

    def release(self) -> None:
        self._inner.release()
        if self._turns.releases:
            self._turns.point()

    @property
    def held(self) -> bool:
        return self._inner.locked()

    def acquire(self, blocking: bool = True) -> bool:
        self._turns.point(self if blocking else None)
        taken = self._inner.acquire(blocking=False)
        assert taken or not blocking
        return taken

    def __enter__(self) -> None:
        self.acquire()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.release()


class TurnHart(Hart):
    """A hart that gives others a turn before each block, and whose time is up after BLOCKS of them."""

    turns: Turns

    def execute(self, context: Context, blocks: int = 0) -> int:
        for _ in range(BLOCKS):
            self.turns.point()
            cause = super().execute(context, blocks or 1)
            if blocks or cause != Cause.M_TIMER_INTERRUPT:
                break
        return cause

    def interrupt(self) -> None:
        self.turns.point()
        super().interrupt()


class TurnRegistry(Registry):
    """The directory of a monitor whose locks are points; few: only those of enclaves."""

    def __init__(self, turns: Turns, *, few: bool) -> None:
        super().__init__()
        self._turns = turns
        if not few:
            self.lock = TurnLock(turns)  # type: ignore[assignment]

    def add(self, enclave: Enclave) -> None:
        enclave.lock = TurnLock(self._turns, enclave.lock)  # type: ignore[assignment]
        super().add(enclave)


def turning_host(turns: Turns, harts: int = 2, chunks: int = 1, *, few: bool = False) -> RawHost:
    """A board of 8 MiB and its host, on which everything waits for its turn.

    few: points are only enclaves' locks and what harts do: what else is locked, is locked under these.
    """
    board = Board(8 << 20, harts)
    if not few:
        board.memory.lock = TurnLock(turns)  # type: ignore[assignment]
    board.harts = tuple(TurnHart(number, board.memory, board.clock) for number in range(harts))
    for hart in board.harts:
        hart.turns = turns
    raw = RawHost(board, chunks=0)
    raw.monitor.platform = replace(raw.monitor.platform, registry=TurnRegistry(turns, few=few))
    for _ in range(chunks):
        raw.give_chunk()
    return raw
