"""Linux as the host, again and again: boots, and the tutorials in one boot, with memory as at the start.

The default run does a part; `make soak` does the whole: 200 boots, and an hour of tutorials.
"""

import psutil
import pytest
from tests.guest.test_leftovers import SETTLE
from tests.support.linux import run
from tests.support.waiting import HOUR, SOAK

pytestmark = [pytest.mark.linux, pytest.mark.soak]

TUTORIALS = """
all() {
    ./test-stop loop && ./host hello-world 3 && ./fork-host hello-world && ./host relay-page &&
    ./test-caller caller server server1 && ./host mem 5 && ./shadow hello-world 3 && ./attest prime
}
"""


def test_many_boots_in_a_row():
    for _ in range(200 if SOAK else 20):
        assert run("./host hello-world").status == 0


@pytest.mark.parametrize("harts", [1, 2])
def test_the_tutorials_in_a_loop(harts: int):
    enough = f"[ $(($(date +%s) - began)) -gt {HOUR / 2:.0f} ]" if SOAK else "[ $rounds = 5 ]"
    commands = f"""
    all > first || exit 1
    dmesg -c > /dev/null
    before=$(free) rounds=0 began=$(date +%s)
    until {enough}; do
        all > last || {{ cat last; exit 2; }}
        rounds=$((rounds + 1))
    done
    settle $before || exit 3
    dmesg | grep -v drop_caches
    echo "rounds: $rounds"
    """
    before = psutil.Process().memory_info().rss
    ran = run(SETTLE + TUTORIALS + commands, harts=harts)
    assert ran.status == 0, (ran.status, ran.output)
    assert ran.output.startswith("rounds: "), ran.output
    grown = psutil.Process().memory_info().rss - before
    assert grown < 800 << 20, "the guest's memory, and translated code, which is bounded"
