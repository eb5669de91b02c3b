"""Directories of the host's inside an enclave: plain files, which neither side trusts."""

import itertools
import os
import stat
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.cli.test_commands import penglai as command
from tests.support.linuxprograms import linux_program
from tests.support.waiting import PATIENCE

import penglai
from penglai.abi.question import SECOND, AboutFile, Question
from penglai.driver.task import Buffer

WORK = """#define _GNU_SOURCE
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>
static void show(const char *call, long result)
{
    printf("%s: %ld %s\\n", call, result, errno ? strerror(errno) : "");
    errno = 0;
}
#define SHOW(call) show(#call, call)
static int by_name(const struct dirent **a, const struct dirent **b)
{
    return strcmp((*a)->d_name, (*b)->d_name);
}
static void list(const char *path)
{
    struct dirent **names;
    int count = scandir(path, &names, NULL, by_name);
    printf("%s:", path);
    for (int i = 0; i < count; i++) printf(" %s/%d", names[i]->d_name, names[i]->d_type);
    puts("");
}
int main(int count, char **given)
{
    static char text[20000], back[20000];
    (void)count;
    if (chdir(given[1])) return 1;
    for (size_t i = 0; i < sizeof text; i++) text[i] = (char)(i * 7 + i / 256);
    SHOW(mkdir("d", 0777));
    SHOW(mkdir("d", 0777));
    SHOW(open("d/none", O_RDONLY));
    int file = open("d/file", O_RDWR | O_CREAT | O_EXCL, 0666);
    SHOW(open("d/file", O_RDWR | O_CREAT | O_EXCL, 0666));
    SHOW(write(file, text, sizeof text));
    SHOW(pread(file, back, sizeof back, 0));
    printf("same %d\\n", !memcmp(text, back, sizeof text));
    SHOW(pwrite(file, "xyz", 3, 5000));
    SHOW(ftruncate(file, 6000));
    SHOW(lseek(file, 0, SEEK_END));
    char *mapped = mmap(NULL, 6000, PROT_READ, MAP_PRIVATE, file, 0);
    printf("mapped %.3s\\n", mapped + 5000);
    SHOW(close(file));
    SHOW(rename("d/file", "d/other"));
    SHOW(rename("d/none", "d/other"));
    SHOW(rename("d", "d/inside"));
    SHOW(unlink("d/file"));
    SHOW(rmdir("d/other"));
    SHOW(unlink("d"));
    SHOW(rmdir("d"));
    SHOW(truncate("d/other", 5003));
    struct stat about;
    SHOW(stat("d/other", &about));
    printf("%ld %o\\n", (long)about.st_size, about.st_mode & S_IFMT);
    file = open("d/other", O_WRONLY | O_APPEND);
    SHOW(write(file, "end", 3));
    SHOW(unlink("d/other"));
    SHOW(write(file, "more", 4));
    SHOW(fstat(file, &about));
    printf("%ld\\n", (long)about.st_size);
    close(file);
    file = open("kept", O_RDWR | O_CREAT | O_TRUNC, 0666);
    SHOW(write(file, "content", 7));
    list(".");
    list("d");
    SHOW(rmdir("d"));
    SHOW(open("..", O_RDONLY | O_DIRECTORY) > 0);
    return 0;
}
"""

SHOW = """#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>
int main(void)
{
    char text[100], line[10];
    int file = open("/data/file", O_RDONLY);
    for (;;) {
        ssize_t size = pread(file, text, sizeof text, 0);
        printf("<%.*s>\\n", size < 0 ? 0 : (int)size, text);
        fflush(stdout);
        if (read(0, line, 1) != 1) return 0;
        if (*line == 'o') { close(file); file = open("/data/file", O_RDONLY); }
    }
}
"""

TOUCH = """#define _GNU_SOURCE
#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>
int main(void)
{
    char text[9000] = "x";
    struct stat about;
    for (int i = 0; i < 20; i++) {
        DIR *all = opendir("/data");
        for (struct dirent *entry; all && (entry = readdir(all));)
            stat(entry->d_name, &about);
        int below = open("/data/a/b", O_RDONLY | O_DIRECTORY);
        int file = open("/data/a/f", O_RDWR | O_CREAT, 0600);
        read(file, text, sizeof text);
        write(file, text, sizeof text);
        rename("/data/a/f", "/data/a/f/g");
        rename("/data/a", "/data/a/b/c");
        link("/data/a/f", "/data/a/f/h");
        chdir("/data/a/b");
        fstatat(below, "..", &about, 0);
        fstatat(below, "../../x", &about, 0);
        mkdirat(below, "m", 0700);
        stat("../f", &about);
        unlink("/data/a/f");
        rmdir("/data/a/b");
        truncate("/data/t", 10000);
        lseek(file, 0, SEEK_SET);
        write(file, text, 100);
        if (file >= 0) close(file);
        if (below >= 0) close(below);
        if (all) closedir(all);
        chdir("/");
    }
    return 0;
}
"""


