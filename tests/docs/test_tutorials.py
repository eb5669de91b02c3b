"""The tutorials' enclaves, built for Penglai-TVM's own machine, do the same on it and on ours.

What a page runs, its commands and its Python, runs twice, with the shipped demos built so as well.
"""

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.docs.test_docs import ROOT, blocks, commands, ids
from tests.support.portable import PROFILES, portable
from tests.support.waiting import PATIENCE

from penglai.sdk.build import demos

TUTORIALS = sorted((ROOT / "docs/tutorials").glob("*.md"))
VARIES = re.compile(r"(?<=enclave )\d+|\d+(?= times as fast)")
"""In what is printed: ids, which begin at another number there, and times."""
ELSEWHERE = ("penglai boot", "penglai test-stop")
"""Commands that have no such option, or print times: those of Linux, and the one that shows them."""
ONLY_HERE = {
    'create("send")': "any region can be sent by an asynchronous call; there only relay pages can",
    'create("client-fault")': "a server that faults leaves its caller alone; there it takes it with it",
}
"""What a program has that differs, by the rows of docs/compatibility.md and docs/guides/hardware.md."""


def steps(page: Path, profile: str, place: Path) -> Iterator[tuple[str, str]]:
    """The commands of a page, and how they are for such a machine; its programs go to a directory."""
    for number, block in enumerate(blocks(page)):
        if block.title:
            (place / block.title).write_text(block.text)
        elif block.kind == "python" and not any(part in block.text for part in ONLY_HERE):
            program = place / f"block{number}.py"
            program.write_text(
                block.text.replace("penglai.Machine(", f"penglai.Machine(profile={profile!r}, ")
            )
            yield block.text, f"python {program.name}"
        elif block.kind == "console":
            for command in commands(block):
                if not command.startswith(ELSEWHERE):
                    portable = command.replace("penglai build ", "penglai build --profile tvm ")
                    yield command, portable.replace("penglai run ", f"penglai run --profile {profile} ")


def results(page: Path, profile: str, place: Path) -> list[tuple[str, int, list[str]]]:
    """What each command of a page printed, without its order, since enclaves run side by side."""
    for name in demos():
        shutil.copy(portable(name), place / name)
    environment = {**os.environ, "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}
    found = []
    for what, command in steps(page, profile, place):
        done = subprocess.run(
            command,
            shell=True,
            cwd=place,
            env=environment,
            stdout=subprocess.PIPE,
            text=True,
            timeout=PATIENCE,
            check=False,
        )
        found.append((what, done.returncode, sorted(VARIES.sub("#", done.stdout).splitlines())))
    return found


@pytest.mark.slow
@pytest.mark.parametrize("page", TUTORIALS, ids=ids)
def test_the_same_on_both_machines(page: Path, tmp_path: Path):
    found = []
    for profile in PROFILES:
        (tmp_path / profile).mkdir()
        found.append(results(page, profile, tmp_path / profile))
    native, tvm = found
    assert native == tvm
    assert native


@pytest.mark.parametrize("part", ONLY_HERE)
def test_what_is_left_out_is_there(part: str):
    assert any(part in block.text for page in TUTORIALS for block in blocks(page) if block.kind == "python")
