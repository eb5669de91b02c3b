"""Protected directories: files as in memory, kept by the file server, sealed on a disk of the host's."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from tests.cli.test_commands import penglai as command
from tests.personality.test_mounts import WORK
from tests.support.binaries import debian_root
from tests.support.linuxprograms import linux_program
from tests.support.waiting import PATIENCE

import penglai

DISK_MEMORY = 128 << 10

NOTES = """#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
/* Adds a line to a file and shows all of it; with more arguments also makes a large file. */
int main(int count, char **given)
{
    static char text[100000];
    mkdir("/data/a directory", 0777);
    int file = open("/data/a directory/a name", O_RDWR | O_CREAT | O_APPEND, 0666);
    if (file < 0) { perror("open"); return 1; }
    if (dprintf(file, "%s\\n", given[1]) < 0) { perror("write"); return 1; }
    ssize_t got = pread(file, text, sizeof text, 0);
    printf("%.*s", (int)got, text);
    close(file);
    if (count > 2) {
        file = open("/data/large", O_RDWR | O_CREAT, 0666);
        for (size_t i = 0; i < sizeof text; i++) text[i] = (char)(i * 7 + i / 256);
        if (write(file, text, sizeof text) != sizeof text) { perror("write"); return 1; }
        close(file);
        static char back[sizeof text];
        file = open("/data/large", O_RDONLY);
        printf("%d\\n", read(file, back, sizeof back) == sizeof back && !memcmp(text, back, sizeof back));
        close(file);
    }
    return 0;
}
"""


@pytest.fixture(scope="module")
def server() -> bytes:
    return penglai.measure("filesystem", kind="server")


@contextmanager
def machine_with_files(disk: Path, file_server: str = "filesystem") -> Iterator[penglai.Machine]:
    with penglai.Machine("128M", 1, state=disk.parent / "state") as machine:
        shared = machine.shared_memory(DISK_MEMORY)
        machine.use_disk(shared, file=disk)
        machine.create("persistency", name="persistency", kind="server", shm=shared)
        machine.create(file_server, name="filesystem", kind="server")
        yield machine


def noted(machine: penglai.Machine, server: bytes, *words: str) -> tuple[str, int | None]:
    enclave = machine.create(penglai.pack(linux_program(NOTES), words, protected={"/data": server}))
    result = enclave.run(PATIENCE)
    return enclave.output.getvalue().decode(), result.value


def test_files_there_behave_as_files_in_memory(server: bytes, tmp_path: Path):
    with machine_with_files(tmp_path / "disk") as machine:
        outputs = []
        for where in ("/data", "/tmp"):
            image = penglai.pack(linux_program(WORK), [where], protected={"/data": server})
            enclave = machine.create(image)
            assert enclave.run(PATIENCE).value == 0
            outputs.append(enclave.output.getvalue())
    assert outputs[0] == outputs[1]


def test_what_is_kept_is_there_the_next_time_and_the_host_reads_nothing(server: bytes, tmp_path: Path):
    disk = tmp_path / "disk"
    with machine_with_files(disk) as machine:
        assert noted(machine, server, "a first secret", "large") == ("a first secret\n1\n", 0)
        assert noted(machine, server, "and one more") == ("a first secret\nand one more\n", 0)
    content = disk.read_bytes()
    assert not any(text in content for text in (b"secret", b"a directory", b"a name"))


def test_what_the_host_has_changed_is_not_taken(server: bytes, tmp_path: Path):
    disk = tmp_path / "disk"
    with machine_with_files(disk) as machine:
        assert noted(machine, server, "one") == ("one\n", 0)
    kept = disk.read_bytes()
    with machine_with_files(disk) as machine:
        assert noted(machine, server, "two") == ("one\ntwo\n", 0)
    disk.write_bytes(bytes(byte ^ 1 for byte in kept))
    with machine_with_files(disk) as machine:
        output, value = noted(machine, server, "three")
    assert value == 1
    assert "one" not in output


def test_another_server_of_that_name_is_never_asked(server: bytes, tmp_path: Path):
    with machine_with_files(tmp_path / "disk", "persistency") as machine:
        assert noted(machine, server, "a secret") == ("open: I/O error\n", 1)
    with penglai.Machine("64M", 1, state=None) as machine:
        assert noted(machine, server, "a secret") == ("open: I/O error\n", 1)


def test_the_server_is_measured(server: bytes):
    program = linux_program(NOTES)
    measured = {
        penglai.measure(penglai.pack(program, protected=protected))
        for protected in ({}, {"/data": server}, {"/data": bytes(32)}, {"/other": server})
    }
    assert len(measured) == 4
    for protected in ({"/data": b""}, {"/data": server, "/more": bytes(32)}):
        with pytest.raises(penglai.ImageError, match="measurement"):
            penglai.pack(program, protected=protected)


def test_the_command(tmp_path: Path):
    program = linux_program(NOTES)
    disk = tmp_path / "disk.img"
    words = ("run", "--linux", program, "--protected", "/data", "--disk", disk, "--", "line")
    for output in ("line\n", "line\nline\n"):
        done = command(*words)
        assert (done.returncode, done.stdout) == (0, output), done.stderr
    done = command("pack", program, "--protected", "/data", "-o", tmp_path / "p.eapp", "--", "line")
    assert done.returncode == 0
    measured = command("measure", "--linux", program, "--protected", "/data", "--", "line")
    assert measured.stdout == command("measure", tmp_path / "p.eapp").stdout != ""


@pytest.mark.binary("sqlite3")
def test_sqlite_on_a_protected_directory(server: bytes, tmp_path: Path):
    root = debian_root("sqlite3")
    script = "create table if not exists t(a); insert into t values(1),(2); select sum(a), count(*) from t;"
    image = penglai.pack(
        root / "usr/bin/sqlite3", ["/data/base", script], root=root, protected={"/data": server}
    )
    with machine_with_files(tmp_path / "disk") as machine:
        for expected in (b"3|2\n", b"6|4\n"):
            enclave = machine.create(image)
            assert enclave.run(PATIENCE).value == 0
            assert enclave.output.getvalue() == expected
