"""A directory of the real machine in real Linux: what its own 9P client and its programs make of it."""

import hashlib
import os
import random
from pathlib import Path

import pytest
from tests.support import linux
from tests.support.linux import Ran, Recorder, host_program

import penglai
from penglai.abi.errors import BadArgumentError
from penglai.guest.linux import LinuxGuest
from penglai.guest.sharing import Share
from penglai.sdk.hostbuild import build_host

pytestmark = pytest.mark.linux

MEGABYTES = 9
"""Of a large file: far more than a message carries."""


def run(directory: Path, commands: str, read_only: bool = False) -> Ran:
    """Run commands in /share; the first one that fails ends them."""
    ran = linux.run(f"cd /share; set -e\n{commands}", shares=[Share(directory, read_only=read_only)])
    assert ran.status == 0, ran.output
    return ran


def large() -> bytes:
    return random.Random(9).randbytes((MEGABYTES << 20) + 1234)


def digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def test_without_a_share_there_is_no_directory_for_it():
    assert linux.run("test ! -e /share").status == 0


def test_files_go_both_ways(directory: Path):
    (directory / "question").write_text("what?\n")
    ran = run(directory, "cat question; echo that > answer; echo more >> question")
    assert ran.output == "what?\n"
    assert (directory / "answer").read_text() == "that\n"
    assert (directory / "question").read_text() == "what?\nmore\n"


def test_large_files_are_the_same_on_both_sides(directory: Path):
    (directory / "large").write_bytes(large())
    ran = run(directory, "sha256sum < large; cp large copy; cat large | cat > pipe; cp /penglai.ko .")
    assert ran.output.split()[0] == digest(large())
    for name in ("copy", "pipe"):
        assert digest((directory / name).read_bytes()) == digest(large())
    assert (directory / "penglai.ko").read_bytes().startswith(b"\x7fELF")


def test_a_piece_anywhere_in_a_file_is_read_and_written(directory: Path):
    content = bytearray(large())
    (directory / "large").write_bytes(content)
    (directory / "piece").write_bytes(b"0123456789" * 1000)
    ran = run(
        directory,
        """
        dd if=large bs=1 skip=4095 count=3 2>/dev/null | od -An -tx1 -v
        dd if=piece of=large bs=1000 seek=7777 conv=notrunc 2>/dev/null
        truncate -s 1000001 piece; truncate -s 5 /share/large-no || true
        """,
    )
    assert bytes.fromhex(ran.output) == content[4095:4098]
    content[7777000:7787000] = b"0123456789" * 1000
    assert (directory / "large").read_bytes() == content
    assert (directory / "piece").stat().st_size == 1000001


def test_a_directory_of_many_entries_is_listed_whole(directory: Path):
    names = [f"{n:05}-{'x' * (n % 200)}" for n in range(3000)]
    for name in names:
        (directory / name).touch()
    ran = run(directory, "ls | grep -v listed > /tmp/listed; wc -l < /tmp/listed; cp /tmp/listed listed")
    assert ran.output.strip() == "3000"
    assert (directory / "listed").read_text().splitlines() == names
    run(directory, "rm -rf *")
    assert list(directory.iterdir()) == []


def test_names_links_and_modes(directory: Path):
    (directory / "old").write_text("content")
    run(
        directory,
        """
        mv old new; mkdir -p a/b/c; cp new a/b/c/file; ln -s ../new a/link; ln new hard
        test "$(cat a/link)" = content; test "$(readlink a/link)" = ../new
        chmod 750 a/b; touch -d '2001-02-03 04:05:06' new
        mkdir gone; rmdir gone; touch removed; rm removed
        mv a/b moved; mv new moved/c/file
        ! rmdir moved; ! mkdir a; ! cat missing
        echo 'name with ünï' > 'ein schöner Name'
        """,
    )
    assert sorted(path.name for path in directory.iterdir()) == ["a", "ein schöner Name", "hard", "moved"]
    assert (directory / "a/link").readlink() == Path("../new")
    assert (directory / "moved").stat().st_mode & 0o777 == 0o750
    assert (directory / "moved/c/file").read_text() == "content"
    assert (directory / "moved/c/file").samefile(directory / "hard")
    assert (directory / "hard").stat().st_mtime == 981173106
    assert (directory / "ein schöner Name").read_text() == "name with ünï\n"


