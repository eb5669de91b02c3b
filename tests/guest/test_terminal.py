"""The guest's console on file descriptors: raw on a terminal, plain on anything else."""

import os
import pty
import termios
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field

import pytest
from tests.support.waiting import PATIENCE, until

from penglai.guest.terminal import ENDS, MAX_LINE, READY, Terminal


@dataclass
class Plain:
    """A plain terminal on two pipes."""

    notified: int = 0
    left: int = 0
    source: tuple[int, int] = field(default_factory=os.pipe)
    target: tuple[int, int] = field(default_factory=os.pipe)

    our_init: bool = True

    def __post_init__(self) -> None:
        self.terminal = Terminal(
            interactive=False, our_init=self.our_init, source=self.source[0], target=self.target[1]
        )
        self.terminal.leave = self.leave

    def leave(self) -> None:
        self.left += 1

    def notify(self) -> None:
        self.notified += 1

    def shown(self) -> bytes:
        return os.read(self.target[0], 1 << 16)


@pytest.fixture
def plain() -> Iterator[Plain]:
    plain = Plain()
    yield plain
    for fd in (*plain.source, *plain.target):
        try:
            os.close(fd)
        except OSError:
            continue


def typed(terminal: Terminal, size: int) -> bytes:
    """The next bytes for the guest, once they are there."""
    data = b""

    def enough() -> bool:
        nonlocal data
        data += terminal.read(size - len(data))
        return len(data) == size

    until(enough)
    return data


def test_input_waits_until_the_guest_is_ready_for_it(plain: Plain):
    os.write(plain.source[1], b"early\n")
    with plain.terminal.attached(plain.notify):
        assert not plain.terminal.waiting
        plain.terminal.write(bytes([READY]) + b"prompt")
        assert plain.shown() == b"prompt", "the sign of readiness is for us alone"
        assert typed(plain.terminal, 6) == b"early\n"
        assert plain.notified


def test_what_is_written_before_the_sign_of_readiness_is_shown_and_opens_nothing(plain: Plain):
    os.write(plain.source[1], b"early\n")
    with plain.terminal.attached(plain.notify):
        plain.terminal.write(b"a warning of the kernel")
        assert plain.shown() == b"a warning of the kernel"
        plain.terminal.write(b"\n" + bytes([READY]))
        assert plain.shown() == b"\n"
        assert typed(plain.terminal, 6) == b"early\n"


def test_bytes_that_a_terminal_would_take_for_keys_are_typed_literally(plain: Plain):
    os.write(plain.source[1], b"a\x03b\x04\r\x16\n")
    plain.terminal.write(bytes([READY]))
    with plain.terminal.attached(plain.notify):
        assert typed(plain.terminal, 11) == b"a\x16\x03b\x16\x04\x16\r\x16\x16\n"


def test_a_long_line_is_handed_on_in_parts(plain: Plain):
    os.write(plain.source[1], b"x" * (MAX_LINE + 1) + b"\n")
    plain.terminal.write(bytes([READY]))
    with plain.terminal.attached(plain.notify):
        assert typed(plain.terminal, MAX_LINE + 3) == b"x" * MAX_LINE + b"\x04x\n"


def test_a_guest_that_knows_nothing_of_readiness_is_ready_when_it_writes(plain: Plain):
    plain = Plain(our_init=False)
    os.write(plain.source[1], b"early\n")
    with plain.terminal.attached(plain.notify):
        plain.terminal.write(b"login: ")
        assert plain.shown() == b"login: "
        assert typed(plain.terminal, 6) == b"early\n"


@pytest.mark.parametrize("text", [b"", b"line\n", b"half"])
def test_the_end_of_the_input_is_typed(plain: Plain, text: bytes):
    end = b"\x04" * ENDS
    os.write(plain.source[1], text)
    plain.terminal.write(bytes([READY]))
    with plain.terminal.attached(plain.notify):
        os.close(plain.source[1])
        assert typed(plain.terminal, len(text + end)) == text + end


def test_it_can_be_detached_while_it_waits(plain: Plain):
    with plain.terminal.attached(plain.notify):
        pass
    plain.terminal.write(bytes([READY]))
    with plain.terminal.attached(plain.notify):
        pass


def test_without_input_nothing_is_read(plain: Plain):
    plain.terminal = Terminal(
        interactive=False, take_input=False, source=plain.source[0], target=plain.target[1]
    )
    os.write(plain.source[1], b"not for the guest")
    plain.terminal.write(bytes([READY]))
    with plain.terminal.attached(plain.notify):
        pass
    assert os.read(plain.source[0], 100) == b"not for the guest"


def test_nobody_reads_the_output_any_more(plain: Plain):
    plain.target, (unread, write) = os.pipe(), plain.target
    os.close(unread)
    plain.terminal.write(b"lost")
    assert plain.left == 1
    plain.terminal.write(b"lost too")
    assert plain.left == 1
    os.close(write)


def test_output_that_nobody_takes_does_not_hold_up_the_end(plain: Plain):
    writer = threading.Thread(target=plain.terminal.write, args=(bytes(1 << 20),))
    with plain.terminal.attached(plain.notify):
        writer.start()
        assert plain.shown()
    writer.join(PATIENCE)
    assert not writer.is_alive()


def test_long_output_is_written_whole(plain: Plain):
    data = bytes(range(256)) * 128
    plain.terminal.write(bytes([READY]))
    plain.terminal.write(data)
    received = b""
    while len(received) < len(data):
        received += plain.shown()
    assert received == data


@dataclass
class Interactive:
    """A raw terminal on a pseudo-terminal; `person` is the other end."""

    person: int
    terminal: Terminal
    left: int = 0

    def leave(self) -> None:
        self.left += 1


@pytest.fixture
def interactive() -> Iterator[Interactive]:
    person, fd = pty.openpty()
    found = Interactive(person, Terminal(interactive=True, source=fd, target=fd))
    found.terminal.leave = found.leave
    yield found
    os.close(person)
    os.close(fd)


def test_every_key_goes_to_the_guest_and_the_terminal_is_as_before(interactive: Interactive):
    fd = interactive.terminal._source
    before = termios.tcgetattr(fd)
    with interactive.terminal.attached(lambda: None):
        assert termios.tcgetattr(fd) != before
        os.write(interactive.person, b"\x03\x04\x1a\r")
        assert typed(interactive.terminal, 4) == b"\x03\x04\x1a\r"
    assert termios.tcgetattr(fd) == before


def test_control_a_is_the_way_to_the_machine(interactive: Interactive):
    with interactive.terminal.attached(lambda: None):
        os.write(interactive.person, b"a\x01\x01b\x01ac\x01zd")
        assert typed(interactive.terminal, 6) == b"a\x01b\x01cd", "Ctrl-A twice, or with a, is Ctrl-A"
        os.write(interactive.person, b"\x01")
        os.write(interactive.person, b"h")
        assert b"switch the machine off" in os.read(interactive.person, 1000)
        os.write(interactive.person, b"\x01x")
        until(lambda: interactive.left == 1)


def test_the_terminals_size_is_the_guests():
    person, fd = pty.openpty()
    termios.tcsetwinsize(fd, (50, 132))
    assert Terminal(interactive=True, source=fd, target=fd).size == (132, 50)
    os.close(person)
    os.close(fd)
