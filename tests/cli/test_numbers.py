"""Numbers as a user types them: ASCII digits; and times, which may be for ever."""

import subprocess
from pathlib import Path

import pytest
import typer
from tests.cli.test_commands import one_line, penglai
from tests.cli.test_streams import commands
from tests.support.person import PENGLAI
from tests.support.waiting import PATIENCE

from penglai.cli.app import app

ODD = ["\uff11\uff12", "1_0", " 2", "2 ", "+2", "2\n"]
"""What Python takes for a number, and nobody else."""


def test_no_option_is_read_as_python_reads_numbers():
    for words in commands(typer.main.get_command(app)):
        command = typer.main.get_command(app)
        for word in words:
            command = command.get_command(typer.Context(command), word)  # type: ignore[attr-defined]
        for parameter in command.params:
            assert not type(parameter.type).__name__.startswith(("Int", "Float")), (words, parameter.name)


@pytest.mark.parametrize("odd", ODD, ids=ascii)
@pytest.mark.parametrize(
    ("words", "status"),
    [
        ("run loop --harts", 2),
        ("run loop --instances", 2),
        ("run loop --timeout", 2),
        ("trace loop --seconds", 2),
        ("test-stop loop --seconds", 2),
        ("attest loop --nonce", 2),
        ("boot --harts", 2),
        ("boot --timeout", 2),
        ("run loop --memory", 1),
        ("run loop --stack-size", 1),
        ("measure loop --stack-size", 1),
    ],
)
def test_only_ascii_digits_are_numbers(words: str, status: int, odd: str):
    done = penglai(*words.split(), odd)
    assert (done.returncode, done.stdout) == (status, "")


@pytest.mark.parametrize(
    "digits", ["\uff10" * 64, "00 " * 31 + "00", " " + "00" * 32, "0x" + "00" * 31], ids=ascii
)
def test_only_ascii_digits_are_hexadecimal(digits: str):
    done = penglai("verify", __file__, "--nonce", "1", "--measurement", digits)
    assert done.returncode == 2


@pytest.mark.parametrize("seconds", ["inf", "1e300", "1" + 30 * "0", "60.5", "1e3", ".5e2"])
def test_times(seconds: str):
    assert penglai("run", "hello-world", "--timeout", seconds).returncode == 0


@pytest.mark.parametrize("seconds", ["nan", "-1", "-inf", "1e", "soon", ""])
@pytest.mark.parametrize("words", ["run loop --timeout", "boot --timeout", "trace loop --seconds"])
def test_what_is_no_time(words: str, seconds: str, tmp_path: Path):
    done = penglai(*words.split(), seconds, cwd=tmp_path)
    assert (done.returncode, done.stdout) == (2, "")
    assert not list(tmp_path.iterdir())


def test_nobody_watches_for_ever():
    assert penglai("test-stop", "loop", "--seconds", "inf").returncode == 2


def test_verify_reads_standard_input(tmp_path: Path):
    report = tmp_path / "report"
    assert penglai("attest", "loop", "--nonce", "7", "-o", report).returncode == 0
    measurement = penglai("measure", "loop").stdout.strip()
    words = ["verify", "-", "--measurement", measurement, "--nonce", "7"]

    def verify(data: bytes) -> subprocess.CompletedProcess[bytes]:
        return subprocess.run(
            [PENGLAI, *words], input=data, capture_output=True, check=False, timeout=PATIENCE
        )

    assert verify(report.read_bytes()).stdout.startswith(b"valid: ")
    for data in (b"", report.read_bytes()[:-1], report.read_bytes() + b"\0"):
        done = verify(data)
        assert done.returncode == 1
        assert one_line(done.stdout.decode())
