"""Linux as the host: what is left of enclaves, and that it is nothing."""

import pytest
from tests.support.linux import Ran, enclave_program, host_program, run

pytestmark = pytest.mark.linux

ENCLAVES = ("spin", "value", "spinner", "calls-spinner")

SETTLE = """
# The least: what the kernel keeps at hand for a processor is not free, and not lost; it could be a chunk.
echo 1000000 > /proc/sys/vm/percpu_pagelist_high_fraction
free() { sync; echo 3 > /proc/sys/vm/drop_caches; awk '/^MemFree/ {print $2}' /proc/meminfo; }
settle() { # waits until memory is back, up to less than one chunk
    for i in $(seq 1000); do
        [ $(free) -gt $(($1 - 1900)) ] && return 0
        sleep 0.1
    done
    echo "free: $(free), not $1"; return 1
}
"""


def script(commands: str, programs: tuple[str, ...], enclaves: tuple[str, ...], **more: str | int) -> Ran:
    """Run shell commands, which have the functions of SETTLE and these of tests/guest/programs."""
    files = {name: host_program(name, "device") for name in programs}
    files |= {name: enclave_program(name) for name in enclaves}
    return run(SETTLE + commands, files, **more)


@pytest.mark.parametrize("harts", [1, 2])
def test_a_process_that_is_killed_leaves_nothing(harts: int):
    commands = f"""
    ./host hello-world >/dev/null; sleep 0.3
    before=$(free)
    for round in 1 2 3; do
        ./orphan {" ".join(ENCLAVES)} > out & pid=$!
        until grep -qs ready out; do sleep 0.02; done
        kill -9 $pid; wait $pid
        settle $before || exit 1
        rmmod penglai 2>/dev/null && exit 2 # its child still has the device open
        killall orphan
        until rmmod penglai 2>/dev/null; do sleep 0.02; done
        sh install.sh && ./host hello-world || exit 3
        rm out
    done
    """
    ran = script(commands, ("orphan",), ENCLAVES, harts=harts)
    assert ran.status == 0, (ran.status, ran.output)
    assert ran.output.count("hello world!") == 3


def test_a_module_that_goes_takes_everything_along():
    commands = """
    reload() { sh install.sh && ./host mem 4 > /dev/null && rmmod penglai || exit 1; }
    rmmod penglai; reload
    before=$(free)
    for round in 1 2 3 4 5 6 7 8 9 10; do reload; done
    settle $before
    """
    ran = script(commands, (), ())
    assert ran.status == 0, ran.output


@pytest.mark.parametrize("harts", [1, 2])
def test_relay_pages_that_an_enclave_gives_away_come_back_when_nobody_has_them(harts: int):
    commands = """
    ./astray giver keeper > out; cat out; rm out; rmmod penglai; sh install.sh
    before=$(free)
    for round in 1 2 3 4 5 6 7 8 9 10; do ./astray giver keeper > out; rmmod penglai; sh install.sh; done
    settle $before && dmesg
    """
    ran = script(commands, ("astray",), ("giver", "keeper"), harts=harts)
    assert ran.status == 0, ran.output
    assert ran.output.count(": ok") == 10, ran.output
    assert "wrong" not in ran.output
    assert "lost" not in ran.output


def test_without_memory_there_are_fewer_enclaves_and_a_clear_error():
    """Those that are there go on, and the next round finds as much as the one before."""
    ran = script("./hoard value 3 | grep created", ("hoard",), ("value",), memory="96M")
    first, *others = [int(line.split()[1].rstrip(",")) for line in ran.output.splitlines()]
    assert first > 10
    assert min(others) > 0.8 * first
    assert ran.output.count("Out of memory") == 3


def test_two_that_want_all_memory_both_come_to_an_end():
    commands = """
    ./hoard value 3 > one & ./hoard value 3 > two & wait
    grep created one two | wc -l; grep -c 'Out of memory' one two
    """
    ran = script(commands, ("hoard",), ("value",), memory="96M")
    assert ran.output == "6\none:3\ntwo:3\n"


def test_memory_that_is_in_pieces_is_taken_from_the_contiguous_area():
    """The page allocator has no 2 MiB in one piece left: CMA has."""
    commands = """
    mount -t tmpfs -o size=90% tmpfs /mnt
    dd if=/dev/zero of=/mnt/fill bs=1M count=120 2>/dev/null
    grep -E 'Normal|DMA32' /proc/buddyinfo
    ./host hello-world 3
    """
    ran = run(commands)
    assert ran.output.count("exited with value 0") == 3, ran.output
