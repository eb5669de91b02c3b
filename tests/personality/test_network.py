"""Connections that the host makes for a program: what is published and named, and nothing else."""

import contextlib
import itertools
import os
import signal
import socket
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.cli.test_commands import penglai as command
from tests.personality.test_mounts import Page
from tests.support.binaries import debian_root
from tests.support.linuxprograms import linux_program
from tests.support.person import PENGLAI
from tests.support.waiting import PATIENCE

import penglai
from penglai.abi.question import NOTHING_YET, Peer, Question, Told
from penglai.driver.task import Buffer

STOPS = 1000 if os.environ.get("PENGLAI_SOAK") else 40

ECHO = """#include <arpa/inet.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>
/* Gives back what it gets, of all who are there, until somebody says stop. */
int main(void)
{
    struct sockaddr_in name = {.sin_family = AF_INET, .sin_port = htons(7)}, peer;
    struct pollfd all[64] = {{.fd = socket(AF_INET, SOCK_STREAM, 0), .events = POLLIN}};
    socklen_t size = sizeof peer;
    static char text[100000];
    int count = 1;
    bind(all->fd, (struct sockaddr *)&name, sizeof name);
    listen(all->fd, 20);
    puts("listens");
    for (int goes_on = 1; goes_on;) {
        fflush(stdout);
        poll(all, (nfds_t)count, -1);
        if (all->revents) {
            int file = accept(all->fd, (struct sockaddr *)&peer, &size);
            all[count++] = (struct pollfd){.fd = file, .events = POLLIN};
            printf("accepted from %s\\n", inet_ntoa(peer.sin_addr));
        }
        for (int i = 1; i < count; i++) {
            if (!all[i].revents) continue;
            ssize_t got = read(all[i].fd, text, sizeof text);
            if (got <= 0) {
                puts(got ? "broken" : "ended");
                close(all[i].fd);
                all[i] = all[--count];
                continue;
            }
            for (ssize_t done = 0, part; done < got; done += part)
                if ((part = write(all[i].fd, text + done, (size_t)(got - done))) < 0) break;
            if (got >= 4 && !memcmp(text, "stop", 4)) goes_on = 0;
        }
    }
    return 3;
}
"""

CLIENT = """#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>
int main(int count, char **given)
{
    struct sockaddr_in name = {.sin_family = AF_INET, .sin_port = htons(atoi(given[2]))};
    struct sockaddr_in own, peer;
    socklen_t size = sizeof own;
    int file = socket(AF_INET, SOCK_STREAM | (count > 3 ? SOCK_NONBLOCK : 0), 0), error = 0;
    struct pollfd one = {.fd = file, .events = POLLOUT};
    char text[100];
    inet_aton(given[1], &name.sin_addr);
    int result = connect(file, (struct sockaddr *)&name, sizeof name);
    printf("connect %s\\n", result ? strerror(errno) : "done");
    if (result && errno == EINPROGRESS) {
        poll(&one, 1, -1);
        socklen_t length = sizeof error;
        getsockopt(file, SOL_SOCKET, SO_ERROR, &error, &length);
        printf("then %s, %d\\n", error ? strerror(error) : "done", (one.revents & POLLERR) != 0);
        fcntl(file, F_SETFL, 0);
        result = error;
    }
    if (result) return 1;
    if (connect(file, (struct sockaddr *)&name, sizeof name) && errno == EISCONN) puts("is connected");
    getsockname(file, (struct sockaddr *)&own, &size);
    getpeername(file, (struct sockaddr *)&peer, &size);
    printf("from %s", inet_ntoa(own.sin_addr));
    printf(" to %s %d\\n", inet_ntoa(peer.sin_addr), ntohs(peer.sin_port) == atoi(given[2]));
    write(file, "question", 8);
    shutdown(file, SHUT_WR);
    for (ssize_t got; (got = read(file, text, sizeof text)) > 0;)
        printf("%.*s\\n", (int)got, text);
    return 0;
}
"""


@pytest.fixture
def machine() -> Iterator[penglai.Machine]:
    with penglai.Machine("64M", 1, state=None) as machine:
        yield machine


def echo(connection: socket.socket, data: bytes) -> bytes:
    """What comes back."""
    back = bytearray()
    with connection.makefile("rb") as reader:
        sent = 0
        while sent < len(data):
            sent += connection.send(data[sent : sent + 30000])
            back += reader.read(min(30000, sent - len(back)))
    return bytes(back)


