"""What failed on the original system, one case for each: right here, and the machine goes on."""

import threading
from collections.abc import Callable

from penglai.abi.errors import ErrorCode
from penglai.abi.riscv import PAGE_SIZE
from penglai.abi.sbi import HostCall, ResumeReason, RunValue
from penglai.abi.state import State
from penglai.machine import Board, HostPort
from tests.attack.tally import Effort, Tally
from tests.support.rawhost import EXIT, FOREVER, RawHost, answering, calling
from tests.support.waiting import PATIENCE, until

TITLE = "each failure that was measured on the original system"

REFUSED, GONE = ErrorCode.GENERIC, ErrorCode.NO_SUCH_ENCLAVE
Case = Callable[["Site"], None]


class Site:
    """A board and what its tests need; afterwards the machine must still work."""

    def __init__(self) -> None:
        self.board = Board(16 << 20, 2)
        self.raw = RawHost(self.board)
        self.ports: list[HostPort] = [self.board.host_port(hart) for hart in self.board.harts]
        self.start = self.raw.snapshot()

    def call(self, function: HostCall, eid: int, *rest: int) -> int:
        return self.raw.call(function, eid, *rest).error

    def goes_on(self) -> None:
        """The next calls work, and everything that is destroyed comes back."""
        raw = self.raw
        assert raw.value_of(self.ports[0], f"li a0, 5\n{EXIT}") == 5
        for function in (HostCall.DESTROY, HostCall.DESTROY_SERVER, HostCall.DESTROY_SHADOW):
            for enclave in raw.monitor.enclaves():
                raw.call(function, enclave.eid)
        assert raw.snapshot() == self.start
        self.board.power_off()

    def running(self) -> tuple[int, threading.Thread]:
        """An enclave that executes on a hart of another thread."""
        raw = self.raw
        eid = raw.make(FOREVER)
        raw.start(eid)
        thread = threading.Thread(target=raw.enter, args=(eid, self.ports[1]))
        thread.start()
        until(lambda: raw.state(eid) is State.RUNNING)
        return eid, thread

    def end(self, eid: int, thread: threading.Thread) -> None:
        assert self.call(HostCall.DESTROY, eid) == 0
        thread.join(PATIENCE)
        assert not thread.is_alive(), "run returns after the destroy"

    def exited(self) -> int:
        eid = self.raw.make(EXIT)
        self.raw.start(eid)
        assert self.raw.enter(eid, self.ports[0]) == (0, RunValue.ENDED)
        return eid

    def calling_server(self) -> tuple[int, int]:
        """(caller, server): inside the call, preempted after the server has yielded."""
        yields = "li a6, 0x100101\nli a7, 89\necall\n"
        server = self.raw.make_server("server", f"mv s5, a0\n{yields}{answering('s5')}")
        caller = self.raw.make(calling("server", 7) + EXIT)
        self.raw.start(caller)
        assert self.raw.enter(caller, self.ports[0]) == (0, RunValue.YIELD)
        assert self.raw.state(server) is State.BUSY
        return caller, server


def _refused_stops(site: Site) -> None:
    raw = site.raw
    for make in (
        lambda: raw.make(FOREVER),
        lambda: raw.make_server("idle", FOREVER),
        lambda: raw.make_shadow(FOREVER),
        site.exited,
    ):
        eid = make()
        assert site.call(HostCall.STOP, eid) < 0
        assert site.call(HostCall.DEBUG_PRINT, 0) == 0, "the next monitor call returns"
        raw.make(EXIT)


def _stop_of_a_template(site: Site) -> None:
    raw = site.raw
    eid, thread = site.running()
    for shadow in [raw.make_shadow(FOREVER) for _ in range(4)]:
        assert site.call(HostCall.STOP, shadow) == REFUSED
        assert raw.state(eid) in (State.RUNNING, State.RUNNABLE), "an unrelated enclave is not stopped"
    site.end(eid, thread)


def _wrong_resumes(site: Site) -> None:
    raw = site.raw
    eid, thread = site.running()
    for other in (raw.make(FOREVER), eid, raw.make_server("s", FOREVER), raw.make_shadow(FOREVER)):
        assert site.call(HostCall.RESUME, other, ResumeReason.STOP) == REFUSED
    assert site.call(HostCall.STOP, eid) == 0
    thread.join(PATIENCE)
    assert site.call(HostCall.RESUME, eid, ResumeReason.STOP) == 0
    assert site.call(HostCall.RESUME, eid, ResumeReason.STOP) == REFUSED, "already resumed"
    raw.make(EXIT)


