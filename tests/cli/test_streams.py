"""What cannot be written is an error, whatever the command; and names of files are any bytes.

The commands are those of the application, so that a new one is among them.
"""

import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
import typer
from tests.support.person import PENGLAI
from tests.support.programs import compiled
from tests.support.waiting import PATIENCE

from penglai.cli.app import app
from penglai.guest.image.packages import MIRROR_VARIABLE
from penglai.toolchain.places import CACHE_VARIABLE

LATIN_1 = os.fsdecode(b"n\xe9")
"""A name that is no UTF-8."""

PROGRAM = '#include "eapp.h"\n\nint EAPP_ENTRY main(void)\n{\n    return 0;\n}\n'


def commands(group: object, *words: str) -> Iterator[tuple[str, ...]]:
    """All commands below a group, and the group itself, by their words."""
    yield words
    if isinstance(group, typer.core.TyperGroup):
        context = typer.Context(group)
        for name in group.list_commands(context):
            yield from commands(group.get_command(context, name), *words, name)


COMMANDS = sorted(commands(typer.main.get_command(app)))

WRITES: dict[str, list[str]] = {
    "": [],
    "run": ["hello-world"],
    "trace": ["hello-world", "-o", os.devnull],
    "strace": ["hello-world", "-o", os.devnull],
    "gdb": ["--help"],  # what gdb writes is gdb's: tests/debug
    "record": ["hello-world", "-o", os.devnull],
    "replay": ["--help"],
    "fuzz": ["--help"],
    "snapshot": ["--help"],
    "restore": ["--help"],
    "fleet": [],
    **{" ".join(words): ["--help"] for words in COMMANDS if words[:-1] == ("fleet",)},  # test_fleeting.py
    "test-stop": ["loop", "--seconds", "0.01"],
    "boot": ["--help"],  # what Linux writes: tests/guest
    "image": [],
    "image build": ["--help"],  # writes at the end what `show` writes
    "image show": ["--help"],
    "image clean": ["--help"],
    "measure": ["hello-world"],
    "attest": ["hello-world"],
    "policy": ["hello-world"],
    "verifier": ["--help"],  # what it writes itself it writes once, and goes on
    "verify": ["report", "--measurement", "00" * 32, "--nonce", "1"],
    "build": ["-E", "a.c"],
    "cc": ["--version"],
    "c++": ["--version"],
    "ar": ["--version"],
    "ranlib": ["--version"],
    "pack": ["--help"],  # writes its image alone
    "toolchain": ["cmake"],
    "check": ["hello-world"],
    "demos": ["--json"],
    "doctor": [],
    "version": [],
}
"""For each command, arguments with which it writes something to standard output."""


def test_every_command_is_here():
    assert {" ".join(words) for words in COMMANDS} == set(WRITES)


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """A directory with what the commands above read."""
    (tmp_path / "a.c").write_text(PROGRAM)
    (tmp_path / "report").write_bytes(bytes(328))
    return tmp_path


def shell(place: Path, redirection: str, *words: str) -> subprocess.CompletedProcess[bytes]:
    """Run penglai with a redirection of the shell's."""
    return subprocess.run(
        ["sh", "-c", f'"$@" {redirection}', "sh", PENGLAI, *words],
        capture_output=True,
        check=False,
        timeout=PATIENCE,
        cwd=place,
        stdin=subprocess.DEVNULL,
    )


@pytest.mark.parametrize("words", COMMANDS, ids=" ".join)
@pytest.mark.parametrize("redirection", [">/dev/full", ">&-", "1</dev/null"])
def test_output_that_cannot_be_written(place: Path, words: tuple[str, ...], redirection: str):
    done = shell(place, redirection, *words, *WRITES[" ".join(words)])
    assert done.returncode == 1
    lines = [line for line in done.stderr.splitlines() if not line.startswith(b"wrote ")]
    line = lines[0]
    reason = b"No space left on device" if redirection == ">/dev/full" else b"Bad file descriptor"
    assert reason in line
    if words == ("build",):  # with two more lines of clang's
        assert line.startswith(b"error: unable to open output file")
    else:
        assert line.startswith((b"penglai: cannot write to standard output: ", b"LLVM ERROR: IO failure"))
        assert len(lines) == 1