def to(network: penglai.Network, port: int) -> socket.socket:
    return socket.create_connection(("127.0.0.1", network.port(port)), PATIENCE)


def test_a_published_port(machine: penglai.Machine):
    with penglai.Network({7: 0}) as network:
        with pytest.raises(ConnectionRefusedError):
            to(network, 7)
        enclave = machine.create(penglai.pack(linux_program(ECHO)))
        run = enclave.start(network=network)
        enclave.output.wait_for("listens", PATIENCE)
        with to(network, 7) as one, to(network, 7) as other:
            assert echo(one, b"hello") == b"hello"
            large = bytes(range(256)) * 2000
            assert echo(other, large) == large
            one.shutdown(socket.SHUT_WR)
            assert one.recv(10) == b""
            assert echo(other, b"stop") == b"stop"  # what was written before its end comes out
            assert other.recv(10) == b""
        assert run.result(PATIENCE).value == 3
        text = enclave.output.getvalue().decode()
        assert text == "listens\n" + 2 * "accepted from 10.0.2.2\n" + "ended\n"
        with pytest.raises(ConnectionRefusedError):
            to(network, 7)


def test_many_at_once_who_come_and_go(machine: penglai.Machine):
    with penglai.Network({7: 0}) as network:
        enclave = machine.create(penglai.pack(linux_program(ECHO)))
        run = enclave.start(network=network)
        enclave.output.wait_for("listens", PATIENCE)
        for number in range(6):
            with contextlib.ExitStack() as stack:
                all_of_them = [stack.enter_context(to(network, 7)) for _ in range(40)]
                for connection in all_of_them:
                    connection.send(b"%d" % number)
                assert {connection.recv(10) for connection in all_of_them} == {b"%d" % number}
        with to(network, 7) as last:
            last.send(b"stop")
            assert run.result(PATIENCE).value == 3


def test_a_network_serves_one_run_after_the_other(machine: penglai.Machine):
    image = penglai.pack(linux_program(ECHO))
    with penglai.Network({7: 0}) as network:
        for _ in range(2):
            enclave = machine.create(image)
            run = enclave.start(network=network)
            enclave.output.wait_for("listens", PATIENCE)
            other = machine.create(image)
            with pytest.raises(penglai.BadArgumentError, match="another run"):
                other.start(network=network)
            other.destroy()
            with to(network, 7) as connection:
                assert echo(connection, b"x") == b"x"
                enclave.destroy()
                assert connection.recv(10) == b""
            assert run.result(PATIENCE).reason is penglai.Reason.DESTROYED


@pytest.mark.parametrize("more", [[], ["without waiting"]])
def test_a_peer_to_which_it_may_connect(machine: penglai.Machine, more: list[str]):
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(PATIENCE)
        port = str(server.getsockname()[1])
        with penglai.Network(connect=[f"localhost:{port}"]) as network:
            enclave = machine.create(penglai.pack(linux_program(CLIENT), ["10.0.2.2", port, *more]))
            run = enclave.start(network=network)
            with server.accept()[0] as connection, connection.makefile("rwb") as file:
                assert file.read() == b"question"
                file.write(b"answer")
            assert run.result(PATIENCE).value == 0
    begin = "connect Operation in progress\nthen done, 0\n" if more else "connect done\n"
    assert enclave.output.getvalue().decode() == (
        begin + "is connected\nfrom 10.0.2.15 to 10.0.2.2 1\nanswer\n"
    )


def test_a_peer_that_is_not_there_or_not_named(machine: penglai.Machine):
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = str(server.getsockname()[1])
    with penglai.Network(connect=[f"127.0.0.1:{port}"]) as network:

        def said(*args: str, network: penglai.Network | None = network) -> str:
            enclave = machine.create(penglai.pack(linux_program(CLIENT), args))
            assert enclave.run(PATIENCE, network=network).value == 1
            return enclave.output.getvalue().decode()

        assert said("10.0.2.2", port) == "connect Connection refused\n"
        assert said("10.0.2.2", port, "x") == ("connect Operation in progress\nthen Connection refused, 1\n")
        assert said("10.0.2.2", "1") == "connect Network unreachable\n"
        assert said("192.0.2.1", port) == "connect Network unreachable\n"
        assert said("127.0.0.1", port) == "connect Connection refused\n"
        assert said("10.0.2.2", port, network=None) == "connect Network unreachable\n"


