"""What a program has of its host: input, signals, and the size of a terminal; none of which is trusted."""

import itertools
import os
import select
import signal
import subprocess
import termios
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pexpect
import pytest
from tests.support.linuxprograms import linux_program
from tests.support.person import PENGLAI
from tests.support.waiting import PATIENCE, until

import penglai
from penglai.abi.question import NOTHING_YET, Question
from penglai.driver.task import Buffer

COPY = """#include <unistd.h>
int main(void)
{
    static char text[10000];
    ssize_t size;
    while ((size = read(0, text, sizeof text)) > 0)
        if (write(1, text, (size_t)size) != size) return 1;
    return size < 0;
}
"""

LOOK = """#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <sys/epoll.h>
#include <unistd.h>
int main(void)
{
    char text[3];
    struct pollfd in = {0, POLLIN, 0};
    setvbuf(stdout, NULL, _IONBF, 0);
    fcntl(0, F_SETFL, O_NONBLOCK);
    ssize_t size = read(0, text, sizeof text);
    printf("%d %d %d\\n", (int)size, errno == EAGAIN, poll(&in, 1, 0));
    printf("%d %d\\n", poll(&in, 1, -1), in.revents);
    int all = epoll_create1(0);
    struct epoll_event event = {EPOLLIN, {.fd = 0}};
    epoll_ctl(all, EPOLL_CTL_ADD, 0, &event);
    printf("epoll %d\\n", epoll_wait(all, &event, 1, -1));
    size = read(0, text, sizeof text);
    printf("%.*s\\n", (int)size, text);
    size = read(0, text, sizeof text);
    printf("%.*s\\n", (int)size, text);
    poll(&in, 1, -1);
    size = read(0, text, sizeof text);
    printf("end %d %d\\n", (int)size, in.revents & POLLIN);
    return 0;
}
"""

HANDLER = """#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>
static void handler(int number) { (void)number; }
int main(int count, char **given)
{
    char byte;
    struct winsize size = {0};
    struct sigaction action = {.sa_handler = handler};
    sigaction(SIGINT, &action, NULL);
    sigaction(SIGWINCH, &action, NULL);
    puts("ready");
    fflush(stdout);
    if (count > 1)
        for (volatile long i = 0;; i++) sigaction(SIGUSR1, NULL, NULL);
    printf("%d %s\\n", (int)read(0, &byte, 1), strerror(errno));
    if (!ioctl(0, TIOCGWINSZ, &size)) printf("%d x %d\\n", size.ws_row, size.ws_col);
    printf("%d%d%d\\n", isatty(0), isatty(1), isatty(2));
    return 3;
}
"""

THREADS = """#include <pthread.h>
#include <stdio.h>
#include <unistd.h>
static volatile int turns, stop;
static void *count(void *none) { while (!stop) turns++; return none; }
int main(void)
{
    pthread_t thread;
    char byte;
    pthread_create(&thread, NULL, count, NULL);
    while (!turns) ;
    puts("ready");
    fflush(stdout);
    ssize_t size = read(0, &byte, 1);
    int then = turns;
    while (turns == then) ;
    stop = 1;
    pthread_join(thread, NULL);
    printf("%d %c\\n", (int)size, byte);
    return 0;
}
"""

SLEEP = """#include <unistd.h>
int main(void) { usleep(1000); return 5; }
"""


@pytest.fixture
def machine() -> Iterator[penglai.Machine]:
    with penglai.Machine("64M", 1, state=None) as machine:
        yield machine


@pytest.fixture
def pipe() -> Iterator[tuple[int, int]]:
    reader, writer = os.pipe()
    with ExitStack() as kept, os.fdopen(reader, "rb"):
        kept.enter_context(os.fdopen(writer, "wb", buffering=0))
        yield reader, writer


def start(machine: penglai.Machine, text: str, stdin: penglai.Stdin, *args: str) -> penglai.Run:
    return machine.create(penglai.pack(linux_program(text), args)).start(stdin=stdin)


@pytest.mark.parametrize("size", [0, 1, 4095, 4096, 4097, 30000])
def test_all_of_the_input_and_its_end(machine: penglai.Machine, size: int):
    text = "".join(itertools.islice(itertools.cycle("abcdefghijklmnopqrstuvw\n"), size))
    run = start(machine, COPY, penglai.Stdin(text))
    assert run.result(PATIENCE).value == 0
    assert run.enclave.output.getvalue() == text.encode()


def test_without_input_it_is_at_its_end(machine: penglai.Machine):
    assert machine.create(penglai.pack(linux_program(COPY))).run(PATIENCE).value == 0


