"""Linux for programs and their tests: boot once, run commands, get what they wrote and how they ended.

Commands and their results are files in a directory that machine and guest share; on the console go only the
numbers of commands that are to begin or have ended.  So output is exact, and is there when a command hangs.
"""

import contextlib
import itertools
import os
import re
import shutil
import tempfile
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import TracebackType
from typing import NamedTuple, Self

from penglai.abi.errors import MachineError, StateError, WaitTimeoutError
from penglai.abi.timeout import checked_timeout
from penglai.guest.boot import Boot
from penglai.guest.image.current import Image
from penglai.guest.linux import LinuxGuest
from penglai.guest.sharing import Share
from penglai.guest.terminal import READY

RUNS_TAG = "penglai-runs"
RUNS = "/run/penglai"
"""Where the guest has the directory of commands and results."""

PATIENCE = 60.0
"""Seconds in which a command, and Linux itself, should be done."""

AGENT = rf"""
mkdir -p {RUNS} && mount -t 9p -o trans=virtio,version=9p2000.L,msize=131072 {RUNS_TAG} {RUNS} || exit 1
stty -isig
begin() {{
    setsid sh -c 'echo $$ > {RUNS}/'$1'.pid; exec sh {RUNS}/'$1'.sh' \
        < {RUNS}/$1.in > {RUNS}/$1.out 2>&1
    echo $? > {RUNS}/$1.status
    echo "ended $1"
}}
echo "ended 0"
while read -r what number; do
    case $what in
    begin) begin $number & ;;
    kill)
        until [ -s {RUNS}/$number.pid ] || [ -s {RUNS}/$number.status ]; do :; done
        pkill -9 -s $(cat {RUNS}/$number.pid) ;;
    esac
done
"""
"""What runs in the guest: a command in a session of its own, which can be killed as a whole."""

DRIVER = "sh install.sh"


class Ran(NamedTuple):
    """How a command ended.

    status: as a shell has it, 128 + the number for a signal.  output: what it wrote, on standard error too.
    """

    status: int
    output: str


class Line:
    """The console between us and the agent (machine.services.ConsolePort): whole lines."""

    size = (80, 24)

    def __init__(self) -> None:
        self.changed = threading.Condition()
        self.written = bytearray()
        self._typed = bytearray()
        self.ended: set[int] = set()
        """Numbers of commands that have ended; 0: the agent is there."""

    def write(self, data: bytes) -> None:
        """The guest has written something."""
        with self.changed:
            start = self.written.rfind(b"\n") + 1
            self.written += data
            lines = self.written[start : self.written.rfind(b"\n") + 1]
            self.ended.update(
                int(number) for number in re.findall(rb"^\x1e?ended (\d+)$", lines, re.MULTILINE)
            )
            self.changed.notify_all()

    def read(self, limit: int) -> bytes:
        with self.changed:
            data = bytes(self._typed[:limit])
            del self._typed[:limit]
            return data

    @property
    def waiting(self) -> bool:
        return bool(self._typed)

    def type(self, text: str) -> None:
        """Type a line for the agent."""
        with self.changed:
            self._typed += text.encode(errors="surrogateescape") + b"\n"