@pytest.mark.parametrize("words", COMMANDS, ids=" ".join)
def test_help_that_cannot_be_written(place: Path, words: tuple[str, ...]):
    done = shell(place, ">/dev/full", *words, "--help")
    assert done.returncode == 1
    assert done.stderr.endswith(b"No space left on device\n")
    assert done.stderr.count(b"\n") == 1


@pytest.mark.parametrize("words", COMMANDS, ids=" ".join)
@pytest.mark.parametrize("redirection", ["2>/dev/full", "2>&- >&-"])
def test_no_place_for_messages(place: Path, words: tuple[str, ...], redirection: str):
    done = shell(place, redirection, *words, "--no-such-option", LATIN_1)
    assert done.returncode == 1
    assert done.stderr == b""


@pytest.mark.parametrize("words", COMMANDS, ids=" ".join)
def test_nobody_reads(place: Path, words: tuple[str, ...]):
    done = shell(place, "| true", *words, *WRITES[" ".join(words)])
    assert b"Traceback" not in done.stderr
    assert b"Exception" not in done.stderr


@pytest.mark.parametrize("words", COMMANDS, ids=" ".join)
@pytest.mark.parametrize("arguments", [[LATIN_1], [f"--{LATIN_1}", "-o", LATIN_1]], ids=ascii)
def test_names_that_are_no_utf8(
    place: Path, words: tuple[str, ...], arguments: list[str], monkeypatch: pytest.MonkeyPatch
):
    if words[:1] in {("boot",), ("image",)}:  # they are to build nothing, and to remove nothing
        monkeypatch.setenv(CACHE_VARIABLE, str(place / "cache"))
        monkeypatch.setenv(MIRROR_VARIABLE, "http://127.0.0.1:9")
    done = shell(place, "", *words, *arguments)
    assert done.returncode in (1, 2), done.stderr
    assert b"Traceback" not in done.stderr


class TestNamesThatAreNoUtf8:
    """Each command that reads or writes a file, on such names."""

    @pytest.fixture
    def named(self, place: Path) -> Path:
        shutil.copy(compiled(PROGRAM), place / LATIN_1)
        (place / f"{LATIN_1}.c").write_text(PROGRAM)
        return place

    @pytest.mark.parametrize(
        ("arguments", "said"),
        [
            (["run", LATIN_1, "--stats"], b"1 n\xe9 "),
            (["run", "hello-world", "--server", f"{LATIN_1}={LATIN_1}", "--stats"], b"1 n\xe9 "),
            (["measure", LATIN_1], b""),
            (["attest", LATIN_1, "-o", f"{LATIN_1}.r"], b"wrote n\xe9.r\n"),
            (["policy", LATIN_1, "-o", f"{LATIN_1}.p"], b""),
            (["trace", LATIN_1, "-o", f"{LATIN_1}.t"], b"wrote n\xe9.t: "),
            (["build", f"{LATIN_1}.c", "-o", f"{LATIN_1}.e"], b"built n\xe9.e\n"),
            (["cc", f"{LATIN_1}.c", "-o", f"{LATIN_1}.e"], b""),
        ],
        ids=ascii,
    )
    def test_they_are_names_as_others(self, named: Path, arguments: list[str], said: bytes):
        done = shell(named, "", *arguments)
        assert done.returncode == 0, done.stderr
        assert said in done.stderr
        if "-o" in arguments:
            assert (named / arguments[-1]).stat().st_size

    @pytest.mark.parametrize(
        "arguments", [["run", "no\xe9"], ["attest", "no\xe9"], ["measure", "no\xe9"]], ids=ascii
    )
    def test_messages_have_them_as_they_are(self, place: Path, arguments: list[str]):
        name = os.fsdecode(arguments[1].encode("latin-1"))
        done = shell(place, "", arguments[0], name)
        assert done.returncode == 1
        assert b"no such file: " + os.fsencode(name) in done.stderr

    def test_a_cache_with_such_a_name(self, named: Path, monkeypatch: pytest.MonkeyPatch):
        monkeypatch.setenv(CACHE_VARIABLE, str(named / f"{LATIN_1}.cache"))
        done = shell(named, "", "run", "hello-world")
        assert (done.returncode, done.stdout) == (0, b"hello world!\n"), done.stderr
        assert os.fsencode(LATIN_1) in shell(named, "", "toolchain", "cmake").stdout


