"""penglai boot as a person at a terminal uses it, and as a script does."""

import hashlib
import os
import random
import re
import signal
import subprocess
import termios
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from tests.support.person import PENGLAI, PROMPT, Person
from tests.support.waiting import PATIENCE, SOAK

pytestmark = pytest.mark.linux


CTRL_A, CTRL_C, CTRL_D, CTRL_R, CTRL_Z = (chr(ord(key) & 31) for key in "ACDRZ")
UP, LEFT = "\x1b[A", "\x1b[D"


@pytest.fixture
def sit_down(booting: dict[str, str]) -> Iterator[Callable[..., Person]]:
    """Starts penglai boot at a terminal; arguments: its own."""
    people: list[Person] = []

    def start(*arguments: str) -> Person:
        people.append(Person(booting, "boot", *arguments))
        return people[-1]

    yield start
    for person in people:
        person.close()


@pytest.fixture
def boot(booting: dict[str, str]) -> Callable[..., subprocess.CompletedProcess[bytes]]:
    """Runs penglai boot as a script does, to its end; arguments: its own.  typed: its input."""

    def run(*arguments: str, typed: bytes = b"") -> subprocess.CompletedProcess[bytes]:
        return subprocess.run(
            [PENGLAI, "boot", *arguments],
            input=typed,
            capture_output=True,
            check=False,
            env=booting,
            timeout=PATIENCE,
        )

    return run


SitDown = Callable[..., Person]
Boot = Callable[..., subprocess.CompletedProcess[bytes]]


# ---- at a terminal -----------------------------------------------------------------------------


def test_the_first_thing_that_is_seen_is_the_prompt(sit_down: SitDown):
    assert sit_down().reads(PROMPT) == ""


def test_the_guest_has_the_terminals_size_and_hears_of_another(sit_down: SitDown):
    person = sit_down()
    person.reads(PROMPT)
    assert person.asks("stty size") == "37 101\r\n"
    person.types("sh -c \"trap 'stty size' WINCH; echo hears; while :; do sleep 0.01; done\"\r")
    person.reads("hears\r\n")
    termios.tcsetwinsize(person.keyboard, (50, 132))
    person.reads("50 132\r\n")


def test_ctrl_c_interrupts_a_program_and_not_the_machine(sit_down: SitDown):
    person = sit_down()
    person.reads(PROMPT)
    person.types("sh -c 'echo asleep; exec sleep 1000'\r")  # which is in the foreground when it says so
    person.reads("asleep\r\n")
    person.types(CTRL_C)
    person.reads("^C", PROMPT)
    assert person.asks("echo $?") == "130\r\n"


def test_jobs_are_stopped_and_go_on(sit_down: SitDown):
    person = sit_down()
    person.reads(PROMPT)
    person.types("echo begun; cat\r")
    person.reads("begun\r\n")
    person.types("one line\r")
    person.reads("one line\r\n", "one line\r\n")
    person.types(CTRL_Z)
    person.reads("[1]+  Stopped", "cat", PROMPT)
    assert "Stopped" in person.asks("jobs")
    person.types("fg\r")
    person.reads("cat\r\n")
    person.types("another\r")
    person.reads("another\r\n", "another\r\n")
    person.types(CTRL_D)
    person.reads(PROMPT)
    assert person.asks("sleep 0 & wait; echo $?").endswith("0\r\n")


def test_lines_are_edited_and_come_again(sit_down: SitDown):
    person = sit_down()
    person.reads(PROMPT)
    person.types("echo abd" + LEFT + "c\r")
    person.reads("\r\nabcd\r\n", PROMPT)
    person.types("echo other\r")
    person.reads("\r\nother\r\n", PROMPT)
    person.types(UP + UP + "e\r")
    person.reads("\r\nabcde\r\n", PROMPT)
    person.types(CTRL_R + "oth\r")
    person.reads("\r\nother\r\n", PROMPT)
    person.types("ech\tx\x7f tab\r")
    person.reads("\r\ntab\r\n", PROMPT)
    person.types("cat /etc/pass\t\r")
    person.reads("root:x:0:0", PROMPT)


def test_ctrl_a_is_the_way_to_the_machine(sit_down: SitDown):
    person = sit_down()
    person.reads(PROMPT)
    person.types("cho begun" + CTRL_A + CTRL_A + "e\r")
    person.reads("\r\nbegun\r\n", PROMPT)
    person.types(CTRL_A + "h")
    person.reads("Ctrl-A x  switch the machine off")
    person.types(CTRL_A + "x")
    assert person.sees_the_end(0).endswith("\r\n"), "what follows is on a line of its own"


@pytest.mark.parametrize("command", ["exit", "poweroff", "poweroff -f", "halt", CTRL_D])
def test_a_person_leaves(sit_down: SitDown, command: str):
    person = sit_down()
    person.reads(PROMPT)
    person.types(command if command == CTRL_D else f"{command}\r")
    person.sees_the_end(0)