class Linux:
    """A machine with Linux as its host, booted.

    files: entries of SDK_FILES (paths of yours, NAME=PATH, names of what is shipped) that are put into /
    beside those of the image.  share: the directory that is /share in it; by default a fresh one that goes
    with the machine.  memory, harts: of the machine.  driver: whether penglai.ko is loaded.  append: more for
    the kernel's command line.  image: by default the one that was built last; if there is none it is built,
    which takes minutes.  timeout: seconds for Linux to be there; None: for ever.

    A context manager; leaving it switches the machine off.  Several threads may run commands at once.

    Raises what LinuxGuest and Boot raise, MachineError if Linux does not come up.
    """

    def __init__(
        self,
        files: Sequence[str | os.PathLike[str]] = (),
        *,
        share: str | os.PathLike[str] | None = None,
        memory: int | str = "256M",
        harts: int = 2,
        driver: bool = True,
        append: str = "",
        image: Image | None = None,
        timeout: float | None = PATIENCE,
    ) -> None:
        patience = checked_timeout(timeout)
        entries = tuple(os.fspath(file) for file in files)
        plan = Boot(image=image, append=append, files=entries, commands=AGENT, plain=True)
        software = plan.software()
        self._line = Line()
        self._numbers = itertools.count(1)
        with contextlib.ExitStack() as stack:
            self._runs = Path(stack.enter_context(_directory("penglai-runs-")))
            self.share = Path(share or stack.enter_context(_directory("penglai-share-")))
            """The directory that is /share in the guest."""
            shares = [Share(self._runs, RUNS_TAG), Share(self.share)]
            self._guest = LinuxGuest(software, self._line, memory, harts, shares=shares)
            stack.enter_context(self._guest)
            self._guest.start()
            threading.Thread(target=self._watch, name="penglai-watch", daemon=True).start()
            self._wait(0, patience, "Linux has not come up")
            if driver:
                self._load_driver(patience)
            self._stack = stack.pop_all()

    def run(
        self,
        command: str,
        *,
        input: str | bytes = b"",  # noqa: A002 - subprocess.run's name for it
        timeout: float | None = PATIENCE,
    ) -> Ran:
        """Run a shell command in / to its end; its status and output.

        input: what it reads.  timeout: seconds after which it is killed; None: never.

        Raises WaitTimeoutError, with what it had written, MachineError if the machine has ended meanwhile,
        StateError if it was closed.
        """
        seconds = checked_timeout(timeout)
        if self._guest.done:
            raise StateError("the machine is off")
        number = next(self._numbers)
        self._write(number, "sh", command.encode(errors="surrogateescape") + b"\n")
        self._write(number, "in", input.encode() if isinstance(input, str) else input)
        self._type(f"begin {number}")
        try:
            self._wait(number, seconds, f"{command!r} was still running")
        except WaitTimeoutError as error:
            self._type(f"kill {number}")
            self._wait(number, PATIENCE, f"{command!r} could not be killed")
            ran = self._result(number)
            raise WaitTimeoutError(f"{error}, and was killed; it had written:\n{ran.output}") from None
        return self._result(number)

    @property
    def console(self) -> str:
        """What the kernel and the agent have written on the console."""
        return self._line.written.decode("utf-8", "replace").replace(chr(READY), "")

    @property
    def guest(self) -> LinuxGuest:
        """The machine below, for those who examine it: its memory and its monitor."""
        return self._guest

    def close(self) -> None:
        """Switch the machine off.  More than once does nothing."""
        self._stack.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"<Linux {'off' if self._guest.done else 'on'} {self._guest.memory.size >> 20} MiB>"

    # ---- the way to the agent ------------------------------------------------------------------

    def _load_driver(self, timeout: float | None) -> None:
        ran = self.run(DRIVER, timeout=timeout)
        if ran.status:
            raise MachineError(f"penglai.ko could not be loaded: {ran.output}")

    def _watch(self) -> None:
        """Tell whoever waits for a command that the machine has ended."""
        with contextlib.suppress(MachineError):
            self._guest.wait()
        with self._line.changed:
            self._line.changed.notify_all()

    def _type(self, text: str) -> None:
        self._line.type(text)
        self._guest.system.request()

    def _wait(self, number: int, timeout: float | None, what: str) -> None:
        """Until a command has ended.  Raises WaitTimeoutError, or MachineError if it never will."""
        line = self._line
        with line.changed:
            if not line.changed.wait_for(lambda: number in line.ended or self._guest.done, timeout):
                raise WaitTimeoutError(f"{what} after {timeout:g} seconds")
            if number not in line.ended:
                raise MachineError(f"the machine has ended; its console: {self.console}")

    def _write(self, number: int, kind: str, content: bytes) -> None:
        (self._runs / f"{number}.{kind}").write_bytes(content)

    def _result(self, number: int) -> Ran:
        """What is in the files of a command, which are removed."""
        names = [f"{number}.{kind}" for kind in ("status", "out", "sh", "in", "pid")]
        status, output = ((self._runs / name).read_bytes().decode("utf-8", "replace") for name in names[:2])
        for name in names:
            (self._runs / name).unlink(missing_ok=True)
        return Ran(int(status), output)


@contextlib.contextmanager
def _directory(prefix: str) -> Iterator[str]:
    """A fresh directory that goes at the end."""
    path = tempfile.mkdtemp(prefix=prefix)
    try:
        yield path
    finally:
        shutil.rmtree(path, ignore_errors=True)
