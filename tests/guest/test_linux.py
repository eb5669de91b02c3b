"""Linux as the host: the tutorials, the life cycle, isolation, and what is left when a process is killed."""

import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
from tests.support import linux
from tests.support.linux import Ran, Recorder, enclave_program, host_program, kernel_module, run
from tests.support.programs import eapp
from tests.support.waiting import PATIENCE

from penglai.guest.linux import Guest
from penglai.machine.system import End

SOAK = bool(os.environ.get("PENGLAI_SOAK"))

pytestmark = [pytest.mark.linux, pytest.mark.timeout(1200)]

TUTORIALS = {
    "./test-stop loop": ["stop: ok", "resume: ok", "destroy: ok", "run: returned 0"],
    "./host hello-world": ["hello world!", "exited with value 0"],
    "./fork-host hello-world": ["hello world!", "exited with value 0"],
    "./test-caller caller server server1": ["my page says: served 1 times", "exited with value 101"],
    "./host relay-page": ["round 1: 4096 bytes", "round 2: 4096 bytes", "value 262656"],
    "./host mem 5": 5 * ["every byte was as it should be", "exited with value 0"],
    "./shadow hello-world 3": [*3 * ["hello world!"], "destroyed"],
    "./attest hello-world 42": ["nonce:        0x2a"],
}


@pytest.mark.parametrize("harts", [1, 2])
def test_the_tutorials_to_the_letter(harts: int):
    """One boot for all: each begins where the one before has left the machine."""
    commands = "\n".join(f"echo '== {tutorial}'; {tutorial} || exit 1" for tutorial in TUTORIALS)
    ran = run(commands, harts=harts)
    assert ran.status == 0, ran.output
    parts = re.split(r"^== .*\n", ran.output, flags=re.MULTILINE)[1:]
    for rest, (tutorial, expected) in zip(parts, TUTORIALS.items(), strict=True):
        for text in set(expected):
            assert rest.count(text) >= expected.count(text), tutorial


# ---- the life cycle ----------------------------------------------------------------------------

ENCLAVES = ("spin", "value", "fault", "spinner", "calls-spinner")


def conformance(harts: int, after: str = "", **more: str) -> Ran:
    files = {"conformance": host_program("conformance", "device")}
    files |= {name: enclave_program(name) for name in ENCLAVES}
    return run(f"./conformance {' '.join(ENCLAVES)} || exit 1\n{after}", files, harts=harts, **more)


def check_conformance(ran: Ran) -> None:
    lines = ran.output.splitlines()
    assert not [line for line in lines if line.startswith(("not ok", "Bail out"))], ran.output
    passed = sum(line.startswith("ok ") for line in lines)
    assert f"1..{passed}" in lines, ran.output
    assert passed > 50
    assert ran.status == 0


@pytest.mark.parametrize("harts", [1, 2, 3])
def test_every_call_in_every_state_and_what_failed_on_the_original(harts: int):
    check_conformance(conformance(harts))


@pytest.mark.debug
def test_the_kernels_own_checks_find_nothing():
    """Lock order, sleeping where one must not, use after free, leaks: the whole life cycle under all of them."""
    after = """
    rmmod penglai || exit 2
    sh install.sh && ./host hello-world && rmmod penglai || exit 3
    mount -t debugfs debugfs /sys/kernel/debug
    echo scan > /sys/kernel/debug/kmemleak
    echo "leaks:"; cat /sys/kernel/debug/kmemleak
    echo "log:"; dmesg
    """
    ran = conformance(2, variant="debug", memory="1G", after=after)
    check_conformance(ran)
    _, _, rest = ran.output.partition("leaks:")
    leaks, _, log = rest.partition("log:")
    assert "penglai" not in leaks, leaks
    assert not re.search(r"WARNING|BUG|INFO: |possible|unreferenced|Call Trace|KASAN", log), log


@pytest.mark.parametrize("harts", [1, 2])
def test_threads_that_do_everything_at_random(harts: int):
    files = {"stress": host_program("stress", "device")}
    files |= {name: enclave_program(name) for name in ("spin", "value")}
    rounds = 200 if SOAK else 15
    ran = run(
        f"./stress 8 {rounds} spin value > out; r=$?; grep -v '^# value' out; exit $r", files, harts=harts
    )
    assert (ran.status, ran.output) == (0, "stress: well\n")


# ---- what is left ------------------------------------------------------------------------------

SETTLE = """
settle() { # waits until no enclave has memory any more: MemFree is what it was, give or take the page cache
    for i in $(seq 100); do
        free=$(awk '/^MemFree/ {print $2}' /proc/meminfo)
        [ $free -gt $(($1 - 1024)) ] && return 0
        sleep 0.1
    done
    echo "free: $free, not $1"; return 1
}
free() { sync; echo 3 > /proc/sys/vm/drop_caches; awk '/^MemFree/ {print $2}' /proc/meminfo; }
"""