def test_an_open_file_that_is_removed_is_there_until_it_is_closed(directory: Path):
    ran = run(directory, "echo kept > file; exec 3<file; rm file; cat <&3")
    assert ran.output == "kept\n"
    assert list(directory.iterdir()) == []


def test_files_are_mapped(directory: Path):
    content = large()
    (directory / "file").write_bytes(content)
    (directory / "mapped").write_bytes(host_program("mapped").read_bytes())
    (directory / "mapped").chmod(0o755)
    ran = run(directory, "./mapped file")
    assert ran.output == f"sum {sum(content) & 0xFFFFFFFF}\n"
    half = len(content) // 2
    assert (directory / "file").read_bytes() == content[:half] + b"written" + content[half + 7 :]


# ---- the edit-run loop -------------------------------------------------------------------------


def host_source(answer: int) -> str:
    return (
        f'#include <stdio.h>\nint main(void) {{ FILE *f = fopen("log", "a"); fprintf(f, "{answer}\\n"); '
        f'return printf("host {answer}\\n") < 0; }}\n'
    )


def build(directory: Path, answer: int) -> None:
    """What a developer does in an editor and a shell on the real machine."""
    (directory / "program.c").write_text(host_source(answer))
    build_host([directory / "program.c"], directory / "program", [])
    source = directory / "enclave.c"
    source.write_text(
        '#include "eapp.h"\n#include "print.h"\nint EAPP_ENTRY main(void)\n{\n'
        f'unsigned long *args; EAPP_RESERVE_REG; eapp_print("enclave {answer}\\n");\n'
        f"EAPP_RETURN({answer});\n}}\n"
    )
    penglai.build(source, directory / "enclave")


def test_what_is_built_into_it_runs_and_when_it_is_built_again_the_new_one_runs(directory: Path):
    console = Recorder()
    software = linux.boot(None).software()
    with LinuxGuest(software, console, shares=[Share(directory)]) as guest:
        guest.start()
        console.wait_for("/ # ")
        console.type(guest, "sh install.sh; cd /share\n")
        for answer in (5, 6, 77, 8):
            build(directory, answer)
            console.type(guest, "./program; /host ./enclave\n")
            console.wait_for(f"host {answer}\n")
            console.wait_for(f"enclave {answer}\n")
            console.wait_for(f"exited with value {answer}\n")
        assert (directory / "log").read_text() == "5\n6\n77\n8\n"


def test_a_program_that_is_overwritten_in_its_place_is_seen_changed(directory: Path):
    """Same name, inode, size and time: nothing of the old one may be left in a cache."""
    program = directory / "program"
    program.write_text("#!/bin/sh\necho 1\n")
    program.chmod(0o755)
    before = program.stat()
    console = Recorder()
    with LinuxGuest(linux.boot(None).software(), console, shares=[Share(directory)]) as guest:
        guest.start()
        console.wait_for("/ # ")
        for answer in (1, 2, 3):
            with program.open("r+") as file:
                file.write(f"#!/bin/sh\necho {answer}\n")
            os.utime(program, ns=(before.st_atime_ns, before.st_mtime_ns))
            console.type(guest, "/share/program; echo over; cat /share/program\n")
            console.wait_for(f"{answer}\nover\n#!/bin/sh\necho {answer}\n")


