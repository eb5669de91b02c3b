"""What is missing is named with the command that brings it."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from penglai.guest.image.packages import NEEDED_FILES, TOOLS, missing_packages


def test_what_is_missing_is_named(tmp_path: Path):
    assert set(missing_packages(str(tmp_path))) >= set(TOOLS.values())
    for tool in TOOLS:
        (tmp_path / tool).touch(mode=0o755)
    assert set(missing_packages(str(tmp_path))) <= set(NEEDED_FILES.values())


@pytest.mark.skipif(os.geteuid() != 0, reason="becomes another user")
def test_who_is_not_root_is_told_what_to_run(tmp_path: Path):
    code = """
import os, sys
from penglai.abi.errors import ToolchainError
from penglai.guest.image.packages import ensure_tools
os.environ["PATH"] = "/nowhere"
os.setuid(65534)
try:
    ensure_tools(lambda what, steps: print("told", what))
except ToolchainError as error:
    print(error)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    found = re.search(
        r"run  (sudo apt-get install --no-install-recommends [\w. -]+)  and try again", done.stdout
    )
    assert found is not None, done.stdout
    assert set(found[1].split()) >= set(TOOLS.values())