def test_a_reboot_comes_back_to_a_fresh_prompt(sit_down: SitDown):
    person = sit_down()
    person.reads(PROMPT)
    assert person.asks("echo mine > /tmp/mine; echo /tmp/*") == "/tmp/mine\r\n"
    person.types("reboot\r")
    person.reads(PROMPT)
    assert person.asks("echo /tmp/*; stty size") == "/tmp/*\r\n37 101\r\n"
    person.types(CTRL_A + "x")
    person.sees_the_end(0)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP, signal.SIGINT])
def test_a_signal_leaves_the_terminal_as_it_was(sit_down: SitDown, number: int):
    person = sit_down()
    person.reads(PROMPT)
    person.process.send_signal(number)
    person.sees_the_end(128 + number)


def test_a_timeout_leaves_the_terminal_as_it_was(sit_down: SitDown):
    person = sit_down("--timeout", "2")
    assert "penglai: switched off: it was still running after 2 seconds" in person.sees_the_end(1)


def test_ctrl_c_ends_commands(sit_down: SitDown):
    person = sit_down("--run", "echo begun; sleep 1000")
    person.reads("begun\r\n")
    person.types(CTRL_C)
    assert person.sees_the_end(130).endswith("penglai: interrupted\r\n")


def test_commands_leave_what_is_typed_to_whoever_reads_next(sit_down: SitDown):
    person = sit_down("--run", "echo begun")
    person.types("typed ahead\r")
    person.reads("begun\r\n")
    person.sees_the_end(0)
    assert os.read(person.terminal, 100) == b"typed ahead\n"


def test_two_machines_at_once(sit_down: SitDown):
    one, other = sit_down(), sit_down()
    one.reads(PROMPT)
    other.reads(PROMPT)
    for person in (one, other):
        assert "hello world!" in person.asks("sh install.sh; ./host hello-world")
    one.types("exit\r")
    one.sees_the_end(0)
    assert other.asks("echo still there") == "still there\r\n"


def test_enclaves_are_run_by_hand(sit_down: SitDown):
    """The tutorial: an enclave in the foreground, interrupted by Ctrl-C, leaves nothing."""
    person = sit_down()
    person.reads(PROMPT)
    person.asks("sh install.sh")
    person.types("./host loop\r")
    person.reads("round 1")
    person.types(CTRL_C)
    person.reads(PROMPT)
    assert "value 0" in person.asks("./host hello-world")


# ---- in a script -------------------------------------------------------------------------------


def test_what_is_piped_into_it_is_a_script(boot: Boot):
    done = boot(typed=b"cd /etc; ls passwd\necho second line\nread third\nthe third\necho $third; exit 3\n")
    assert (done.returncode, done.stdout) == (3, b"passwd\nsecond line\nthe third\n"), done
    assert done.stderr == b""


def test_the_end_of_the_input_is_for_good(boot: Boot):
    assert boot("--run", "cat; cat; cat; echo over", typed=b"line\nhalf").stdout == b"line\nhalfover\n"


@pytest.mark.parametrize("typed", [b"", b"true", b"poweroff", b"poweroff\n"])
def test_a_script_ends(boot: Boot, typed: bytes):
    done = boot(typed=typed)
    assert (done.returncode, done.stdout, done.stderr) == (0, b"", b"")


@pytest.mark.parametrize(
    ("commands", "status"),
    [("true", 0), ("exit 7", 7), ("kill -9 $$", 137), ("sh -c 'kill $$'", 143), ("exit 255", 255)],
)
def test_the_status_of_commands_is_its_own(boot: Boot, commands: str, status: int):
    done = boot("--run", commands)
    assert (done.returncode, done.stdout.replace(b"Terminated\n", b""), done.stderr) == (status, b"", b"")


def test_a_command_that_is_not_there(boot: Boot):
    done = boot("--run", "nonesuch")
    assert (done.returncode, done.stderr) == (127, b"")
    assert done.stdout.endswith(b"nonesuch: not found\n")


@pytest.mark.parametrize(
    ("command", "what"), [("poweroff", "was switched off"), ("reboot", "wanted to reboot")]
)
def test_commands_that_do_not_end(boot: Boot, command: str, what: str):
    done = boot("--run", f"{command}; sleep 1000")
    message = f"penglai: the machine {what} before the commands had ended\n"
    assert (done.returncode, done.stderr.decode()) == (1, message)


def test_input_of_commands_comes_through_byte_by_byte(boot: Boot):
    """All byte values, in lines that are longer than Linux's terminal keeps."""
    data = bytes(range(256)) * 40 + random.Random(1).randbytes(300_000) + bytes(9000)
    done = boot("--run", "sha256sum; echo over", typed=data)
    assert done.stdout.decode() == f"{hashlib.sha256(data).hexdigest()}  -\nover\n"


