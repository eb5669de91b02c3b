"""An enclave in a trace: what it is doing since when, and the tracks that show it."""

from dataclasses import dataclass, field

from penglai.abi.sbi import EnclaveType
from penglai.abi.state import State
from penglai.monitor.enclave import Enclave
from penglai.monitor.lifecycle import LIVE
from penglai.tracing.writer import Track, Writer


@dataclass(eq=False)
class Visit:
    """A call that may enter an enclave on a hart, under way since `start`, ns.

    track: the hart's.  used, preemptions: the enclave's account before, ns and how often.
    """

    hart: int
    track: Track
    start: int
    used: int
    preemptions: int


@dataclass(frozen=True)
class Call:
    """A call under way.  server: eid of the server that serves it, 0: the host does.  start: ns.

    track: that of the server's states, if it is shown.
    """

    name: str
    server: int
    start: int
    track: Track | None


def at_rest(record: Enclave) -> State:
    """The state of an enclave that is on no hart as far as the trace has seen."""
    state = record.state
    return State.RUNNABLE if state is State.RUNNING else state


@dataclass(eq=False)
class Life:
    """One enclave.  Two tracks: its states one after the other, and its calls, which contain each other.

    record: the monitor's, which is only read.  state: what is shown since `since`, ns.  visit: the call that
    has it on a hart, or is about to.  calls: under way, the innermost last.  left: servers whose part in
    its calls has ended, and which may be gone.  pages: its own, as they are shown.
    """

    writer: Writer
    record: Enclave
    state: State
    since: int
    states: Track = field(init=False)
    deeds: Track | None = field(init=False, default=None)
    visit: Visit | None = None
    calls: list[Call] = field(default_factory=list)
    left: set[int] = field(default_factory=set)
    pages: int = -1

    def __post_init__(self) -> None:
        kind = "" if self.record.kind is EnclaveType.NORMAL else f" ({self.record.kind.name.lower()})"
        self.group = self.writer.group(f"enclave {self.label}{kind}", self.record.eid, 10 + self.record.eid)
        self.states = self.writer.track(self.group, "state", "state")

    @property
    def label(self) -> str:
        """How slices call it."""
        return f"{self.record.eid} {self.record.name}".rstrip()

    @property
    def ran(self) -> bool:
        """True if the visit under way has been on the hart, or still is."""
        return self.visit is not None and self.record.entered_ns >= self.visit.start

    def change(self, state: State, now: int, **details: object) -> None:
        """From now on it is in this state.  details: of the state before."""
        if state is not self.state:
            self.writer.slice(self.states, self.state.name, self.since, now, **details)
            self.state, self.since = state, now

    def end_visit(self, now: int, why: str) -> None:
        """It is on a hart no more.  why: what took it off."""
        visit, self.visit = self.visit, None
        if visit is None or self.record.entered_ns < visit.start:
            return  # it was refused the hart
        start = max(self.record.entered_ns, self.since)
        account = self.record.account
        used = account.run_ns - visit.used
        if account.preemptions > visit.preemptions:
            why = "preempted"  # whatever came next
        end = max(start, min(now, self.record.entered_ns + used if used else now))
        self.writer.slice(visit.track, self.label, start, end, eid=self.record.eid, left=why)
        self.change(State.RUNNING, start)
        self.change(at_rest(self.record), end, hart=visit.hart, left=why)

    def settle(self, now: int, end: str = "") -> bool:
        """Show the state that the monitor has it in; False if it has ended, and all of it is shown.

        end: how it has ended, if that is not the state's name.
        """
        state = self.record.state
        over = state not in LIVE
        self.count(0 if over else self.record.page_count, now)
        if self.ran and (over or state is State.STOPPED):
            self.end_visit(now, state.name.lower())
        if not self.ran:  # else its hart is on the way here, and knows more
            self.change(at_rest(self.record), now)
        if over:
            self.end_calls(now)
            self.writer.moment(self.states, end or state.name, self.since)
        return not over

    def count(self, pages: int, now: int) -> None:
        """It has so many pages of its own."""
        if pages != self.pages:
            self.writer.counter(self.group, "pages", now, pages)
            self.pages = pages

    def begin_call(self, name: str, now: int, server: int = 0, track: Track | None = None) -> None:
        """A call begins inside those under way."""
        self.calls.append(Call(name, server, now, track))

    def end_call(self, server: int, now: int) -> None:
        """The innermost call of this server is over; 0: the request to the host, if that is the innermost."""
        servers = [call.server for call in self.calls]
        if server not in (servers if server else servers[-1:]):
            return  # it began before the trace
        while (ended := self._end_innermost(now)) != server:
            assert ended is not None

    def end_calls(self, now: int) -> None:
        """All calls are over."""
        while self.calls:
            self._end_innermost(now)

    def _end_innermost(self, now: int) -> int:
        call = self.calls.pop()
        if self.deeds is None:
            self.deeds = self.writer.track(self.group, "calls", "call")
        details = {"server": call.server} if call.server else {}
        self.writer.slice(self.deeds, call.name, call.start, now, **details)
        if call.track is not None:  # a ns later: at the start of a slice, viewers differ on what is there
            self.writer.arrow(self.deeds, call.track, call.name, call.start + 1)
        return call.server
