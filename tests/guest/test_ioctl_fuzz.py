"""The device's system calls with everything that a program can get wrong, or means to."""

import re

import pytest
from tests.guest.test_leftovers import SETTLE
from tests.support.linux import LEAKS, LOG, Ran, check_kernel, enclave_program, host_program, run
from tests.support.waiting import SOAK

ROUNDS = 20_000 if SOAK else 1000
PROCESSES, THREADS = 3, 3
ENCLAVES = ("value", "spin", "fault", "spinner")

pytestmark = pytest.mark.linux


def fuzz(seed: int, harts: int, rounds: int, before: str, after: str, **more: str | float) -> Ran:
    """Fuzz between other commands."""
    files = {"fuzz-ioctl": host_program("fuzz-ioctl", "device")}
    files |= {name: enclave_program(name) for name in ENCLAVES}
    command = f"./fuzz-ioctl {seed} {PROCESSES} {THREADS} {rounds} {' '.join(ENCLAVES)} || exit 1"
    commands = f"{SETTLE}\n./host hello-world || exit 9\n{before}\n{command}\n{after}{LOG}"
    return run(commands, files, harts=harts, **more)


def check(ran: Ran, rounds: int, *, leaks: bool = False) -> None:
    output = check_kernel(ran, leaks=leaks)
    assert ran.status == 0, ran.output
    found = re.search(r"fuzz-ioctl: (\d+) calls, (\d+) done, 0 bad", output)
    assert found, output
    assert int(found[1]) == PROCESSES * THREADS * rounds
    assert int(found[2]) > rounds // 20, "some of it is good for something"
    assert "hello world!" in output


@pytest.mark.parametrize("harts", [1, 2])
def test_no_system_call_harms_the_kernel(harts: int):
    """The module can be taken out, all memory is back, and it works when it is put in again."""
    before = "rmmod penglai; before=$(free); sh install.sh"
    after = """rmmod penglai || exit 2
    settle $before || exit 3
    sh install.sh && ./host hello-world || exit 4"""
    check(fuzz(harts, harts, ROUNDS, before, after), ROUNDS)


@pytest.mark.debug
def test_the_kernels_own_checks_find_nothing():
    """The module goes in once, as in the test of the life cycle."""
    after = f"./host hello-world && rmmod penglai || exit 2\n{LEAKS}"
    ran = fuzz(7, 2, ROUNDS // 10, "", after, variant="debug", memory="1G")
    check(ran, ROUNDS // 10, leaks=True)