def test_input_that_comes_later_is_waited_for(machine: penglai.Machine, pipe: tuple[int, int]):
    run = start(machine, LOOK, penglai.Stdin(pipe[0]))
    output = run.enclave.output
    output.wait_for("-1 1 0\n", PATIENCE)
    os.write(pipe[1], b"abcd")
    output.wait_for("1 1\nepoll 1\nabc\nd\n", PATIENCE)
    os.close(os.dup(pipe[1]))
    os.dup2(os.open(os.devnull, os.O_WRONLY), pipe[1])  # the last writer is gone
    assert run.result(PATIENCE).value == 0
    output.wait_for("end 0 1\n", PATIENCE)


def test_the_other_threads_go_on_meanwhile(machine: penglai.Machine, pipe: tuple[int, int]):
    run = start(machine, THREADS, penglai.Stdin(pipe[0]))
    run.enclave.output.wait_for("ready", PATIENCE)
    os.write(pipe[1], b"x")
    assert run.result(PATIENCE).value == 0
    run.enclave.output.wait_for("1 x\n", PATIENCE)


def test_a_signal_ends_a_program_that_does_not_handle_it(machine: penglai.Machine, pipe: tuple[int, int]):
    stdin = penglai.Stdin(pipe[0])
    run = start(machine, COPY, stdin)
    stdin.signal(signal.SIGINT)
    assert run.result(PATIENCE).value == 128 + signal.SIGINT


def test_a_signal_interrupts_what_waits_and_what_only_computes(
    machine: penglai.Machine, pipe: tuple[int, int]
):
    stdin = penglai.Stdin(pipe[0])
    run = start(machine, HANDLER, stdin)
    run.enclave.output.wait_for("ready", PATIENCE)
    stdin.signal(signal.SIGINT)
    assert run.result(PATIENCE).value == 3
    assert run.enclave.output.getvalue() == b"ready\n-1 Interrupted system call\n000\n"
    stdin = penglai.Stdin(pipe[0])
    run = start(machine, HANDLER, stdin, "loop")
    run.enclave.output.wait_for("ready", PATIENCE)
    stdin.signal(signal.SIGTERM)
    assert run.result(PATIENCE).value == 128 + signal.SIGTERM


def test_only_signals_of_terminals_come_from_the_host(machine: penglai.Machine, pipe: tuple[int, int]):
    stdin = penglai.Stdin(pipe[0])
    run = start(machine, HANDLER, stdin)
    run.enclave.output.wait_for("ready", PATIENCE)
    for number in (signal.SIGSEGV, signal.SIGUSR1, signal.SIGKILL, signal.SIGWINCH):
        stdin.signal(number)
    assert run.result(PATIENCE).value == 3
    for number in (0, 65, -1):
        with pytest.raises(penglai.BadArgumentError):
            stdin.signal(number)


def test_the_size_of_a_terminal(machine: penglai.Machine):
    controller, terminal = os.openpty()
    try:
        termios.tcsetwinsize(terminal, (33, 77))
        stdin = penglai.Stdin(terminal, terminal=(terminal, terminal, terminal))
        run = start(machine, HANDLER, stdin)
        run.enclave.output.wait_for("ready", PATIENCE)
        os.write(controller, b"\n")
        assert run.result(PATIENCE).value == 3
        assert run.enclave.output.getvalue().endswith(b"33 x 77\n111\n")
    finally:
        os.close(controller)
        os.close(terminal)


def test_an_end_while_it_waits(machine: penglai.Machine, pipe: tuple[int, int]):
    for _ in range(3):
        run = start(machine, COPY, penglai.Stdin(pipe[0]))
        until(lambda run=run: run.enclave.info().ocalls > 2)  # type: ignore[misc]
        run.enclave.destroy()
        assert run.result(PATIENCE).reason is penglai.Reason.DESTROYED
    assert machine.create("prime").run(PATIENCE).value == 78498


def test_stops_while_it_waits_lose_nothing(machine: penglai.Machine, pipe: tuple[int, int]):
    run = start(machine, COPY, penglai.Stdin(pipe[0]))
    for number in range(50):
        run.enclave.stop()
        os.write(pipe[1], f"{number} ".encode())
        run.enclave.resume()
    run.enclave.output.wait_for("49 ", PATIENCE)
    run.enclave.destroy()
    assert run.enclave.output.getvalue().split() == [b"%d" % number for number in range(50)]


def test_what_is_no_descriptor_is_refused():
    with pytest.raises(penglai.BadArgumentError, match="descriptor"):
        penglai.Stdin(1 << 20)