@pytest.mark.parametrize("harts", [1, 2])
def test_a_process_that_is_killed_leaves_nothing(harts: int):
    files = {"orphan": host_program("orphan", "device")}
    files |= {name: enclave_program(name) for name in ENCLAVES}
    commands = f"""{SETTLE}
    ./host hello-world >/dev/null; sleep 0.3
    before=$(free)
    for round in 1 2 3; do
        ./orphan spin value spinner calls-spinner > out & pid=$!
        until grep -q ready out; do sleep 0.02; done
        kill -9 $pid; wait $pid
        settle $before || exit 1
        rmmod penglai 2>/dev/null && exit 2 # its child still has the device open
        killall orphan
        until rmmod penglai 2>/dev/null; do sleep 0.02; done
        sh install.sh && ./host hello-world || exit 3
    done
    """
    ran = run(commands, files, harts=harts)
    assert ran.status == 0, ran.output
    assert ran.output.count("hello world!") == 3


def test_a_module_that_goes_takes_everything_along():
    commands = f"""{SETTLE}
    rmmod penglai; before=$(free)
    for round in 1 2 3 4 5; do
        sh install.sh && ./host mem 4 > /dev/null && rmmod penglai || exit 1
    done
    settle $before
    """
    ran = run(commands)
    assert ran.status == 0, ran.output


def test_without_memory_there_are_fewer_enclaves_and_a_clear_error():
    """Each of these has 16 MiB; the machine has room for some.  Those that are there go on."""
    source = {"large": large_enclave()}
    ran = run("./host large 20; echo status $?; ./host hello-world", source, memory="128M")
    assert "Cannot allocate memory" in ran.output
    assert ran.output.count("exited with value 16777216") >= 2
    assert "status 1" in ran.output
    assert ran.output.rpartition("status 1")[2].startswith("\nhello world!")


def large_enclave() -> Path:
    return eapp(
        "static char memory[16 << 20]; unsigned long n = 0;"
        "for (unsigned long i = 0; i < sizeof memory; i += 4096) memory[i] = 1;"
        "for (int i = 0; i < 50; i++) EAPP_YIELD();"
        "for (unsigned long i = 0; i < sizeof memory; i += 4096) n += 4096 * memory[i];"
        "EAPP_RETURN(n);"
    )


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


# ---- isolation ---------------------------------------------------------------------------------


@contextmanager
def shell(files: dict[str, Path], harts: int = 2) -> Iterator[tuple[Guest, Recorder]]:
    """A machine with a shell on its console."""
    console = Recorder()
    with Guest(linux.boot(None, files).software(), console, harts=harts) as guest:
        guest.start()
        console.wait_for("/ # ")
        yield guest, console


def secure_address(guest: Guest) -> int:
    """A page of a running enclave, found from inside the monitor's walls."""
    (enclave,) = guest.monitor.enclaves()
    return guest.memory.address_of(int(enclave.image[0]))


@pytest.mark.parametrize("harts", [1, 2])
def test_linux_cannot_touch_an_enclaves_page_by_any_mapping(harts: int):
    files = {"probe": host_program("probe"), "peek.ko": kernel_module("peek")}
    with shell(files, harts) as (guest, console):
        console.type(guest, "sh install.sh; ./host loop >out & until grep round out; do sleep 0.1; done\n")
        console.wait_for("round 1")
        address = secure_address(guest)
        before = guest.memory.read(address, 4096)
        assert np.frombuffer(before, dtype=np.uint8).any()
        console.type(guest, f"./probe {address:#x}; insmod peek.ko address={address:#x}; dmesg | grep peek:\n")
        console.type(guest, "echo done\n")
        console.wait_for("\ndone")
        text = console.text
        for way in ("read", "write"):
            assert f"{way}: Bad address" in text, text
        for way in ("load", "store"):
            assert f"{way}: Segmentation fault" in text, text
        for mapping in ("linear", "vmap", "ioremap"):
            for way in ("read", "write"):
                assert f"peek: {mapping}: {way} fault" in text, text
        assert guest.memory.read(address, 4096) == before
        console.type(guest, "killall host; sleep 0.5; echo over\n")
        console.wait_for("\nover")
        console.type(guest, f"./probe {address:#x}; echo free\n")
        console.wait_for("\nfree")
        assert "read: done" in console.text, "given back, the page is Linux's again"


# ---- the machine -------------------------------------------------------------------------------


def test_a_guest_ends_as_it_wants_to():
    for commands, end in (("poweroff -f", End.OFF), ("reboot -f", End.REBOOT), ("poweroff", End.OFF)):
        console = Recorder()
        with Guest(linux.boot(commands + "; sleep 1000").software(), console) as guest:
            guest.start()
            assert guest.wait(PATIENCE).end is end


def test_a_kernel_that_panics_ends_a_machine_that_runs_commands():
    console = Recorder()
    with Guest(linux.boot("echo c > /proc/sysrq-trigger; exec kill -9 1").software(), console) as guest:
        guest.start()
        outcome = guest.wait(PATIENCE)
        assert outcome.end in (End.REBOOT, End.STATUS)


@pytest.mark.soak
def test_many_boots_in_a_row():
    for _ in range(200 if SOAK else 20):
        assert run("./host hello-world").status == 0
