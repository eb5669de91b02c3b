"""Two consoles on one terminal: what is typed reaches the one that is used, whoever asks first."""

import pytest

from penglai.virt.outlets import outlets


class Typist:
    """A terminal where something was typed."""

    size = (132, 50)

    def __init__(self, typed: bytes) -> None:
        self.typed = typed
        self.shown = b""

    def write(self, data: bytes) -> None:
        self.shown += data

    def read(self, limit: int) -> bytes:
        data, self.typed = self.typed[:limit], self.typed[limit:]
        return data

    @property
    def waiting(self) -> bool:
        return bool(self.typed)


@pytest.mark.parametrize("used", [0, 1])
def test_what_is_typed_is_for_the_console_that_was_written_to_last(used: int):
    terminal = Typist(b"ls")
    consoles = outlets(terminal, 2)
    user, other = consoles[used], consoles[1 - used]
    other.write(b"booting ")
    user.write(b"# ")
    assert terminal.shown == b"booting # "
    assert not other.waiting
    assert other.read(10) == b""
    assert user.waiting
    assert (user.read(1), user.read(10)) == (b"l", b"s")
    assert not user.waiting


def test_before_anybody_has_written_nobody_reads():
    terminal = Typist(b"early")
    consoles = outlets(terminal, 2)
    assert not any(console.waiting or console.read(1) for console in consoles)
    assert terminal.typed == b"early"
    assert consoles[0].size == (132, 50)
