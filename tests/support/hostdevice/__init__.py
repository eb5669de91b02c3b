"""Host programs in C on a fake device, compiled for the machine that the tests run on: no Linux is needed.

device.c has a few enclaves without a monitor, which are in the states of the life-cycle table.
"""

import os
import platform
import struct
import subprocess
from pathlib import Path

from penglai.sdk import hostbuild
from penglai.sdk.hostbuild import HOST, host_demo_source
from penglai.toolchain.cache import compile_cached
from penglai.toolchain.compiler import compile_c
from tests.support.waiting import PATIENCE

SOURCES = Path(__file__).parent

# The fake's programs, by the entry point of their ELFs, and what they return.
SUMS, RELAYS, LOOPS, FAULTS, CALLS = range(5)
SUM_OF_A_PAGE = 512 * 513 // 2


def native(name: str, *sources: Path) -> Path:
    """A program with the host library and the fake device, for the machine that runs the tests."""
    inputs = [*sources, *HOST.library, SOURCES / "device.c"]
    flags = ["-target", f"{platform.machine()}-linux-musl", "-static", "-O1", f"-I{HOST.include}"]
    return compile_cached(
        name, flags, [*inputs, *HOST.headers()], lambda output: compile_c([*flags, *inputs], output)
    )


def run(program: Path | str, *arguments: object, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run a program to its end.  environment: FAKE_BREAKS, what the fake device does wrong."""
    line = [str(program), *map(str, arguments)]
    return subprocess.run(
        line, capture_output=True, text=True, timeout=PATIENCE, check=False, env={**os.environ, **environment}
    )


def image(directory: Path, program: int) -> Path:
    """What the fake device takes for an enclave program: a header whose entry point tells what it does."""
    path = directory / f"program-{program}"
    header = struct.pack("<16sHHIQ", b"\x7fELF\x02\x01\x01", 2, 243, 1, program)
    path.write_bytes(header.ljust(64, b"\0"))
    return path


class Demo:
    """A demo that runs on the fake device."""

    def __init__(self, directory: Path, name: str) -> None:
        self.directory = directory
        self.program = native(name, host_demo_source(name), hostbuild.COMMON)

    def __call__(self, *arguments: object, breaks: str = "") -> subprocess.CompletedProcess[str]:
        return run(self.program, *arguments, FAKE_BREAKS=breaks)

    def image(self, program: int) -> Path:
        return image(self.directory, program)
