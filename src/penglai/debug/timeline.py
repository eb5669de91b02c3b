"""A replay that can be moved in, forwards and backwards, as one of its enclaves sees it.

Backwards is forwards from an earlier snapshot.  A moment is a place in a run (machine/where.c); the end of a
run that was preempted is the beginning of the next one, and counts as that.
"""

import contextlib
from bisect import bisect_left
from collections.abc import Collection, Iterator
from enum import Enum
from typing import NamedTuple

from penglai.abi.errors import RecordingError
from penglai.abi.riscv import INTERRUPT, PAGE_SIZE, Cause
from penglai.debug.recording import Event, Reader, Run, Space
from penglai.debug.replay import NOWHERE, Interrupted, Player, Replayed
from penglai.debug.snapshots import Snapshots
from penglai.debug.spaces import physical
from penglai.debug.stepping import after


class Moment(NamedTuple):
    """A place in a run, by its number among the recording's events.  Moments are in order."""

    run: int
    jumps: int
    pc: int


class Stop(Enum):
    """Why a movement ended."""

    BREAK = "at a breakpoint"
    FAULT = "before a fault"
    BEGIN = "at the beginning of the recording"
    END = "at the end of the recording"
    LIMIT = "where it was to go"


class Timeline:
    """One enclave of a recording, at a moment: at its first instruction, to begin with.

    eid: which one; None for the first that ran.  Raises RecordingError if there is none.  Every movement may
    raise Interrupted, after `interrupt`, and RecordingError if it finds something that is not as it was.
    """

    def __init__(self, reader: Reader, engine: str | None = None, eid: int | None = None) -> None:
        self._events = list(reader)
        self._number, self.space = _choose(reader, self._events, eid)
        self._mine = [
            index
            for index, event in enumerate(self._events)
            if isinstance(event, Run) and event.space == self._number
        ]
        if not self._mine:
            raise RecordingError(f"{reader.path}: enclave {self.space.eid} has not run in it")
        self._player = Player(reader, engine)
        self._snapshots = Snapshots(self._player)
        self._next = self._run = self._jumps = 0
        self._begin(self._mine[0])

    def close(self) -> None:
        """Give the memory back."""
        self._player.close()

    def interrupt(self) -> None:
        """From any thread: end the movement under way."""
        self._player.stop()

    # ---- what there is at this moment ----------------------------------------------------------

    @property
    def enclave(self) -> Replayed:
        """The enclave, with its registers."""
        return self._player.spaces[self._number]

    @property
    def moment(self) -> Moment:
        """Where it is."""
        return Moment(self._run, self._jumps, self.enclave.context.pc)

    @property
    def event(self) -> Run:
        """The run under way."""
        return self._run_at(self._run)

    def read(self, address: int, size: int) -> bytes:
        """What is at an address, as far as there is something."""
        memory, found = self._player.memory, bytearray()
        while len(found) < size:
            piece = min(PAGE_SIZE - address % PAGE_SIZE, size - len(found))
            place = physical(memory, self.space.satp, address)
            if place is None:
                break
            found += memory.read(place, piece)
            address += piece
        return bytes(found)

    # ---- forwards ------------------------------------------------------------------------------

    def step(self) -> Stop:
        """Execute an instruction: BREAK; or END if it is the last one, which is not executed."""
        if self._is_at_end():
            return Stop.BREAK if self._pass_end() else Stop.END
        self._step_towards(self._end())
        if self.event.cause & INTERRUPT and self._is_at_end():
            self._pass_end()
        return Stop.BREAK

    def forward(self, stops: Collection[int], limit: Moment | None = None) -> Stop:
        """On to the next of these addresses, to a fault, to this later moment, or to the end.

        What is at this moment does not stop it.
        """
        if self.enclave.context.pc in stops or self._is_at_end():
            if self.step() is Stop.END:
                return Stop.END
            if self.enclave.context.pc in stops and (limit is None or self.moment < limit):
                return Stop.BREAK
        while (stop := self._go_on(stops, limit)) is None:
            pass
        return stop

    def _go_on(self, stops: Collection[int], limit: Moment | None) -> Stop | None:
        """To the next stop, or else to the beginning of the next run."""
        end = self._end() if limit is None else min(self._end(), limit)
        if self.moment < end:
            self._execute(end, stops)
        if limit is not None and self.moment >= limit:
            return Stop.LIMIT
        if not self._is_at_end():
            return Stop.BREAK
        cause = self.event.cause
        if not cause & INTERRUPT:
            if cause != Cause.ECALL_U:
                return Stop.FAULT
            if self.enclave.context.pc in stops:
                return Stop.BREAK
        if not self._pass_end():
            return Stop.END
        at_stop = self.enclave.context.pc in stops and (limit is None or self.moment < limit)
        return Stop.BREAK if at_stop else None

    def _end(self) -> Moment:
        return Moment(self._run, self.event.jumps, self.event.pc)

    def _is_at_end(self) -> bool:
        return self.moment == self._end()

    def _pass_end(self) -> bool:
        """From the end of a run to the beginning of the next that is not empty; False if there is none."""
        while True:
            place = bisect_left(self._mine, self._run) + 1
            if place == len(self._mine):
                return False
            event, cause = self.event, int(Cause.DEBUG)
            if not event.cause & INTERRUPT:
                cause = self._execute(Moment(self._run, event.jumps + 1, NOWHERE), ())
            self._player.finish(self.enclave, event, cause, self._jumps)
            self._next = self._run + 1
            self._begin(self._mine[place])
            if not (self.event.cause & INTERRUPT and self._is_at_end()):
                return True

    # ---- backwards -----------------------------------------------------------------------------

    def back(self) -> Stop:
        """To before the instruction that was executed last: BREAK, or BEGIN if there is none."""
        now = self.moment
        with self._returning(now):
            return self._back(now)

    def _back(self, now: Moment) -> Stop:
        while True:
            self._restart(now.run)
            if self.moment < now:
                self._back_within(now)
                return Stop.BREAK
            place = bisect_left(self._mine, now.run)
            if not place:
                return Stop.BEGIN
            event = self._run_at(self._mine[place - 1])
            now = Moment(self._mine[place - 1], event.jumps, event.pc)
            if not event.cause & INTERRUPT:
                self.go_to(now)
                return Stop.BREAK

    def _back_within(self, now: Moment) -> None:
        """The moment before is in the same run: between a jump back before it and it there are few."""
        for jumps in (now.jumps, now.jumps - 1):
            if jumps > 0:
                self._execute(Moment(now.run, jumps, NOWHERE), ())
            if self.moment < now:
                break
            self._restart(now.run)
        before = self.moment
        while self.moment < now:
            before = self.moment
            self._step_towards(now)
        self.go_to(before)

    def back_to(self, stops: Collection[int]) -> Stop:
        """Back to the last moment before this one at one of these addresses: BREAK, or BEGIN."""
        end = self.moment
        with self._returning(end):
            for start in self._snapshots.before(end.run):
                self._restart(start)
                first = self.moment
                if (found := self._last_at(stops, end)) is not None:
                    self.go_to(found)
                    return Stop.BREAK
                end = first
            self.go_to(end)
            return Stop.BEGIN

    def _last_at(self, stops: Collection[int], end: Moment) -> Moment | None:
        """The last moment from this one to before the end that is at one of these addresses."""
        found = None
        while self.moment < end:
            if self.enclave.context.pc in stops:
                found = self.moment
            if self.forward(stops, end) is Stop.LIMIT:
                break
        return found

    @contextlib.contextmanager
    def _returning(self, moment: Moment) -> Iterator[None]:
        """Be there again if the movement is interrupted."""
        try:
            yield
        except Interrupted:
            self.go_to(moment)
            raise

    # ---- anywhere ------------------------------------------------------------------------------

    def go_to(self, moment: Moment) -> None:
        """Be there, at a moment at which it has been before."""
        self._restart(moment.run)
        if self.moment != moment:
            self._execute(moment, ())

    def _restart(self, run: int) -> None:
        """Be at the beginning of a run."""
        self._next = self._snapshots.restore(run)
        self._begin(run)

    def _begin(self, run: int) -> None:
        """On to the beginning of a run, from before it."""
        player = self._player
        player.break_at(())
        with player.uninterrupted():
            for index in range(self._next, run):
                event = self._events[index]
                if isinstance(event, Run) and event.space == self._number:
                    self._snapshots.offer(index)
                self._snapshots.note(event)
                player.apply(event)
        self._snapshots.offer(run)
        self._next, self._run, self._jumps = run, run, 0
        player.begin(self.event)

    # ---- execution -----------------------------------------------------------------------------

    def _run_at(self, index: int) -> Run:
        event = self._events[index]
        assert isinstance(event, Run)
        return event

    def _step_towards(self, limit: Moment) -> None:
        """Execute an instruction, or as much of it as there is before this moment of the same run."""
        context = self.enclave.context
        here = context.pc
        ways = after(self._fetch, here, tuple(context.x))
        if here in ways:
            limit = min(limit, Moment(self._run, self._jumps + 1, here))
        self._execute(limit, ways - {here})

    def _execute(self, until: Moment, stops: Collection[int]) -> int:
        self._player.break_at(stops)
        try:
            return self._player.execute(self.enclave, until.jumps - self._jumps, until.pc)
        finally:
            self._jumps += self._player.record.jumps

    def _fetch(self, address: int) -> int | None:
        found = self.read(address, 2)
        return int.from_bytes(found, "little") if len(found) == 2 else None


def _choose(reader: Reader, events: list[Event], eid: int | None) -> tuple[int, Space]:
    spaces = [event for event in events if isinstance(event, Space)]
    for number, space in enumerate(spaces):
        if eid in (None, space.eid):
            return number, space
    known = ", ".join(f"{space.eid} {space.name}".rstrip() for space in spaces) or "none"
    raise RecordingError(f"{reader.path} has no enclave {'' if eid is None else eid}; it has: {known}")