def test_stops_change_nothing(machine: penglai.Machine):
    with penglai.Network({7: 0}) as network:
        enclave = machine.create(penglai.pack(linux_program(ECHO)))
        run = enclave.start(network=network)
        enclave.output.wait_for("listens", PATIENCE)
        with to(network, 7) as connection:
            for number in range(60):
                connection.send(b"%03d" % number)
                enclave.stop()
                enclave.resume()
                assert connection.recv(3, socket.MSG_WAITALL) == b"%03d" % number
            connection.send(b"stop")
            assert run.result(PATIENCE).value == 3


@pytest.mark.binary("redis")
@pytest.mark.soak
def test_redis_which_is_stopped_now_and_then():
    root = debian_root("redis")
    words = ["--bind", "0.0.0.0", "--protected-mode", "no", "--save", ""]
    image = penglai.pack(root / "usr/bin/redis-server", words, root=root)
    with penglai.Machine("512M", 1, state=None) as machine, penglai.Network({6379: 0}) as network:
        enclave = machine.create(image)
        run = enclave.start(network=network)
        enclave.output.wait_for("Ready to accept", PATIENCE)
        with to(network, 6379) as connection, connection.makefile("rwb") as file:
            file.write(b"SET key " + b"x" * 50000 + b"\r\n" + b"INCR n\r\n" * 2000 + b"GET n\r\n")
            file.write(b"STRLEN key\r\nEVAL 'return 6*7' 0\r\n")
            file.flush()
            lines = [next(file).strip() for _ in range(2005)]
            for number in range(STOPS):
                file.write(b"INCR stops\r\n")
                file.flush()
                enclave.stop()
                enclave.resume()
                assert next(file) == b":%d\r\n" % (number + 1)
            file.write(b"SHUTDOWN\r\n")
            file.flush()
            assert not file.read()
        assert lines == [b"+OK", *(b":%d" % n for n in range(1, 2001)), b"$4", b"2000", b":50000", b":42"]
        assert run.result(PATIENCE).value == 0


# ---- the command ---------------------------------------------------------------------------------


