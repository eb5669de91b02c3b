"""More than 700 calls, each with its result and error as on Linux; each line of the outputs is a case.

What Linux gives is recorded beside each program (its name with .out): of Linux 6.18 on x86-64, whose results
do not depend on the machine.  `make soak` runs the programs there again, and compares.
"""

import os
import platform
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest
from tests.personality.conftest import Runs
from tests.support.linuxprograms import linux_program

CASES = Path(__file__).parent / "conformance"
NAMES = sorted(path.stem for path in CASES.glob("*.c"))
NATIVE = ("-target", "x86_64-linux-musl", "-static", "-O1", "-w", "-fno-sanitize=all")
IS_LINUX_AS_ROOT = platform.system() == "Linux" and platform.machine() == "x86_64" and os.geteuid() == 0


def recorded(name: str) -> list[str]:
    return (CASES / f"{name}.out").read_text().splitlines()


@pytest.mark.parametrize("name", NAMES)
def test_calls_have_linuxs_results(run: Runs, name: str):
    ran = run(linux_program(CASES / f"{name}.c", "-w"), "/tmp")
    assert ran.output.splitlines() == recorded(name)
    assert ran.status == 0


def test_there_are_many():
    assert sum(" = " in line for name in NAMES for line in recorded(name)) > 700


@pytest.mark.soak
@pytest.mark.skipif(not os.environ.get("PENGLAI_SOAK"), reason="of the tests' own: `make soak`")
@pytest.mark.skipif(not IS_LINUX_AS_ROOT, reason="recorded by root on Linux for x86-64")
@pytest.mark.parametrize("name", NAMES)
def test_linux_gives_what_is_recorded(tmp_path: Path, name: str):
    program = tmp_path / "program"
    line = [sys.executable, "-m", "ziglang", "cc", *NATIVE, str(CASES / f"{name}.c"), "-o", str(program)]
    subprocess.run(line, check=True)
    with tempfile.TemporaryDirectory(dir="/dev/shm") as memory:
        ran = subprocess.run(
            [program, memory], stdin=subprocess.DEVNULL, capture_output=True, text=True, check=True
        )
    assert ran.stdout.splitlines() == recorded(name)
