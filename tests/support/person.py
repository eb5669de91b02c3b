"""Somebody at a terminal."""

import fcntl
import os
import pty
import re
import subprocess
import sys
import termios
from pathlib import Path

import pexpect.fdpexpect

from tests.support.waiting import PATIENCE

PENGLAI = str(Path(sys.executable).with_name("penglai"))
PROMPT = "/ # "
"""Of a shell in the guest's /."""
SIZE = (37, 101)
"""Rows and columns of the terminal."""


class Person:
    """Somebody at a terminal who has typed a penglai command."""

    def __init__(self, environment: dict[str, str], *arguments: str) -> None:
        self.keyboard, self.terminal = pty.openpty()
        termios.tcsetwinsize(self.keyboard, SIZE)
        self.before = termios.tcgetattr(self.terminal)
        self.process = subprocess.Popen(
            [PENGLAI, *arguments],
            stdin=self.terminal,
            stdout=self.terminal,
            stderr=self.terminal,
            env=environment,
            start_new_session=True,
            preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0),  # noqa: PLW1509 - one call
        )
        self.screen = pexpect.fdpexpect.fdspawn(self.keyboard, timeout=PATIENCE, encoding="utf-8")

    def reads(self, *texts: str) -> str:
        """Wait for texts, one after the other; what was there before the last."""
        for text in texts:
            self.screen.expect_exact(text)
        return str(self.screen.before)

    def types(self, text: str) -> None:
        self.screen.send(text)

    def asks(self, command: str) -> str:
        """Type a command at the prompt; what it writes until the next one."""
        self.types(command + "\r")
        self.reads("\r\n")
        return self.reads(PROMPT)

    def sees_the_end(self, status: int) -> str:
        """The rest of what is shown; the terminal must be as it was before."""
        assert self.process.wait(PATIENCE) == status
        assert termios.tcgetattr(self.terminal) == self.before
        os.write(self.terminal, b"\0")
        return re.sub(r"\x1b\[[\d;]*m", "", self.reads("\0"))

    def close(self) -> None:
        self.process.kill()
        self.process.wait()
        os.close(self.terminal)
        os.close(self.keyboard)
