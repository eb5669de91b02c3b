"""Commands as a person types them, with the project's own tools on the path."""

import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

BIN = Path(sys.executable).parent
PATIENCE = 280.0
"""Seconds: a compiler's first command makes its libraries."""


def sh(
    *words: str | Path, cwd: Path, text: str = "", environment: Mapping[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    """Run a command to its end.  text: its standard input."""
    variables = {**os.environ, "PATH": f"{BIN}:{os.environ['PATH']}", **(environment or {})}
    return subprocess.run(
        [str(word) for word in words],
        cwd=cwd,
        input=text,
        env=variables,
        capture_output=True,
        text=True,
        errors="surrogateescape",
        timeout=PATIENCE,
        check=False,
    )


def must(*words: str | Path, cwd: Path, environment: Mapping[str, str] | None = None) -> str:
    """Run a command that has to end well; what it wrote to standard output."""
    done = sh(*words, cwd=cwd, environment=environment)
    assert done.returncode == 0, f"{words}\n{done.stdout[-3000:]}\n{done.stderr[-3000:]}"
    return done.stdout


def value(program: Path) -> int:
    """What an enclave program exits with."""
    return sh("penglai", "run", "--exit-value", program, cwd=program.parent).returncode
