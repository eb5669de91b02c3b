"""Packing: what goes into an image, and what is refused."""

import io
import tarfile
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.cli.test_commands import penglai as command
from tests.personality.conftest import Runs
from tests.support.linuxprograms import linux_program

import penglai

SHOW = """#include <dirent.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>
int main(int count, char **paths)
{
    char text[4096];
    for (int i = 1; i < count; i++) {
        struct stat about;
        if (lstat(paths[i], &about)) { printf("%s: none\\n", paths[i]); continue; }
        printf("%s %o %ld", paths[i], about.st_mode, S_ISDIR(about.st_mode) ? 0 : (long)about.st_size);
        ssize_t size = readlink(paths[i], text, sizeof text);
        if (size > 0) printf(" -> %.*s", (int)size, text);
        FILE *file = S_ISREG(about.st_mode) ? fopen(paths[i], "r") : NULL;
        if (file) { size = fread(text, 1, sizeof text, file); printf(" %.*s", (int)size, text); }
        puts("");
    }
    return 0;
}
"""


@pytest.fixture(scope="module")
def program() -> Path:
    return linux_program(SHOW)


def fill(directory: Path) -> Path:
    (directory / "a/b").mkdir(parents=True)
    (directory / "a/b/text").write_text("content")
    (directory / "a/run").write_text("x")
    (directory / "a/run").chmod(0o750)
    (directory / "a/secret").write_text("y")
    (directory / "a/secret").chmod(0o600)
    (directory / "link").symlink_to("a/b")
    return directory


EXPECTED = """/a/b/text 100644 7 content
/a/run 100755 1 x
/a/secret 100644 1 y
/link 120777 3 -> a/b
/a 40755 0
/link/text 100644 7 content
/none: none
"""
PATHS = ("/a/b/text", "/a/run", "/a/secret", "/link", "/a", "/link/text", "/none")


def test_a_directory_becomes_its_tree(run: Runs, program: Path, tmp_path: Path):
    assert run(program, *PATHS, root=fill(tmp_path)).output == EXPECTED


def test_so_does_an_archive(run: Runs, program: Path, tmp_path: Path):
    source = tmp_path / "source"
    source.mkdir()
    fill(source)
    with tarfile.open(tmp_path / "root.tar.gz", "w:gz") as archive:
        archive.add(source, "./")
    assert run(program, *PATHS, root=tmp_path / "root.tar.gz").output == EXPECTED


def test_single_files_lie_over_it_and_links_on_their_way_are_followed(
    run: Runs, program: Path, tmp_path: Path
):
    fill(tmp_path)
    (tmp_path / "other").write_text("other")
    ran = run(
        program,
        "/a/b/text",
        "/new/file",
        root=tmp_path,
        files={"/link/text": tmp_path / "other", "/new/file": tmp_path / "other"},
    )
    assert ran.output == "/a/b/text 100644 5 other\n/new/file 100644 5 other\n"


def test_an_archive_leads_nowhere_outside(run: Runs, program: Path, tmp_path: Path):
    with tarfile.open(tmp_path / "root.tar", "w") as archive:
        for name in ("../../escaped", "/absolute"):
            member = tarfile.TarInfo(name)
            member.size = 3
            archive.addfile(member, io.BytesIO(b"abc"))
    ran = run(program, "/escaped", "/absolute", root=tmp_path / "root.tar")
    assert ran.output == "/escaped 100644 3 abc\n/absolute 100644 3 abc\n"


def test_the_measurement_is_of_all_that_is_packed_and_of_nothing_else(program: Path, tmp_path: Path):
    one, other = tmp_path / "one", tmp_path / "other"
    for directory in (one, other):
        directory.mkdir()
        fill(directory)
    (other / "a/b/text").touch()

    def measured(**options: object) -> bytes:
        return penglai.measure(penglai.pack(program, **options))  # type: ignore[arg-type]

    same = measured(root=one)
    assert measured(root=other) == same
    changed = [
        measured(root=one, args=["x"]),
        measured(root=one, env={}),
        measured(),
        measured(root=one, directory="/a"),
    ]
    (other / "a/b/text").write_text("Content")
    changed.append(measured(root=other))
    assert len({same, *changed}) == 6


@given(st.binary(max_size=400).map(lambda rest: b"\x7fELF\x02\x01\x01" + rest))
def test_whatever_is_no_program_is_refused(tmp_path_factory: pytest.TempPathFactory, data: bytes):
    path = tmp_path_factory.mktemp("elf") / "program"
    path.write_bytes(data)
    with pytest.raises(penglai.ImageError):
        penglai.pack(path)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda _: b"#!/bin/sh\n", "not an ELF file"),
        (lambda data: data[:18] + b"\x3e" + data[19:], "not for 64-bit RISC-V"),
        (lambda data: data[:3000], "damaged"),
    ],
    ids=["script", "x64", "truncated"],
)
def test_messages_say_what_is_wrong(
    program: Path, tmp_path: Path, change: Callable[[bytes], bytes], message: str
):
    path = tmp_path / "program"
    path.write_bytes(change(program.read_bytes()))
    with pytest.raises(penglai.ImageError, match=message):
        penglai.pack(path)


def test_arguments_and_names_that_cannot_be(program: Path, tmp_path: Path):
    with pytest.raises(penglai.ImageError, match="NUL"):
        penglai.pack(program, ["a\0b"])
    with pytest.raises(penglai.ImageError, match="more than 1048576 bytes"):
        penglai.pack(program, ["x" * (1 << 20)])
    with pytest.raises(penglai.ImageError, match="begin with /"):
        penglai.pack(program, files={"etc": tmp_path})
    with pytest.raises(penglai.ImageError, match="cannot read"):
        penglai.pack(program, root=tmp_path / "none")
    with pytest.raises(penglai.ImageError, match="cannot read"):
        penglai.pack(tmp_path / "none")


def test_the_commands(program: Path, tmp_path: Path):
    done = command("run", "--linux", program, "--", "/tmp")
    assert (done.returncode, done.stdout, done.stderr) == (0, "/tmp 41777 0\n", "")
    done = command("pack", program, "-o", tmp_path / "p.eapp", "--", "/tmp")
    assert done.returncode == 0
    assert command("run", tmp_path / "p.eapp").stdout == "/tmp 41777 0\n"
    packed, unpacked = (
        command("measure", tmp_path / "p.eapp"),
        command("measure", "--linux", program, "--", "/tmp"),
    )
    assert packed.stdout == unpacked.stdout != ""
    assert command("run", "--linux", linux_program("int main(void)\n{ return 5; }\n")).returncode == 5
    done = command("run", "hello-world", "--root", tmp_path)
    assert (done.returncode, "--linux" in done.stderr) == (2, True)
    done = command("run", "--linux", program, "--file", "nothing")
    assert (done.returncode, "=" in done.stderr) == (2, True)