def test_programs_use_it_at_once(directory: Path):
    (directory / "large").write_bytes(large())
    run(
        directory,
        """
        for n in 1 2 3 4; do
            (for i in 1 2 3; do cp large $n.$i || exit 1; done; echo well > $n) &
        done
        /host /hello-world > enclave &
        wait; cat 1 2 3 4
        """,
    )
    assert [(directory / f"{n}").read_text() for n in (1, 2, 3, 4)] == ["well\n"] * 4
    assert all(
        digest((directory / f"{n}.{i}").read_bytes()) == digest(large())
        for n in (1, 2, 3, 4)
        for i in (1, 2, 3)
    )
    assert "hello world!" in (directory / "enclave").read_text()


def test_two_machines_share_a_directory(directory: Path):
    (directory / "file").write_text("first")
    consoles = [Recorder(), Recorder()]
    software = linux.boot(None).software()
    shares = [Share(directory)]
    with (
        LinuxGuest(software, consoles[0], shares=shares) as one,
        LinuxGuest(software, consoles[1], shares=shares) as other,
    ):
        for guest, console in zip((one, other), consoles, strict=True):
            guest.start()
            console.wait_for("/ # ")
        consoles[0].type(one, "echo from the first > /share/file; echo written\n")
        consoles[0].wait_for("written\n")
        consoles[1].type(other, "cat /share/file\n")
        consoles[1].wait_for("from the first\n")


# ---- walls -------------------------------------------------------------------------------------


def test_a_share_that_is_read_only_cannot_be_changed(directory: Path):
    (directory / "file").write_text("as it was")
    (directory / "sub").mkdir()
    before = (directory / "file").stat()
    ran = run(
        directory,
        """
        set +e
        for change in 'echo x > file' 'echo x >> file' 'touch new' 'rm file' 'mv file other' 'mkdir new' \\
            'rmdir sub' 'ln -s file link' 'ln file hard' 'chmod 777 file' 'touch file' 'truncate -s 0 file' \\
            'mount -o remount,rw /share; echo x > file'; do
            (eval "$change") 2>/tmp/error && echo "done: $change"
            grep -q 'Read-only file system' /tmp/error || { echo "$change:"; cat /tmp/error; }
        done
        cat file
        """,
        read_only=True,
    )
    assert ran.output == "as it was"
    after = (directory / "file").stat()
    assert (after.st_mtime_ns, after.st_ctime_ns, after.st_mode) == (
        before.st_mtime_ns,
        before.st_ctime_ns,
        before.st_mode,
    )
    assert sorted(path.name for path in directory.iterdir()) == ["file", "sub"]


def test_nothing_leads_out_of_it(directory: Path):
    """A link is Linux's to follow, in its own files; .. ends at the directory."""
    secret = directory.parent / "secret"
    secret.write_text("secret")
    (directory / "absolute").symlink_to(secret)
    (directory / "relative").symlink_to("../secret")
    (directory / "up").symlink_to("..")
    (directory / "passwd").symlink_to("/etc/passwd")
    ran = run(
        directory,
        f"""
        ln -s {secret} made
        for way in absolute relative up/secret ../share/../secret ./../../secret made; do
            ! cat $way 2>/dev/null
        done
        cat passwd
        """,
    )
    assert "secret" not in ran.output
    assert ran.output.startswith("root:x:0:0"), "the guest's own"


@pytest.mark.parametrize(("name", "what"), [("missing", "No such file"), ("file", "Not a directory")])
def test_what_is_no_directory_is_refused(tmp_path: Path, name: str, what: str):
    (tmp_path / "file").touch()
    with pytest.raises(BadArgumentError, match=f"cannot share .*{name}: {what}"):
        LinuxGuest(linux.boot("true").software(), Recorder(), shares=[Share(tmp_path / name)])


def test_nothing_of_it_stays_open(directory: Path):
    run(directory, "exec 3>a 4>b 5>c; echo opened")
    opened = [os.path.realpath(path) for path in Path("/proc/self/fd").iterdir()]
    assert [path for path in opened if path.startswith(str(directory))] == []