@pytest.fixture
def machine() -> Iterator[penglai.Machine]:
    with penglai.Machine("64M", 1, state=None) as machine:
        yield machine


def test_files_there_behave_as_files_in_memory(machine: penglai.Machine, tmp_path: Path):
    image = penglai.pack(linux_program(WORK), ["/data"], mounts=["/data"])
    with penglai.Mounts({"/data": tmp_path}) as mounts:
        there = machine.create(image)
        assert there.run(PATIENCE, mounts=mounts).value == 0
    here = machine.create(penglai.pack(linux_program(WORK), ["/tmp"]))
    assert here.run(PATIENCE).value == 0
    assert there.output.getvalue() == here.output.getvalue()
    assert [path.name for path in tmp_path.iterdir()] == ["kept"]
    assert (tmp_path / "kept").read_bytes() == b"content"


def test_an_open_file_is_as_it_was_and_the_next_opening_has_what_is_new(
    machine: penglai.Machine, tmp_path: Path
):
    (tmp_path / "file").write_text("one")
    reader, writer = os.pipe()
    with os.fdopen(reader), os.fdopen(writer, "w"), penglai.Mounts({"/data": tmp_path}) as mounts:
        enclave = machine.create(penglai.pack(linux_program(SHOW), mounts=["/data"]))
        run = enclave.start(stdin=penglai.Stdin(reader), mounts=mounts)
        enclave.output.wait_for("<one>\n", PATIENCE)
        (tmp_path / "file").write_text("two")
        os.write(writer, b"-")
        enclave.output.wait_for("<one>\n<one>\n", PATIENCE)
        os.write(writer, b"o")
        enclave.output.wait_for("<two>\n", PATIENCE)
        (tmp_path / "file").unlink()
        os.write(writer, b"o")
        enclave.output.wait_for("<>", PATIENCE)
        enclave.destroy()
        assert run.result(PATIENCE).reason is penglai.Reason.DESTROYED


def test_where_the_host_gives_nothing_there_is_nothing(machine: penglai.Machine):
    enclave = machine.create(penglai.pack(linux_program(TOUCH), mounts=["/data"]))
    assert enclave.run(PATIENCE).value == 0


def test_mount_points_are_measured_and_empty(tmp_path: Path):
    program = linux_program(SHOW)
    plain, mounted, other = (
        penglai.measure(penglai.pack(program, mounts=mounts)) for mounts in ([], ["/data"], ["/other"])
    )
    assert len({plain, mounted, other}) == 3
    (tmp_path / "file").write_text("x")
    with pytest.raises(penglai.ImageError, match="empty"):
        penglai.pack(program, files={"/data": tmp_path}, mounts=["/data"])
    for path in ("/", "data", "///"):
        with pytest.raises(penglai.ImageError, match="absolute"):
            penglai.pack(program, mounts=[path])
        with pytest.raises(penglai.BadArgumentError, match="absolute"):
            penglai.Mounts({path: tmp_path})
    with pytest.raises(penglai.BadArgumentError, match="cannot mount"):
        penglai.Mounts({"/data": tmp_path / "none"})


# ---- the host's side -----------------------------------------------------------------------------


class Page:
    """A kernel buffer."""

    def __init__(self, content: bytes = b"") -> None:
        self.content = content

    def read(self) -> bytes:
        return self.content.ljust(4096, b"\0")

    def write(self, data: bytes) -> None:
        self.content = data + self.read()[len(data) :]


def asked(mounts: penglai.Mounts, question: int, path: bytes, argument: int = 0, second: bytes = b"") -> int:
    return mounts.answer(question, argument, Page(path.ljust(SECOND, b"\0") + second))


@pytest.fixture
def outside(tmp_path: Path) -> Path:
    """A directory with a file, beside the one that is mounted, to which all ways lead."""
    (tmp_path / "out").mkdir()
    (tmp_path / "out/secret").write_text("secret")
    inside = tmp_path / "in"
    inside.mkdir()
    (inside / "link").symlink_to(tmp_path / "out")
    (inside / "file").symlink_to(tmp_path / "out/secret")
    (inside / "up").symlink_to("..")
    os.mkfifo(inside / "pipe")
    return tmp_path


PATHS = [
    *(b"/data/link/secret", b"/data/file", b"/data/up/out/secret", b"/data/../out/secret", b"/data", b"/"),
    *(b"", b"data/x", b"/data//out", b"/data/./x", b"/out/secret", b"/data/pipe", b"x" * 2000),
    *(b"/data/link/new", b"/data/up/new", b"/data/" + b"a" * 300, b"/data/\xff\xfe/../x"),
]


@pytest.mark.parametrize("path", PATHS)
def test_no_path_leads_out(outside: Path, path: bytes):
    with penglai.Mounts({"/data": outside / "in"}) as mounts:
        before = sorted(outside.rglob("*"))
        for question in Question:
            if question < Question.STAT or (question is Question.LIST and path == b"/data"):
                continue
            if question is Question.REMOVE and path in (b"/data/file", b"/data/pipe"):
                continue  # the link itself is in the directory, and goes
            argument = 3 << 32 if question is Question.PUT else 0
            assert asked(mounts, question, path, argument, b"abc\0") < 0, question
        assert sorted(outside.rglob("*")) == before
        assert (outside / "out/secret").read_text() == "secret"


