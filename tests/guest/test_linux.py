"""Linux as the host: the tutorials, the life cycle, and how the machine ends."""

import re
import subprocess
from pathlib import Path

import pytest
from tests.support import linux
from tests.support.elffile import SHOFF, Section, with_sections
from tests.support.linux import LEAKS, LOG, Ran, Recorder, check_kernel, enclave_program, host_program, run
from tests.support.programs import eapp
from tests.support.waiting import PATIENCE, SOAK

from penglai.guest.image.build import build_kernel
from penglai.guest.linux import LinuxGuest
from penglai.sdk.build import SDK
from penglai.sdk.hostbuild import host_demos
from penglai.virt.system import End

pytestmark = pytest.mark.linux

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


def test_the_module_limits_what_an_enclave_can_make_grow():
    commands = """
    sh install.sh && ./host greedy && rmmod penglai
    insmod penglai.ko limits=300,0,0,0,0 && sh install.sh && ./host greedy && rmmod penglai
    insmod penglai.ko limits=0,9 && sh install.sh && ./host greedy
    """
    ran = run(commands, {"greedy": enclave_program("greedy")}, memory="64M")
    assert ran.status == 0, ran.output
    values = [int(value) for value in re.findall(r"value (\d+)", ran.output)]
    assert values[0] > 1000
    assert 200 < values[1] < 300
    assert 0 < values[2] <= 9


def test_each_host_program_says_how_it_is_used():
    programs = host_demos()
    ran = run("\n".join(f"./{name}; echo status $?" for name in programs))
    *said, rest = ran.output.split("status 2\n")
    assert (len(said), rest) == (len(programs), ""), ran.output
    for name, text in zip(programs, said, strict=True):
        assert text.startswith(f"usage: {name} "), text


# ---- the life cycle ----------------------------------------------------------------------------

MODULE = SDK / "module"
ENCLAVES = ("spin", "value", "fault", "spinner", "calls-spinner")


def conformance(
    harts: int, others: dict[str, Path] | None = None, after: str = "", **more: str | float
) -> Ran:
    files = others or {}
    files |= {"conformance": host_program("conformance", "device")}
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
    """Lock order, sleep where there must be none, use after free, leaks: under all of them the life cycle.

    The module is not inserted again: this Linux leaves on RISC-V what KASAN knew of a module, and finds
    fault with the next one in its place; with CONFIG_KASAN_VMALLOC it frees pages that were never allocated.
    """
    programs = {name: host_program(name, "device") for name in ("astray", "instances", "stress")}
    enclaves = {name: enclave_program(name) for name in ("giver", "keeper", "quick")}
    after = """
    ./astray giver keeper > out && ! grep wrong out && ./instances quick 3 10 &&
        ./stress 4 3 spin value > out || exit 4
    rmmod penglai || exit 2
    """
    ran = conformance(2, programs | enclaves, variant="debug", memory="1G", after=after + LEAKS + LOG)
    check_conformance(ran)
    check_kernel(ran, leaks=True)


def test_the_driver_has_the_kernels_style():
    """The kernel's own script has nothing to say, not even under --strict."""
    script = build_kernel().tree / "scripts" / "checkpatch.pl"
    for source in (*MODULE.glob("*.c"), *MODULE.glob("*.h")):
        command = ["perl", script, "--no-tree", "--no-summary", "--terse", "--strict", "--file", source]
        done = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE, check=False)
        assert (done.returncode, done.stdout) == (0, ""), done.stderr


@pytest.mark.parametrize("harts", [1, 2])
def test_threads_that_do_everything_at_random(harts: int):
    files = {"stress": host_program("stress", "device")}
    files |= {name: enclave_program(name) for name in ("spin", "value")}
    rounds = 200 if SOAK else 15
    ran = run(
        f"./stress 8 {rounds} spin value > out; r=$?; grep -v '^# value' out; exit $r", files, harts=harts
    )
    assert (ran.status, ran.output) == (0, "stress: well\n")


@pytest.mark.parametrize("harts", [1, 2, 3])
def test_many_short_instances_of_a_shadow(harts: int):
    """An instance may have ended before the driver has a record of it."""
    files = {"instances": host_program("instances", "device"), "quick": enclave_program("quick")}
    ran = run("./instances quick 4 100", files, harts=harts)
    assert (ran.status, ran.output) == (0, "instances: well\n")


# ---- what enclaves write -----------------------------------------------------------------------


@pytest.mark.parametrize("harts", [1, 2])
def test_no_text_is_lost_to_signals(harts: int):
    files = {"interrupted": host_program("interrupted", "device"), "talker": enclave_program("talker")}
    ran = run("./interrupted talker", files, harts=harts)
    *lines, last = ran.output.splitlines()
    assert lines == [f"{number:055d}..." for number in range(500)]
    assert last == "0 7 interrupted"


def test_text_goes_where_the_programs_own_does():
    commands = """
    ./host hello-world > /dev/null
    ./host hello-world > file; grep -c hello file
    ./host hello-world >> file; grep -c hello file
    ./host hello-world | grep -c hello
    ./host hello-world < /dev/null 2>&1 | grep -c hello
    echo "log:"; dmesg -c | grep -E 'enclave|write'
    ./host hello-world >&-; dmesg | grep hello
    """
    ran = run(commands)
    before, _, log = ran.output.partition("log:\n")
    assert before == "1\n2\n1\n1\n"
    assert re.fullmatch(r"penglai: enclave \d+: .*hello world!\n", log), log


def test_programs_are_loaded_by_segments_and_a_section_table_adds_zeros(tmp_path: Path):
    """Files as strip tools leave them; and, as Penglai's own SDK has it, memory that is only a section."""
    value = enclave_program("value").read_bytes()
    zeros = eapp("long *zeros = (long *)0x902ff8; EAPP_RETURN(*zeros + (*zeros = 5, *zeros));").read_bytes()
    contents = {
        "stripped": with_sections(value, []),
        "damaged": value[:SHOFF] + b"\xff" * 8 + value[SHOFF + 8 :],
        "zeros": with_sections(zeros, [Section(0x90_0000, 0x3000)]),
    }
    for name, content in contents.items():
        (tmp_path / name).write_bytes(content)
    ran = run("./host stripped; ./host damaged; ./host zeros", {name: tmp_path / name for name in contents})
    assert re.findall(r"exited with value (\d+)", ran.output) == ["7", "7", "5"], ran.output


# ---- the machine -------------------------------------------------------------------------------


def test_a_guest_ends_as_it_wants_to():
    for commands, end in (("poweroff -f", End.OFF), ("reboot -f", End.REBOOT), ("poweroff", End.OFF)):
        console = Recorder()
        with LinuxGuest(linux.boot(commands + "; sleep 1000").software(), console) as guest:
            guest.start()
            assert guest.wait(PATIENCE).end is end


def test_a_kernel_that_panics_ends_a_machine_that_runs_commands():
    console = Recorder()
    with LinuxGuest(linux.boot("echo c > /proc/sysrq-trigger; exec kill -9 1").software(), console) as guest:
        guest.start()
        outcome = guest.wait(PATIENCE)
        assert outcome.end in (End.REBOOT, End.STATUS)