class Liar:
    """Answers with what no honest host would."""

    ODD = (0, 1, -1, -4096, 4097, 1 << 63, (1 << 64) - 1, 1 << 40, NOTHING_YET, 5, 1 << 32, -(1 << 31))

    def __init__(self, start: int) -> None:
        self._numbers = itertools.count(start)

    def answer(
        self, question: int, _argument: int, buffer: Buffer, _later: Callable[[int], None]
    ) -> int | None:
        number = next(self._numbers)
        buffer.write(bytes([number % 256]) * 4096)
        if question == Question.SIGNALS:
            return 1 | 1 << signal.SIGINT if number > 2000 else number % 7 != 0
        return self.ODD[(number * 7 + number // 5) % len(self.ODD)]

    def ended(self) -> None:
        """Nothing to do."""


@pytest.mark.parametrize(
    "program", [COPY, LOOK, HANDLER, THREADS, SLEEP], ids=["copy", "look", "handler", "threads", "sleep"]
)
@pytest.mark.parametrize("first", range(4))
def test_answers_of_any_kind_do_no_harm(machine: penglai.Machine, program: str, first: int):
    """The program ends, by itself or by a signal: neither a fault, nor a failure of the machine."""
    run = machine.create(penglai.pack(linux_program(program))).start(stdin=Liar(first))  # type: ignore[arg-type]
    result = run.result(PATIENCE)
    assert result.reason is penglai.Reason.EXITED
    assert result.value in (0, 1, 3, 5, 128 + signal.SIGINT)


# ---- the command ---------------------------------------------------------------------------------


def test_the_command_passes_its_input_on(tmp_path: Path):
    command = [PENGLAI, "run", "--linux", linux_program(COPY)]
    done = subprocess.run(command, input=b"a\nb", capture_output=True, check=False, timeout=PATIENCE)
    assert (done.returncode, done.stdout, done.stderr) == (0, b"a\nb", b"")
    (tmp_path / "file").write_bytes(bytes(range(1, 256)) * 100)
    with (tmp_path / "file").open("rb") as file:
        done = subprocess.run(command, stdin=file, capture_output=True, check=False, timeout=PATIENCE)
    assert done.stdout == (tmp_path / "file").read_bytes()


def test_the_command_reads_no_more_than_the_program():
    """What is left is the next command's."""
    reader, writer = os.pipe()
    try:
        os.write(writer, b"abc")
        one = linux_program(
            "#include <unistd.h>\nint main(void) { char c; return read(0, &c, 1) == 1 ? c : 0; }\n"
        )
        done = subprocess.run([PENGLAI, "run", "--linux", one], stdin=reader, check=False, timeout=PATIENCE)
        assert done.returncode == ord("a")
        assert select.select([reader], [], [], 0)[0]
        assert os.read(reader, 10) == b"bc"
    finally:
        os.close(reader)
        os.close(writer)


def test_ctrl_c_and_the_window_at_a_terminal():
    child = pexpect.spawn(
        str(PENGLAI), ["run", "--linux", str(linux_program(HANDLER))], timeout=PATIENCE, dimensions=(20, 70)
    )
    child.expect("ready")
    child.sendintr()
    child.expect("Interrupted system call")
    child.expect("20 x 70")
    child.expect("111")
    child.expect(pexpect.EOF)
    child.close()
    assert child.exitstatus == 3
    child = pexpect.spawn(str(PENGLAI), ["run", "--linux", str(linux_program(COPY))], timeout=PATIENCE)
    child.sendline("line")
    child.expect("line\r\nline\r\n")
    child.sendintr()
    child.expect(pexpect.EOF)
    child.close()
    assert child.exitstatus == 128 + signal.SIGINT


RAW = """#include <stdio.h>
#include <termios.h>
#include <unistd.h>
int main(void)
{
    struct termios was, raw;
    char key = 0;
    tcgetattr(0, &was);
    raw = was;
    cfmakeraw(&raw);
    tcsetattr(0, TCSANOW, &raw);
    tcgetattr(0, &was);
    printf("raw %d\\r\\n", was.c_lflag & ICANON);
    fflush(stdout);
    while (read(0, &key, 1) == 1 && key != 'q')
        printf("key %d\\r\\n", key), fflush(stdout);
    return 0;
}
"""


def test_keys_of_a_terminal_one_by_one():
    """It hands on each, Ctrl-C too, echoes none, and is as it was afterwards."""
    controller, terminal = os.openpty()
    try:
        before = termios.tcgetattr(terminal)
        child = subprocess.Popen(
            [PENGLAI, "run", "--linux", linux_program(RAW)], stdin=terminal, stdout=subprocess.PIPE, text=True
        )
        with child:
            assert child.stdout is not None
            assert child.stdout.readline() == "raw 0\n"
            assert not termios.tcgetattr(terminal)[3] & (termios.ICANON | termios.ECHO | termios.ISIG)
            os.write(controller, b"\x03\r")
            assert [child.stdout.readline() for _ in range(2)] == ["key 3\n", "key 13\n"]
            os.write(controller, b"q")
        assert child.returncode == 0
        assert termios.tcgetattr(terminal) == before
    finally:
        os.close(controller)
        os.close(terminal)


def test_ctrl_c_ends_an_enclave_that_knows_of_no_signals():
    child = pexpect.spawn(str(PENGLAI), ["run", "loop"], timeout=PATIENCE)
    child.expect("round")
    child.sendintr()
    child.expect("interrupted")
    child.expect(pexpect.EOF)
    child.close()
    assert child.exitstatus == 130
