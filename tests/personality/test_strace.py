"""What strace shows of a program inside an enclave."""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.cli.test_commands import penglai as command
from tests.personality.conftest import Runs
from tests.support.linuxprograms import linux_program
from tests.support.waiting import PATIENCE

import penglai
from penglai.sdk.personality import CALLS as TABLE
from penglai.tracing.syscalls import CALLS, describe

PROGRAM = """#include <fcntl.h>
#include <stdio.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>
int main(void)
{
    char text[8];
    struct timespec little = {0, 5};
    write(1, "a\\tb\\"\\\\\\001\\n", 7);
    write(1, "0123456789012345678901234567890123456789\\n", 41);
    openat(AT_FDCWD, "/none", O_RDONLY | O_CLOEXEC);
    int file = openat(AT_FDCWD, "/tmp/new", O_RDWR | O_CREAT | O_TRUNC, 0640);
    struct iovec pieces[2] = {{"ab", 2}, {"cde", 3}};
    writev(file, pieces, 2);
    lseek(file, 0, SEEK_SET);
    read(file, text, sizeof text);
    write(file, (void *)8, 3);
    nanosleep(&little, NULL);
    close(file);
    return 7;
}
"""
EXPECTED = r"""write(1, "a\tb\"\\\1\n", 7)             = 7
write(1, "01234567890123456789012345678901"..., 41) = 41
openat(AT_FDCWD, "/none", O_RDONLY|O_LARGEFILE|O_CLOEXEC) = -1 ENOENT (No such file or directory)
openat(AT_FDCWD, "/tmp/new", O_RDWR|O_CREAT|O_TRUNC|O_LARGEFILE, 0640) = 3
writev(3, [{iov_base="ab", iov_len=2}, {iov_base="cde", iov_len=3}], 2) = 5
lseek(3, 0, SEEK_SET)                   = 0
read(3, "abcde", 8)                     = 5
write(3, 0x8, 3)                        = -1 EFAULT (Bad address)
nanosleep({tv_sec=0, tv_nsec=5}, NULL)  = 0
close(3)                                = 0
exit_group(7)                           = ?
"""


@pytest.fixture
def machine() -> Iterator[penglai.Machine]:
    with penglai.Machine("64M", 1, state=None) as machine:
        yield machine


def test_calls_with_arguments_and_results(machine: penglai.Machine):
    lines: list[str] = []
    with machine.strace(lines.append):
        assert machine.create(penglai.pack(linux_program(PROGRAM))).run(PATIENCE).value == 7
    assert "\n".join(lines).endswith(EXPECTED.rstrip("\n"))
    shown = len(lines)
    machine.create(penglai.pack(linux_program(PROGRAM))).run(PATIENCE)
    assert len(lines) == shown, "it was closed"


def test_threads_have_their_numbers_and_nothing_is_shown_twice(machine: penglai.Machine):
    lines: list[str] = []
    with machine.strace(lines.append):
        machine.create(penglai.pack(linux_program("threads.c"))).run(PATIENCE)
    made = [int(line.rpartition("= ")[2]) for line in lines if "clone(" in line]
    assert made
    seen = {int(found[1]) for line in lines if (found := re.match(r"\[(\d+)\]", line))}
    assert seen == set(made)
    assert sum("exit_group(" in line for line in lines) == 1


def test_watching_changes_nothing_that_the_program_sees(machine: penglai.Machine, run: Runs):
    with machine.strace(lambda _: None):
        enclave = machine.create(penglai.pack(linux_program("files.c")))
        assert enclave.run(PATIENCE).value == 0
    assert enclave.output.getvalue().decode() == run("files.c").output


def test_a_line_that_is_not_taken_ends_it_and_not_the_machine(machine: penglai.Machine):
    def refuse(_line: str) -> None:
        raise OSError("the disk is full")

    with machine.strace(refuse):
        assert machine.create(penglai.pack(linux_program(PROGRAM))).run(PATIENCE).value == 7
    assert machine.create("prime").run(PATIENCE).value == 78498


def test_one_at_a_time(machine: penglai.Machine):
    with machine.strace(print), pytest.raises(penglai.StateError, match="already"):
        machine.strace(print)
    machine.strace(print).close()


def test_it_knows_every_call_that_the_personality_has():
    numbers = re.findall(r"^CALL\((\d+), (\w+),", TABLE.read_text(), re.MULTILINE)
    assert {int(number): name for number, name in numbers}.items() <= {
        number: call.name for number, call in CALLS.items()
    }.items()


WORDS = st.integers(0, (1 << 64) - 1)


@given(
    st.sampled_from([*CALLS, 1000, 1 << 63]),
    st.tuples(*[WORDS] * 6),
    st.none() | WORDS,
    st.binary(max_size=40) | st.none(),
)
def test_whatever_a_program_gives_is_one_line(
    number: int, arguments: tuple[int, ...], result: int | None, memory: bytes | None
):
    def read(_address: int, size: int) -> bytes | None:
        return (
            None if memory is None else (memory * (size // max(1, len(memory)) + 1)).ljust(size, b"x")[:size]
        )

    line = describe(number, arguments, result, read)
    assert line.isprintable()
    assert line.isascii()


def test_the_command(tmp_path: Path):
    done = command("strace", "--linux", linux_program(PROGRAM))
    assert done.returncode == 7
    assert done.stderr.endswith(EXPECTED + "+++ exited with 7 +++\n")
    assert done.stdout.endswith("0123456789\n")
    done = command("strace", "--linux", linux_program(PROGRAM), "-o", tmp_path / "calls")
    assert (done.returncode, done.stderr) == (7, "")
    assert (tmp_path / "calls").read_text().endswith(EXPECTED + "+++ exited with 7 +++\n")
    done = command("strace", "--linux", linux_program("int main(void)\n{ __builtin_trap(); }\n"))
    assert done.returncode == 128 + 4
    assert done.stderr.endswith("+++ killed by SIGILL +++\n")
    done = command("strace", "hello-world", "-o", tmp_path / "no/calls")
    assert (done.returncode, "cannot write" in done.stderr) == (1, True)
