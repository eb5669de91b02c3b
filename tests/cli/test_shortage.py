"""Want of memory, of room and of rights: one clear line, or healed by building again; the process goes on."""

import contextlib
import os
import shutil
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from tests.support.person import PENGLAI
from tests.support.waiting import PATIENCE

import penglai
from penglai.machine.library import build as build_library
from penglai.sdk.build import build_demo
from penglai.toolchain.cache import compile_cached
from penglai.toolchain.places import CACHE_VARIABLE, cache_dir

LIMITS = (40, 80, 100, 128, 150, 190, 300, 420, 600, 4000)
"""MiB of address space, of which numpy takes some 100, and a machine with two harts some 900."""

MACHINES = """
import resource, sys
import penglai
limit = int(sys.argv[1]) << 20
resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
machines = []
try:
    while True:
        machines.append(penglai.Machine("64M", harts=2, state=None))
        machines[-1].create("hello-world").run()
except (penglai.PenglaiError, MemoryError, ImportError) as error:
    print(error)
print("the process goes on")
"""


def run(command: str, directory: Path | None = None, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run a shell command with penglai's name in $P."""
    return subprocess.run(
        ["sh", "-c", command],
        capture_output=True,
        text=True,
        check=False,
        timeout=PATIENCE,
        cwd=directory,
        env={**os.environ, "P": PENGLAI, **environment},
    )


@pytest.mark.parametrize("limit", LIMITS)
def test_no_library_ends_the_process(limit: int):
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", MACHINES, str(limit)],
        capture_output=True,
        text=True,
        check=False,
        timeout=PATIENCE,
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.endswith("the process goes on\n")


@pytest.mark.parametrize("limit", LIMITS)
def test_the_command_says_so_in_a_line(limit: int):
    done = run(f'ulimit -v {limit << 10}; exec "$P" run hello-world')
    if done.returncode:
        assert len(done.stderr.splitlines()) == 1, done.stderr
        assert done.stderr.startswith("penglai: ")
    else:
        assert done.stdout == "hello world!\n"


class TestDamage:
    @pytest.fixture
    def copied(self, tmp_path: Path) -> dict[str, str]:
        """An environment with a cache of its own that has what hello-world needs."""
        for made in (build_library().parent, build_demo("hello-world").parent):
            shutil.copytree(made, tmp_path / made.relative_to(cache_dir()))
        return {CACHE_VARIABLE: str(tmp_path)}

    def test_what_was_cut_off_is_built_again(self, copied: dict[str, str]):
        (damaged,) = Path(copied[CACHE_VARIABLE]).glob("*/hart.so")
        os.truncate(damaged, 20000)
        done = run('"$P" run hello-world', **copied)
        assert (done.returncode, done.stdout) == (0, "hello world!\n"), done.stderr
        assert "penglai: compiling hart.so\n" in done.stderr
        assert damaged.stat().st_size > 20000

    @pytest.mark.parametrize("size", [0, 1, 99, 101])
    def test_so_is_whatever_the_cache_has(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, size: int):
        monkeypatch.setenv(CACHE_VARIABLE, str(tmp_path))
        for _ in range(2):
            made = compile_cached("a", ["b"], [], lambda output: output.write_bytes(b"x" * 100) and None)
            assert made.read_bytes() == b"x" * 100
            os.truncate(made, size)

    def test_a_changed_byte_too(self, copied: dict[str, str]):
        (damaged,) = Path(copied[CACHE_VARIABLE]).glob("*/hart.so")
        content = bytearray(damaged.read_bytes())
        content[len(content) // 2] ^= 0x55
        damaged.write_bytes(content)
        assert run('"$P" run hello-world', **copied).stdout == "hello world!\n"
        assert damaged.read_bytes() != content


@pytest.mark.parametrize("place", ["/proc/none", "/dev/null/below"])
@pytest.mark.parametrize(
    ("variable", "words"), [(CACHE_VARIABLE, "run hello-world"), ("PENGLAI_STATE", "attest hello-world")]
)
def test_a_place_that_cannot_be_written(variable: str, place: str, words: str):
    done = run(f'"$P" {words}', **{variable: place})
    assert done.returncode == 1
    lines = [line for line in done.stderr.splitlines() if line != "penglai: compiling hart.so"]
    assert len(lines) == (1 if variable == CACHE_VARIABLE else 2)  # the monitor's log, and the error
    assert place in lines[0]


@pytest.fixture
def small(tmp_path: Path) -> Path:
    """A file system of 64 KiB that executes nothing."""
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "noexec,size=64k", "none", tmp_path], check=False, capture_output=True
    )
    if mounted.returncode:
        pytest.skip("only root can mount a file system")
    yield tmp_path  # type: ignore[misc]
    subprocess.run(["umount", "--lazy", tmp_path], check=True)


def test_a_full_disk(small: Path):
    with contextlib.suppress(OSError):
        (small / "filler").write_bytes(bytes(1 << 20))
    for words in (f"attest loop -o {small}/report", f"trace loop --seconds 0.01 -o {small}/t"):
        done = run(f'"$P" {words}; "$P" {words}; "$P" {words}')
        assert done.returncode == 1, words
        assert "No space left on device" in done.stderr
        assert "Traceback" not in done.stderr
    done = run('"$P" run hello-world', **{CACHE_VARIABLE: str(small)})
    assert done.returncode == 1
    assert "Traceback" not in done.stderr


def test_a_cache_that_executes_nothing(small: Path):
    subprocess.run(["mount", "-o", "remount,size=64m", small], check=True)
    for made in (build_library().parent, build_demo("hello-world").parent):
        shutil.copytree(made, small / made.relative_to(cache_dir()))
    done = run('"$P" run hello-world', **{CACHE_VARIABLE: str(small)})
    assert done.returncode == 1
    (line,) = done.stderr.splitlines()
    assert "noexec" in line
    assert line.endswith(f"set {CACHE_VARIABLE} to a directory elsewhere")


def test_linux_is_not_built_where_nothing_is_executed(small: Path):
    done = run('"$P" image build', **{CACHE_VARIABLE: str(small)})
    assert done.returncode == 1
    (line,) = done.stderr.splitlines()
    assert str(small) in line
    assert "noexec" in line


def test_threads_that_the_system_does_not_give(monkeypatch: pytest.MonkeyPatch):
    def refuse(_thread: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    seen: list[bytes] = []
    machine = penglai.Machine("16M", 1, on_output=lambda _eid, text: seen.append(text))
    with machine:
        enclave = machine.create("hello-world")
        monkeypatch.setattr(threading.Thread, "start", refuse)
        assert enclave.run(PATIENCE).value == 0
        assert seen == [b"hello world!\n"]
        with pytest.raises(penglai.MachineError, match="no thread"):
            penglai.Machine("16M", 1)