class TestFilesThatCannotBeWritten:
    @pytest.mark.parametrize("file", ["/dev/full", "/proc/none", ".", "a.c/below"])
    @pytest.mark.parametrize(
        "words", [["attest", "loop"], ["policy", "loop"], ["trace", "hello-world"], ["build", "a.c"]], ids=str
    )
    def test_a_line_says_which_and_why(self, place: Path, words: list[str], file: str):
        done = shell(place, "", *words, "-o", file)
        assert done.returncode == 1
        assert done.stderr.count(b"\n") == 1
        assert file.encode() in done.stderr or b"the trace is not complete" in done.stderr

    def test_a_program_on_standard_output(self, place: Path):
        done = shell(place, "| cat", "build", "a.c", "-o", "/dev/stdout")
        assert done.stdout[:4] == b"\x7fELF"
        done = shell(place, ">program", "build", "a.c", "-o", "/dev/stdout")
        assert (place / "program").read_bytes()[:4] == b"\x7fELF"
        assert Path("/dev/stdout").is_symlink()
        for redirection in (">&-", ">/dev/full"):
            done = shell(place, redirection, "build", "a.c", "-o", "/dev/stdout")
            assert done.returncode == 1
            assert done.stderr.startswith(b"penglai: cannot write /dev/stdout: ")

    def test_a_link_stays_one(self, place: Path):
        (place / "link").symlink_to("program")
        assert shell(place, "", "build", "a.c", "-o", "link").returncode == 0
        assert (place / "link").is_symlink()
        assert os.access(place / "program", os.X_OK)


def test_brackets_and_colons_in_names_mean_nothing(place: Path):
    name = "[bold]:smile:["
    shutil.copy(compiled(PROGRAM), place / name)
    done = shell(place, "", "attest", name, "-o", f"{name}.report")
    assert (done.returncode, done.stderr) == (0, f"wrote {name}.report\n".encode())
    assert name.encode() in shell(place, "", "run", name, "--stats").stderr


def test_an_encoding_that_lacks_characters(place: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("PYTHONIOENCODING", "ascii")
    done = shell(place, "", "test-stop", "loop", "--seconds", "0.01")
    assert b"Traceback" not in done.stderr
    assert done.stdout.splitlines()[1].startswith(b"? create")


def test_all_enclaves_end_when_their_output_cannot_be_written(place: Path):
    done = shell(place, ">/dev/full", "run", "loop", "--instances", "3")
    assert done.returncode == 1
    assert done.stderr == b"penglai: cannot write to standard output: No space left on device\n"


@pytest.mark.parametrize("language", ["POSIX", "C.UTF-8", "de_DE.ISO-8859-1"])
def test_languages(place: Path, language: str, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("LC_ALL", language)
    monkeypatch.setenv("PYTHONUTF8", "0")
    monkeypatch.setenv("PYTHONCOERCECLOCALE", "0")
    shutil.copy(compiled(PROGRAM), place / LATIN_1)
    done = shell(place, "", "run", LATIN_1, "--stats")
    assert done.returncode == 0
    assert b"1 n\xe9 " in done.stderr


@pytest.mark.parametrize(
    "words",
    [
        ["boot", "--kernel", "/dev/zero"],
        ["boot", "--initrd", "/dev/full"],
        ["run", "hello-world", "--relay", "/dev/zero"],
        ["pack", "/dev/zero", "-o", "packed"],
        ["measure", "/dev/zero"],
        ["check", "/dev/zero"],
        ["trace", "/dev/zero", "-o", os.devnull],
    ],
    ids=" ".join,
)
def test_what_has_no_end_is_not_read_to_its_end(place: Path, words: list[str]):
    done = shell(place, "", *words)
    assert done.returncode == 1
    assert done.stderr.count(b"\n") == 1, done.stderr


def test_relay_pages_may_come_from_a_pipe(place: Path):
    done = shell(place, "", "run", "relay-page", "--relay", "a.c", "--relay", "a.c")
    (place / "pipe").symlink_to("/dev/stdin")
    piped = subprocess.run(
        ["sh", "-c", '"$@" <a.c', "sh", PENGLAI, "run", "relay-page", "--relay", "pipe", "--relay", "a.c"],
        capture_output=True,
        check=False,
        timeout=PATIENCE,
        cwd=place,
    )
    assert (done.returncode, done.stdout) == (piped.returncode, piped.stdout)