def test_output_comes_through_byte_by_byte(boot: Boot, tmp_path: Path):
    data = bytes(range(256)) * 40 + random.Random(2).randbytes(5_000_000)
    (tmp_path / "data").write_bytes(data)
    done = boot("--add", str(tmp_path / "data"), "--run", "cat data")
    assert done.returncode == 0
    assert done.stdout == data


@pytest.mark.soak
def test_many_lines_written_one_by_one(boot: Boot):
    """Left to itself Linux turns the console's interrupt off at the 100,000th, and says so in the middle."""
    count = 101_000 if SOAK else 5_000
    done = boot("--run", f"cat /sys/module/spurious/parameters/noirqdebug; seq {count}")
    assert done.stdout == b"Y\n" + b"".join(b"%d\n" % n for n in range(1, count + 1))


def test_nobody_reads_any_more(booting: dict[str, str]):
    line = f"{PENGLAI} boot --run 'seq 1000000' | head -1; echo ${{PIPESTATUS[0]}}"
    done = subprocess.run(
        ["bash", "-c", line], capture_output=True, env=booting, timeout=PATIENCE, check=False
    )
    assert (done.stdout, done.stderr) == (b"1\n1\n", b"")


def test_a_timeout_comes_also_when_nobody_takes_the_output(booting: dict[str, str]):
    command = [PENGLAI, "boot", "--timeout", "3", "--run", "yes"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=booting) as process:
        assert process.wait(PATIENCE) == 1
        assert process.stderr is not None
        assert b"still running after 3 seconds" in process.stderr.read()


@pytest.mark.parametrize(
    ("redirections", "status", "output"),
    [
        ("<&-", 0, "over\n"),
        ("</dev/null >&-", 1, "penglai: cannot write the output: Bad file descriptor\n"),
        ("<&- >&- 2>&-", 1, ""),
        ("</dev/null >/dev/full", 1, "penglai: cannot write the output: No space left on device\n"),
    ],
)
def test_streams_that_lead_nowhere(booting: dict[str, str], redirections: str, status: int, output: str):
    done = subprocess.run(
        ["bash", "-c", f"{PENGLAI} boot --run 'cat; echo over' {redirections}"],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env=booting,
        timeout=PATIENCE,
        check=False,
    )
    assert (done.returncode, done.stdout) == (status, output)


def test_more_for_the_command_line(boot: Boot):
    done = boot("--append", "one=1 two", "--run", "cat /proc/cmdline")
    assert done.stdout.endswith(b" one=1 two\n")
    assert done.stdout.startswith(b"console=hvc1 quiet")


def test_files_beside_the_images(boot: Boot, tmp_path: Path):
    (tmp_path / "mine").write_text("#!/bin/sh\necho mine\n")
    done = boot("--add", str(tmp_path / "mine"), "--add", f"other={tmp_path}/mine", "--run", "./mine; /other")
    assert done.stdout == b"mine\nmine\n"


@pytest.mark.parametrize(("suffix", "status"), [("", 0), (":rw", 0), (":ro", 1)])
def test_a_directory_is_shared(boot: Boot, directory: Path, suffix: str, status: int):
    (directory / "file").write_text("from here\n")
    done = boot("--share", f"{directory}{suffix}", "--run", "cat /share/file; echo there > /share/new")
    assert done.returncode == status
    assert done.stdout.startswith(b"from here\n")
    assert (directory / "new").exists() == (status == 0)


def test_a_system_that_cannot_start_says_why(boot: Boot, tmp_path: Path):
    (tmp_path / "initrd").write_bytes(b"no archive" * 1000)
    done = boot("--initrd", str(tmp_path / "initrd"), "--run", "true")
    assert (done.returncode, done.stderr) == (
        1,
        b"penglai: the machine wanted to reboot before the commands had ended\n",
    )
    assert b"Kernel panic - not syncing" in done.stdout


def test_with_too_little_memory_it_is_said_how_much_there_must_be(boot: Boot, tmp_path: Path):
    done = boot("--memory", "16M", "--run", "true")
    assert done.returncode == 1
    found = re.fullmatch(
        r"penglai: the machine has 16 MiB; kernel and ramfs need (\d+): start it with more memory\n",
        done.stderr.decode(),
    )
    assert found is not None, done.stderr
    enough = -(-int(found[1]) // 2) * 2
    done = boot("--memory", f"{enough}M", "--run", "sh install.sh && ./host hello-world")
    assert (done.returncode, done.stdout.startswith(b"hello world!")) == (0, True)
    (tmp_path / "large").write_bytes(random.Random(3).randbytes(20 << 20))
    add = ["--add", str(tmp_path / "large")]
    assert b"kernel and ramfs need" in boot("--memory", "64M", *add, "--run", "true").stderr
    enough += 4.2 * 20
    done = boot("--memory", f"{int(enough) // 2 * 2 + 2}M", *add, "--run", "wc -c < large")
    assert done.stdout == b"20971520\n"
