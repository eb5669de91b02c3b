"""kill -9 at any moment leaves the state directory usable."""

import contextlib
import os
import signal
import subprocess
import sys
import tempfile
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from types import FrameType
from typing import Any

import penglai.driver.disk
import penglai.machine.store
from penglai.driver.disk import FileDisk
from penglai.machine.store import Store
from penglai.monitor.keys import Keys
from tests.attack.tally import Effort, Tally

TITLE = "kill -9 at each line that writes the state directory, and at random moments of a machine"

FILES = (penglai.machine.store.__file__, penglai.driver.disk.__file__)
SECTOR = b"s" * 512

WORK = """
import penglai
with penglai.Machine("16M", 1) as machine:
    print("ready", flush=True)
    while True:
        enclave = machine.create("hello-world")
        enclave.attest(1)
        enclave.run()
"""


def attack(effort: Effort) -> Tally:
    """Children are killed; what they leave is used."""
    tally = Tally()
    step = 1 if effort.long else max(1, round(10 / effort.scale))
    at = effort.seed % step - step + 1
    killed = True
    while killed:
        at += step
        with tally.case(("killed at line", at)), tempfile.TemporaryDirectory() as name:
            killed = False
            killed = in_child(lambda name=name, at=at: first_boot(Path(name), at)) == -signal.SIGKILL
            assert in_child(lambda name=name: later_boot(Path(name))) == 0, "what it left cannot be used"
    tally.notes.append(f"{tally.tried - 1} lines" + (f", every {step}th" if step > 1 else ", all"))
    moments = effort.count(2, 100)
    for number in range(moments):
        with tally.case(("killed at a random moment", number)), tempfile.TemporaryDirectory() as name:
            kill_machine(name, effort.random("kill", number).uniform(0, 0.2))
    tally.notes.append(f"{moments} random moments")
    return tally


def in_child(work: Callable[[], None]) -> int:
    """Exit status of work in a process of its own; negative: the signal that ended it."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # other threads: the child asks nothing of them
        child = os.fork()
    if child == 0:
        status = 1
        with contextlib.suppress(BaseException):
            work()
            status = 0
        os._exit(status)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def first_boot(directory: Path, at: int) -> None:
    """The first boot of a device, killed at the at-th line that has to do with its storage."""
    count = 0

    def trace(frame: FrameType, event: str, _argument: object) -> Any:
        nonlocal count
        if event == "line" and frame.f_code.co_filename in FILES:
            count += 1
            if count == at:
                os.kill(os.getpid(), signal.SIGKILL)
        return trace

    sys.settrace(trace)
    use(directory)
    sys.settrace(None)


def use(directory: Path) -> bytes:
    """What uses the whole state directory; the device's key."""
    keys, disk = Keys(Store(directory)), FileDisk(directory / "disk.img")
    keys.report(bytes(32), 1)
    keys.derive(1, bytes(32), 32)
    assert disk.read(3) is not None
    assert disk.write(3, SECTOR)
    assert disk.read(3) == SECTOR
    return keys.device_key


def later_boot(directory: Path) -> None:
    """Works, and the device remains the same."""
    assert use(directory) == use(directory)


def kill_machine(directory: str, after: float) -> None:
    """A whole machine at work, killed; the next one is the same device."""
    environment = {**os.environ, "PENGLAI_STATE": directory}
    with subprocess.Popen([sys.executable, "-c", WORK], env=environment, stdout=subprocess.PIPE) as child:
        assert child.stdout is not None
        assert child.stdout.readline() == b"ready\n"
        time.sleep(after)  # the moment is meant to be any; nothing waits for it
        child.kill()
    assert in_child(lambda: later_boot(Path(directory))) == 0
