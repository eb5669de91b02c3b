"""What gdb asks, and what it is answered: one target, over one connection.

It knows no sockets: `request` takes a packet, and `answer` of the constructor sends what there is to say.
"""

import re
from collections.abc import Callable
from threading import Condition
from typing import Protocol

from penglai.debug.packets import MOST_BYTES, escaped, unescaped
from penglai.debug.registers import COUNT, TARGET_XML, get, put, width
from penglai.debug.target import MOST_BREAKPOINTS, Signal
from penglai.machine.context import Context

UNKNOWN, FINE = b"", b"OK"
"""An empty answer says that there is no such request."""
MALFORMED, NOT_NOW, NO_MEMORY, TOO_MANY = b"E01", b"E02", b"E0e", b"E0c"
MOST_READ = (MOST_BYTES - 16) // 2
FEATURES = b"PacketSize=%x;qXfer:features:read+;QStartNoAckMode+;vContSupported+" % MOST_BYTES
HEX = "([0-9a-fA-F]{1,16})"

Handler = Callable[["Stub", str, bytes], bytes | None]
"""(stub, what follows the request's name as text, the same as bytes) -> the answer; None: it comes later."""


class Debuggable(Protocol):
    """What a stub debugs.  All of it is under the lock, but for what only reads."""

    halted: bool
    attended: bool
    breakpoints: set[int]

    @property
    def alive(self) -> bool:
        """Whether it has not ended."""

    @property
    def context(self) -> Context:
        """Its registers; exact while it is halted."""

    @property
    def thread(self) -> int:
        """What gdb calls it."""

    @property
    def title(self) -> str:
        """What it is, for people."""

    def halt(self) -> None:
        """Stop it wherever it is."""

    def resume(self, *, step: bool, deliver: bool) -> None:
        """Let it run, or one instruction of it; with deliver it gets what it was stopped for."""

    def read(self, address: int, size: int) -> bytes:
        """What is at an address, as far as there is something."""

    def write(self, address: int, data: bytes) -> bool:
        """Write it all, or nothing and False."""


class Malformed(Exception):  # noqa: N818 - the peer's mistake
    """A request that is none."""


class Stub:
    """gdb's side of a target.

    lock: the target's.  answer: sends a packet.  kill: ends it.  attached: gdb leaves it alive when it quits.
    Every method is called on one thread; what happens to the target meanwhile comes by `stopped` and `ended`.
    """

    def __init__(
        self,
        lock: Condition,
        target: Debuggable,
        answer: Callable[[bytes], None],
        kill: Callable[[], None],
        *,
        attached: bool,
    ) -> None:
        self.lock = lock
        self.target = target
        self.attached = attached
        self.over = False
        """True if the connection has nothing more to say."""
        self.acknowledges = True
        """Whether each packet is acknowledged, as it is at first."""
        self.kill = kill
        self._answer = answer
        self._waiting = self._interrupted = False
        self._last = b"T%02xthread:%x;" % (Signal.TRAP, target.thread)
        self._end: bytes | None = None

    @property
    def thread(self) -> bytes:
        """How gdb calls the target, which is one thread."""
        return b"%x" % self.target.thread

    def request(self, packet: bytes) -> None:
        """Answer a packet."""
        text = packet.decode("latin-1")
        name, handler = next(
            ((name, handler) for name, handler in REQUESTS if _begins(text, name)), ("", None)
        )
        if handler is None:
            self._answer(UNKNOWN)
            return
        try:
            answer = handler(self, text[len(name) :], packet[len(name) :])
        except Malformed:
            answer = MALFORMED
        if answer is not None:
            self._answer(answer)

    def interrupt(self) -> None:
        """Ctrl-C in gdb.  One that crosses a stop on its way is for the next time that it runs."""
        with self.lock:
            self._interrupted = self.target.halted
            if self._end is None:
                self.target.halt()

    def stopped(self, signal: Signal) -> None:
        """The enclave has stopped."""
        self._say(b"T%02xthread:%s;" % (signal, self.thread))

    def ended(self, how: bytes) -> None:
        """The enclave has ended.  how: as the protocol has it, W and the value or X and a signal."""
        self._end = how
        self._say(how)

    def _say(self, what: bytes) -> None:
        self._last = what
        if self._waiting:
            self._waiting = False
            self.over = self._end is not None
            self._answer(what)

    # ---- running ---------------------------------------------------------------------------------

    def resume(self, *, step: bool, deliver: bool) -> bytes | None:
        """Let it go on; gdb waits for the next stop."""
        if self._end is not None:
            self.over = True
            return self._end
        with self.lock:
            if not self.target.halted:
                return NOT_NOW
            interrupted, self._interrupted = self._interrupted, False
            if interrupted:
                self._last = b"T%02xthread:%s;" % (Signal.INT, self.thread)
                return self._last
            self._waiting = True
            self.target.resume(step=step, deliver=deliver)
            self.lock.notify_all()
        return None

    def check_halted(self) -> bool:
        """Whether registers and memory are there to be looked at."""
        return self.target.halted and self.target.alive and self._end is None

    @property
    def last(self) -> bytes:
        """Why it stopped last."""
        return self._last

    def read_all_memory(self, address: int, size: int) -> bytes:
        """What can be read there, at most as much as fits in an answer."""
        return self.target.read(address, min(size, MOST_READ))


