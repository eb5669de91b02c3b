"""The device's system calls with everything that a program can get wrong, or means to."""

import os
import re

import pytest
from tests.guest.test_linux import SETTLE
from tests.support.linux import Ran, enclave_program, host_program, run

SOAK = bool(os.environ.get("PENGLAI_SOAK"))
ROUNDS = 20_000 if SOAK else 1000
PROCESSES, THREADS = 3, 3
ENCLAVES = ("value", "spin", "fault", "spinner")

pytestmark = [pytest.mark.linux, pytest.mark.timeout(1200)]

COMPLAINT = re.compile(r"WARNING|BUG|INFO: |possible|Call Trace|KASAN|Oops|Unable to handle|unreferenced")


def fuzz(seed: int, harts: int, rounds: int, **more: str) -> Ran:
    """Fuzz; then the module can be taken out, all memory is back, and a fresh one works."""
    files = {"fuzz-ioctl": host_program("fuzz-ioctl", "device")}
    files |= {name: enclave_program(name) for name in ENCLAVES}
    commands = f"""{SETTLE}
    ./host hello-world > out; rmmod penglai; before=$(free); sh install.sh
    ./fuzz-ioctl {seed} {PROCESSES} {THREADS} {rounds} {" ".join(ENCLAVES)} || exit 1
    rmmod penglai || exit 2
    settle $before || exit 3
    sh install.sh && ./host hello-world || exit 4
    echo "log:"; dmesg
    """
    return run(commands, files, harts=harts, **more)


def check(ran: Ran, rounds: int) -> None:
    output, _, log = ran.output.partition("log:")
    assert not COMPLAINT.search(log), log
    assert ran.status == 0, ran.output
    found = re.search(r"fuzz-ioctl: (\d+) calls, (\d+) done, 0 bad", output)
    assert found, output
    assert int(found[1]) == PROCESSES * THREADS * rounds
    assert int(found[2]) > rounds // 20, "some of it is good for something"
    assert "hello world!" in output


@pytest.mark.parametrize("harts", [1, 2])
def test_no_system_call_harms_the_kernel(harts: int):
    check(fuzz(harts, harts, ROUNDS), ROUNDS)


@pytest.mark.debug
def test_the_kernels_own_checks_find_nothing():
    check(fuzz(7, 2, ROUNDS // 4, variant="debug", memory="1G"), ROUNDS // 4)
