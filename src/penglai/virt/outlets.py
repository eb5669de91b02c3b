"""One terminal behind two consoles, the firmware's and a virtio one: what is typed is for the one in use."""

from penglai.virt.services import ConsolePort


class Outlet:
    """A console of the machine's on a terminal that it shares with others: see outlets()."""

    def __init__(self, terminal: ConsolePort, users: "list[Outlet]") -> None:
        self._terminal = terminal
        self._users = users

    def write(self, data: bytes) -> None:
        """Show bytes; from now on what is typed is for this one."""
        self._users[:] = [self]
        self._terminal.write(data)

    def read(self, limit: int) -> bytes:
        return self._terminal.read(limit) if self._users == [self] else b""

    @property
    def waiting(self) -> bool:
        return self._users == [self] and self._terminal.waiting

    @property
    def size(self) -> tuple[int, int]:
        return self._terminal.size


def outlets(terminal: ConsolePort, count: int) -> list[Outlet]:
    """Consoles on one terminal.  Input is for the one that wrote last: a system writes where it reads.

    A device cannot know whether anybody opened it, and would take away what is typed for another console.
    """
    users: list[Outlet] = []
    return [Outlet(terminal, users) for _ in range(count)]