def _begins(text: str, name: str) -> bool:
    return text == name if name in WHOLE else text.startswith(name)


def _numbers(pattern: str, text: str) -> tuple[int, ...]:
    found = re.fullmatch(pattern, text, re.DOTALL)
    if found is None:
        raise Malformed
    return tuple(int(each, 16) for each in found.groups())


def _hex(text: str) -> bytes:
    if not re.fullmatch("(?:[0-9a-fA-F]{2})*", text):
        raise Malformed
    return bytes.fromhex(text)


# ---- requests ------------------------------------------------------------------------------------


def _supported(_stub: Stub, _text: str, _raw: bytes) -> bytes:
    return FEATURES


def _no_acknowledgements(stub: Stub, _text: str, _raw: bytes) -> bytes:
    stub.acknowledges = False
    return FINE


def _why(stub: Stub, _text: str, _raw: bytes) -> bytes | None:
    if not stub.target.halted and stub.last[:1] == b"T":
        with stub.lock:
            stub.target.halt()
    return stub.last


def _registers(stub: Stub, _text: str, _raw: bytes) -> bytes:
    if not stub.check_halted():
        return NOT_NOW
    context = stub.target.context
    return b"".join(get(context, number) for number in range(COUNT)).hex().encode()


def _set_registers(stub: Stub, text: str, _raw: bytes) -> bytes:
    data = _hex(text)
    if len(data) != sum(map(width, range(COUNT))):
        raise Malformed
    if not stub.check_halted():
        return NOT_NOW
    at = 0
    for number in range(COUNT - 1):  # fcsr is its parts once more
        put(stub.target.context, number, data[at : at + width(number)])
        at += width(number)
    return FINE


def _register(stub: Stub, text: str, _raw: bytes) -> bytes:
    (number,) = _numbers(HEX, text)
    if number >= COUNT:
        raise Malformed
    return get(stub.target.context, number).hex().encode() if stub.check_halted() else NOT_NOW


def _set_register(stub: Stub, text: str, _raw: bytes) -> bytes:
    name, _, value = text.partition("=")
    (number,), data = _numbers(HEX, name), _hex(value)
    if number >= COUNT or len(data) != width(number):
        raise Malformed
    if not stub.check_halted():
        return NOT_NOW
    put(stub.target.context, number, data)
    return FINE


def _read(stub: Stub, text: str, _raw: bytes) -> bytes:
    address, size = _numbers(f"{HEX},{HEX}", text)
    if not stub.check_halted():
        return NOT_NOW
    found = stub.read_all_memory(address, size)
    return found.hex().encode() if found or not size else NO_MEMORY


def _write(stub: Stub, text: str, _raw: bytes) -> bytes:
    place, _, data = text.partition(":")
    return _store(stub, place, _hex(data))


def _write_raw(stub: Stub, text: str, raw: bytes) -> bytes:
    place, _, _ = text.partition(":")
    return _store(stub, place, unescaped(raw.partition(b":")[2]))


def _store(stub: Stub, place: str, data: bytes) -> bytes:
    address, size = _numbers(f"{HEX},{HEX}", place)
    if size != len(data):
        raise Malformed
    if not stub.check_halted():
        return NOT_NOW
    return FINE if stub.target.write(address, data) else NO_MEMORY