def _attest_of_a_stopped(site: Site) -> None:
    raw = site.raw
    eid, thread = site.running()
    page = raw.page()
    assert site.call(HostCall.ATTEST, eid, page, 1) == REFUSED
    assert site.call(HostCall.STOP, eid) == 0
    thread.join(PATIENCE)
    for _ in range(5):
        assert site.call(HostCall.ATTEST, eid, page, 1) == 0
    assert raw.memory.read(page, PAGE_SIZE) != bytes(PAGE_SIZE)
    assert site.call(HostCall.RESUME, eid, ResumeReason.STOP) == 0
    again = threading.Thread(target=raw.enter, args=(eid, site.ports[1]))
    again.start()
    until(lambda: raw.state(eid) is State.RUNNING)
    site.end(eid, again)


def _run_twice(site: Site) -> None:
    raw = site.raw
    eid, thread = site.running()
    for other in (eid, raw.make_server("s", FOREVER)):
        assert site.call(HostCall.RUN, other, raw.run_param()) == REFUSED
    site.end(eid, thread)


def _destroy_of_instances(site: Site) -> None:
    raw = site.raw
    shadow = raw.make_shadow(FOREVER)
    eid = raw.instance(shadow)
    thread = threading.Thread(target=raw.enter, args=(eid, site.ports[1]))
    thread.start()
    until(lambda: raw.state(eid) is State.RUNNING)
    site.end(eid, thread)
    assert site.call(HostCall.DESTROY, eid) == GONE
    ending = raw.make_shadow(EXIT)
    done = raw.instance(ending)
    assert raw.enter(done, site.ports[0]) == (0, RunValue.ENDED)
    assert site.call(HostCall.DESTROY, done) == GONE


def _stop_inside_a_server(site: Site) -> None:
    caller, server = site.calling_server()
    assert site.call(HostCall.STOP, caller) == 0
    assert site.call(HostCall.RESUME, caller, ResumeReason.STOP) == 0
    assert site.raw.enter(caller, site.ports[0]) == (0, RunValue.ENDED), "it went on inside the server"
    assert site.raw.state(server) is State.IDLE


def _destroy_inside_a_server(site: Site) -> None:
    caller, server = site.calling_server()
    assert site.call(HostCall.DESTROY, caller) == 0
    assert site.raw.enter(caller, site.ports[0]).error == GONE, "run returns"
    assert site.raw.state(server) is State.IDLE
    assert site.call(HostCall.DESTROY_SERVER, server) == 0


def _destroy_of_a_busy_server(site: Site) -> None:
    caller, server = site.calling_server()
    assert site.call(HostCall.DESTROY_SERVER, server) == REFUSED
    assert site.raw.enter(caller, site.ports[0]) == (0, RunValue.ENDED)
    assert site.call(HostCall.DESTROY_SERVER, server) == 0


def _441_creates(site: Site) -> None:
    for number in range(500):
        eid = site.raw.make(EXIT)
        if number % 2:
            site.raw.start(eid)
            assert site.raw.enter(eid, site.ports[0]) == (0, RunValue.ENDED)
        else:
            assert site.call(HostCall.DESTROY, eid) == 0
        site.raw.rewind()


def _returned_value(site: Site) -> None:
    raw = site.raw
    eid, thread = site.running()
    raw.memory.write(raw.words, bytes(40))
    site.end(eid, thread)
    assert raw.memory.read(raw.words, 40) == bytes(40), "a destroy returns no value and tells no address"


def _template_with_instance(site: Site) -> None:
    raw = site.raw
    shadow = raw.make_shadow(EXIT)
    eid = raw.instance(shadow)
    assert site.call(HostCall.DESTROY_SHADOW, shadow) == 0
    assert raw.enter(eid, site.ports[0]) == (0, RunValue.ENDED), "the instance goes on"


CASES: dict[str, Case] = {
    "stop of a fresh one, an idle server, a template, an exited one: the next call hung": _refused_stops,
    "stop of a template stopped an unrelated enclave": _stop_of_a_template,
    "resume of a fresh, running, resumed one, a server, a template: oops, later creates hung": _wrong_resumes,
    "attest of a stopped one: the thread in run died": _attest_of_a_stopped,
    "running one twice, running a server: oops": _run_twice,
    "destroying a running or an exited instance: oops": _destroy_of_instances,
    "stop of a caller inside a server: resume oopsed": _stop_inside_a_server,
    "destroy of a caller inside a server: run hung, destroying the server oopsed": _destroy_inside_a_server,
    "destroying a server that is called: refused, then oops": _destroy_of_a_busy_server,
    "the 441st create failed": _441_creates,
    "after a destroy the returned value held a kernel address": _returned_value,
    "destroying a template while an instance runs": _template_with_instance,
}


def attack(effort: Effort) -> Tally:
    """Each case, once."""
    tally = Tally()
    for name, case in CASES.items():
        with tally.case(name):
            site = Site()
            case(site)
            site.goes_on()
    return tally