@given(
    st.integers(Question.STAT, Question.RENAME),
    st.sampled_from(PATHS) | st.binary(max_size=60).map(lambda rest: b"/data/" + rest),
    st.integers(0, (1 << 64) - 1),
    st.sampled_from(PATHS) | st.binary(max_size=60),
)
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_whatever_is_asked_stays_inside(
    outside: Path, question: int, path: bytes, number: int, second: bytes
):
    if question == Question.RESIZE:
        number &= 0xFFFF
    with penglai.Mounts({"/data": outside / "in"}) as mounts:
        answer = asked(mounts, question, path, number, second)
    assert -200 < answer <= 4096
    assert sorted(path.name for path in outside.iterdir()) == ["in", "out"]
    assert [path.name for path in (outside / "out").iterdir()] == ["secret"]
    assert (outside / "out/secret").read_text() == "secret"


def test_what_it_makes_has_the_users_rights_and_nothing_more(outside: Path):
    with penglai.Mounts({"/data": outside / "in"}) as mounts:
        assert asked(mounts, Question.MAKE, b"/data/new") == 1
        assert asked(mounts, Question.MAKE, b"/data/directory", 1) == 1
        page = Page(b"/data/new\0")
        assert mounts.answer(Question.STAT, 0, page) == 1
        assert AboutFile.from_buffer_copy(page.content).kind == 1
    mask = os.umask(0)
    os.umask(mask)
    assert stat.S_IMODE((outside / "in/new").stat().st_mode) == 0o666 & ~mask


# ---- the enclave's side --------------------------------------------------------------------------


class Liar:
    """A host that answers as it likes, and changes its mind."""

    ODD = (
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
        -2,
        -2,
        -20,
        -116,
        -600,
        -601,
        -4095,
        -4096,
        1 << 63,
        (1 << 64) - 1,
    )
    NAMES = (b"a\0f\0b\0", b"..\0", b"a/b\0", b"", b"\0\0", b"x" * 4096, b"b\0" * 2048)

    def __init__(self, start: int) -> None:
        self._numbers = itertools.count(start * 7919)

    def answer(
        self, question: int, _argument: int, buffer: Buffer, _later: Callable[[int], None]
    ) -> int | None:
        number = next(self._numbers)
        mixed = number * 2654435761 >> 7
        if question == Question.STAT:
            kind = (1, 2, 2, 1, 0, 3)[mixed % 6]
            buffer.write(bytes(AboutFile(kind, (3, 5000, 1 << 40)[mixed % 3], mixed, mixed % (2 * 10**9))))
            return (1, 1, 1, 1, -2, 0, -40, 5)[mixed // 8 % 8]
        if question == Question.LIST:
            buffer.write(self.NAMES[mixed % len(self.NAMES)].ljust(4096, b"\0"))
            return (3, 0, 1, 5000, -5, 2048, 0)[mixed // 8 % 7]
        if question == Question.GET:
            buffer.write(bytes(4096))
            return (0, 10, 4096, -5, 4097)[mixed % 5]
        return self.ODD[mixed % len(self.ODD)] if question > Question.STAT else 0

    def ended(self) -> None:
        """Nothing to do."""


@pytest.mark.parametrize("start", range(24))
def test_a_host_that_lies_does_no_harm(machine: penglai.Machine, start: int):
    """The program goes on to its end, whatever files there seem to be."""
    enclave = machine.create(penglai.pack(linux_program(TOUCH), mounts=["/data"]))
    result = enclave.start(stdin=Liar(start)).result(PATIENCE)  # type: ignore[arg-type]
    assert (result.reason, result.value) == (penglai.Reason.EXITED, 0), enclave.output


def test_the_command(tmp_path: Path):
    (tmp_path / "file").write_text("from the host")
    program = linux_program(SHOW)
    done = command("run", "--linux", program, "--mount", f"{tmp_path}:/data")
    assert (done.returncode, done.stdout) == (0, "<from the host>\n")
    done = command("pack", program, "--mount-point", "/data", "-o", tmp_path / "p.eapp")
    assert done.returncode == 0
    done = command("run", tmp_path / "p.eapp", "--mount", f"{tmp_path}:/data")
    assert done.stdout == "<from the host>\n"
    measured = command("measure", "--linux", program, "--mount-point", "/data")
    assert measured.stdout == command("measure", tmp_path / "p.eapp").stdout != ""
    for value, status, message in (("x", 2, "HOST_DIR:PATH"), (f"{tmp_path}/none:/data", 1, "cannot mount")):
        done = command("run", "--linux", program, "--mount", value)
        assert (done.returncode, message in done.stderr) == (status, True), done.stderr