def _insert(stub: Stub, text: str, _raw: bytes) -> bytes:
    """Of both kinds alike: nothing is written into memory."""
    address, _ = _numbers(f",{HEX},{HEX}", text)
    with stub.lock:
        if len(stub.target.breakpoints) >= MOST_BREAKPOINTS:
            return TOO_MANY
        stub.target.breakpoints.add(address)
    return FINE


def _remove(stub: Stub, text: str, _raw: bytes) -> bytes:
    address, _ = _numbers(f",{HEX},{HEX}", text)
    with stub.lock:
        stub.target.breakpoints.discard(address)
    return FINE


def _actions(_stub: Stub, _text: str, _raw: bytes) -> bytes:
    return b"vCont;c;C;s;S"


def _continue_with(stub: Stub, text: str, _raw: bytes) -> bytes | None:
    """The first action that is for our thread: actions are separated by ; and have a thread behind a :."""
    mine = {"", "-1", "0", stub.thread.decode()}
    for action in text.split(";"):
        kind, _, thread = action.partition(":")
        if thread in mine:
            if not re.fullmatch("[cs]|[CS][0-9a-fA-F]{2}", kind):
                raise Malformed
            return stub.resume(step=kind[0] in "sS", deliver=kind[0] in "CS")
    raise Malformed


def _resume(letter: str) -> Handler:
    def resume(stub: Stub, text: str, _raw: bytes) -> bytes | None:
        if not re.fullmatch("[0-9a-fA-F]{2}" if letter in "CS" else "", text):
            raise Malformed  # it may end with an address to go on from, which no gdb of today sends
        return stub.resume(step=letter in "sS", deliver=letter in "CS")

    return resume


def _detach(stub: Stub, _text: str, _raw: bytes) -> bytes:
    stub.over = True
    return FINE


def _kill(stub: Stub, text: str, _raw: bytes) -> bytes | None:
    stub.over = True
    stub.kill()
    return FINE if text else None  # k has no answer, vKill;PID has


def _features(_stub: Stub, text: str, _raw: bytes) -> bytes:
    offset, size = _numbers(f"{HEX},{HEX}", text)
    part = TARGET_XML[offset : offset + min(size, MOST_READ)]
    return (b"m" if offset + len(part) < len(TARGET_XML) else b"l") + escaped(part)


def _threads(stub: Stub, _text: str, _raw: bytes) -> bytes:
    return b"m" + stub.thread


def _no_more_threads(_stub: Stub, _text: str, _raw: bytes) -> bytes:
    return b"l"


def _about_thread(stub: Stub, _text: str, _raw: bytes) -> bytes:
    return stub.target.title.encode().hex().encode()


def _current_thread(stub: Stub, _text: str, _raw: bytes) -> bytes:
    return b"QC" + stub.thread


def _was_attached(stub: Stub, _text: str, _raw: bytes) -> bytes:
    return b"1" if stub.attached else b"0"


def _fine(_stub: Stub, _text: str, _raw: bytes) -> bytes:
    return FINE


REQUESTS: tuple[tuple[str, Handler], ...] = (
    ("qSupported", _supported),
    ("QStartNoAckMode", _no_acknowledgements),
    ("qXfer:features:read:target.xml:", _features),
    ("qfThreadInfo", _threads),
    ("qsThreadInfo", _no_more_threads),
    ("qThreadExtraInfo", _about_thread),
    ("qC", _current_thread),
    ("qAttached", _was_attached),
    ("vCont?", _actions),
    ("vCont;", _continue_with),
    ("vKill;", _kill),
    ("?", _why),
    ("H", _fine),
    ("T", _fine),
    ("g", _registers),
    ("G", _set_registers),
    ("p", _register),
    ("P", _set_register),
    ("m", _read),
    ("M", _write),
    ("X", _write_raw),
    ("Z0", _insert),
    ("Z1", _insert),
    ("z0", _remove),
    ("z1", _remove),
    *((letter, _resume(letter)) for letter in "csCS"),
    ("D", _detach),
    ("k", _kill),
)
"""By how a packet begins; the first that fits.  Watchpoints are not among them: the engine has none."""

WHOLE = {"qC", "?", "g", "k"}
"""Requests with nothing behind their name: qCRC, for one, is another."""