def test_the_command():
    program = linux_program(ECHO)
    words = [str(PENGLAI), "run", "--linux", str(program), "--publish", "0:7"]
    with subprocess.Popen(
        words, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as child:
        assert child.stderr is not None
        assert child.stdout is not None
        port = next(line for line in child.stderr if line.startswith("port 7 is")).split()[4]
        assert child.stdout.readline() == "listens\n"
        with socket.create_connection(("127.0.0.1", int(port)), PATIENCE) as connection:
            assert echo(connection, b"hello") == b"hello"
            child.send_signal(signal.SIGINT)
            assert child.wait(PATIENCE) == 128 + signal.SIGINT


def test_what_the_command_refuses(tmp_path: Path):
    program = linux_program(ECHO)
    with socket.create_server(("127.0.0.1", 0)) as server:
        taken = f"{server.getsockname()[1]}:7"
        for option, value, status, message in (
            ("--publish", "7", 2, "8080:80"),
            ("--publish", "x:7", 2, "8080:80"),
            ("--publish", "0:0", 1, "no port"),
            ("--publish", "99999:7", 1, "HOST:PORT"),
            ("--publish", taken, 1, "in use"),
            ("--connect", "localhost", 1, "HOST:PORT"),
            ("--connect", "no.such.invalid:1", 1, "cannot connect"),
        ):
            done = command("run", "--linux", program, option, value)
            assert (done.returncode, message in done.stderr) == (status, True), done.stderr


# ---- the host's side -----------------------------------------------------------------------------


@given(
    st.lists(
        st.tuples(
            st.integers(Question.LISTEN, Question.SHUT),
            st.integers(0, (1 << 64) - 1)
            | st.builds(
                lambda number, shift, rest: number << shift | rest,
                st.integers(0, 3),
                st.sampled_from([1, 16, 32, 48]),
                st.integers(0, 5000),
            ),
        ),
        max_size=30,
    )
)
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_whatever_is_asked_has_an_answer_and_reaches_nobody_else(asked: list[tuple[int, int]]):
    with socket.create_server(("127.0.0.1", 0)) as stranger, penglai.Network({7: 0}) as network:
        stranger.setblocking(False)
        port = stranger.getsockname()[1]
        network.take()
        for question, argument in [*asked, (Question.CONNECT, 0x7F000001 << 16 | port)]:
            assert -200 < network.answer(question, argument, Page()) <= 4096
        with pytest.raises(BlockingIOError):
            stranger.accept()


def test_what_is_told_is_told_once():
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        with penglai.Network(connect=[f"127.0.0.1:{port}"]) as network:
            network.take()
            assert network.answer(Question.CONNECT, 3 << 48 | 0x0A000202 << 16 | port, Page()) == 1
            connection, _ = server.accept()
            page = Page()
            assert network.answer(Question.READY, 0, page) == 1
            assert page.content[:8] == bytes(Told(3, 2))
            assert network.answer(Question.READY, 0, page) == 0
            assert network.answer(Question.CONNECTED, 3, page) == 1
            assert network.answer(Question.RECEIVE, 3 << 32 | 4096, page) == NOTHING_YET
            connection.close()
            assert network.answer(Question.READY, 0, page) == 1
            assert network.answer(Question.READY, 0, page) == 0
            assert network.answer(Question.RECEIVE, 3 << 32 | 4096, page) == 0
            assert network.answer(Question.SHUT, 3 << 32 | 2, page) == 1
            assert network.answer(Question.SHUT, 3 << 32 | 2, page) < 0


# ---- the enclave's side --------------------------------------------------------------------------

USES = """#include <arpa/inet.h>
#include <fcntl.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>
int main(void)
{
    static char text[9000];
    struct sockaddr_in here = {.sin_family = AF_INET, .sin_port = htons(80)}, there = here;
    inet_aton("10.0.2.2", &there.sin_addr);
    for (int i = 0; i < 20; i++) {
        struct pollfd all[8];
        int count = 0, listener = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
        bind(listener, (struct sockaddr *)&here, sizeof here);
        listen(listener, 3);
        for (int k = 0; k < 3; k++) {
            int file = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
            connect(file, (struct sockaddr *)&there, sizeof there);
            all[count++] = (struct pollfd){.fd = file, .events = POLLIN | POLLOUT};
        }
        for (int k = 0; k < 4; k++) {
            poll(all, (nfds_t)count, 1);
            int file = accept(listener, 0, 0);
            if (file >= 0 && count < 8)
                all[count++] = (struct pollfd){.fd = file, .events = POLLIN | POLLOUT};
            for (int n = 0; n < count; n++) {
                fcntl(all[n].fd, F_SETFL, O_NONBLOCK);
                send(all[n].fd, text, sizeof text, MSG_NOSIGNAL);
                read(all[n].fd, text, sizeof text);
                if (n == k) shutdown(all[n].fd, SHUT_WR);
            }
        }
        for (int n = 0; n < count; n++) close(all[n].fd);
        close(listener);
    }
    return 0;
}
"""


class Liar:
    """A host that answers as it likes, and changes its mind."""

    ODD = (
        1,
        1,
        1,
        1,
        1,
        0,
        2,
        7,
        4096,
        4097,
        -1,
        -11,
        -11,
        -11,
        -111,
        -600,
        -601,
        -4095,
        1 << 63,
        (1 << 64) - 1,
    )

    def __init__(self, start: int) -> None:
        self._numbers = itertools.count(start * 7919)

    def answer(
        self, question: int, argument: int, buffer: Buffer, _later: Callable[[int], None]
    ) -> int | None:
        mixed = next(self._numbers) * 2654435761 >> 7
        if question in (Question.SIGNALS, Question.WAIT):
            return 1
        if question == Question.READY:
            some = [Told(mixed * n & 0x1FF, mixed >> n & 7) for n in range(500)]
            buffer.write(b"".join(map(bytes, (*some, Told(80, 4), Told(0xFFFFFFFF, 3), Told(0, 4)))))
            return (503, 503, 503, 512, 513, 0, -5)[mixed % 7]
        if question == Question.ACCEPT:
            buffer.write(bytes(Peer(mixed & 0xFFFFFFFF, mixed >> 3 & 0xFFFFFFFF)))
        if question in (Question.RECEIVE, Question.SEND) and mixed & 1:
            size = argument & 0xFFFFFFFF
            return (size, size, size // 2, size + 1)[mixed // 2 % 4]
        return self.ODD[mixed % len(self.ODD)]

    def ended(self) -> None:
        """Nothing to do."""


@pytest.mark.parametrize("start", range(24))
def test_a_host_that_lies_does_no_harm(machine: penglai.Machine, start: int):
    """The program goes on to its end, whoever seems to be there."""
    enclave = machine.create(penglai.pack(linux_program(USES)))
    result = enclave.start(stdin=Liar(start)).result(PATIENCE)  # type: ignore[arg-type]
    assert (result.reason, result.value) == (penglai.Reason.EXITED, 0), enclave.output
