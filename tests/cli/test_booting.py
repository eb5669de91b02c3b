"""penglai boot and penglai image where nothing is booted: what is wrong, and an interrupted first image."""

import contextlib
import json
import os
import re
import signal
import socket
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
from tests.support.person import PENGLAI, Person
from tests.support.waiting import PATIENCE

from penglai.guest.image.packages import MIRROR_VARIABLE
from penglai.toolchain.places import CACHE_VARIABLE


@pytest.fixture
def fresh(tmp_path: Path) -> dict[str, str]:
    """An environment in which nothing has been built, and nothing can be."""
    cache = {CACHE_VARIABLE: str(tmp_path / "cache"), MIRROR_VARIABLE: "http://127.0.0.1:9"}
    return {**os.environ, **cache, "COLUMNS": "110", "TERM": "xterm"}


def penglai(environment: dict[str, str], *arguments: str | Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [PENGLAI, *map(str, arguments)],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
        timeout=PATIENCE,
        env=environment,
    )


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--memory", "3M"], "must be a multiple of 2 MiB"),
        (["--memory", "lots"], "'lots' is not a size"),
        (["--memory", "0"], "at least 4 MiB"),
        (["--harts", "0"], "must have 1 to 64"),
        (["--harts", "65"], "must have 1 to 64"),
        (["--kernel", "missing"], "cannot read missing: No such file or directory"),
        (["--kernel", "/"], "cannot read /: Is a directory"),
        (["--initrd", "missing"], "cannot read missing: No such file or directory"),
        (["--add", "missing"], "missing is not there, and nothing of that name is shipped"),
        (["--add", "bin=/bin/sh"], "the system has a /bin of its own"),
        (["--add", "a/b=/bin/sh"], "is no name for a file in /"),
        (["--add", "penglai.ko"], "is built for a kernel"),
        (["--share", "missing"], "cannot share missing: No such file or directory"),
        (["--share", "missing:ro"], "cannot share missing: No such file or directory"),
        (["--share", "/bin/sh"], "cannot share /bin/sh: Not a directory"),
        (["--share", ""], "cannot share '': it names no directory"),
        (["--share", ":ro"], "cannot share ':ro': it names no directory"),
    ],
    ids=str,
)
def test_what_is_wrong_is_said_before_anything_is_built(
    fresh: dict[str, str], arguments: list[str], message: str, tmp_path: Path
):
    done = penglai(fresh, "boot", *arguments)
    assert (done.returncode, done.stdout) == (1, "")
    assert message in done.stderr
    assert len(done.stderr.splitlines()) == 1
    assert not (tmp_path / "cache" / "linux").exists()


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "is no Linux Image for RISC-V"),
        (b"MZ" + bytes(100), "is no Linux Image for RISC-V"),
        (b"\x1f\x8b" + bytes(100), "it is compressed: unpack it first"),
        (Path("/bin/sh").read_bytes(), "is no Linux Image for RISC-V"),
    ],
    ids=["empty", "other", "compressed", "x86"],
)
def test_what_is_no_kernel(tmp_path: Path, content: bytes, message: str):
    (tmp_path / "kernel").write_bytes(content)
    done = penglai(dict(os.environ), "boot", "--kernel", tmp_path / "kernel", "--initrd", "/bin/sh")
    assert (done.returncode, done.stdout) == (1, "")
    assert f"{tmp_path}/kernel is no Linux Image for RISC-V" in done.stderr
    assert message in done.stderr
    assert len(done.stderr.splitlines()) == 1


@pytest.mark.parametrize(
    ("arguments", "status", "message"),
    [
        (["image", "show"], 1, "no image has been built; run: penglai image build"),
        (["image"], 2, "Usage"),
        (["image", "make"], 2, "No such command"),
        (["boot", "--harts", "two"], 2, "Invalid value"),
        (["boot", "now"], 2, "unexpected extra argument"),
    ],
    ids=str,
)
def test_what_else_is_wrong(fresh: dict[str, str], arguments: list[str], status: int, message: str):
    done = penglai(fresh, *arguments)
    assert done.returncode == status
    assert message in done.stdout + done.stderr


def test_an_unreadable_list_of_files(fresh: dict[str, str]):
    done = penglai({**fresh, "SDK_FILES": "'unclosed"}, "image", "build")
    assert (done.returncode, done.stderr) == (1, "penglai: $SDK_FILES cannot be read: No closing quotation\n")


def test_an_image_that_has_gone_is_none(fresh: dict[str, str], tmp_path: Path):
    current = tmp_path / "cache" / "linux" / "current.json"
    current.parent.mkdir(parents=True)
    gone = dict.fromkeys(("kernel", "initrd", "variant", "linux", "busybox"), "/nowhere")
    current.write_text(json.dumps({**gone, "files": []}))
    assert "no image has been built" in penglai(fresh, "image", "show").stderr
    assert penglai(fresh, "image", "clean").returncode == 0
    assert not current.parent.exists()


# ---- the first image ---------------------------------------------------------------------------


@pytest.fixture
def slow(fresh: dict[str, str]) -> Iterator[tuple[dict[str, str], threading.Event]]:
    """An environment whose mirror of Debian takes requests and never answers; and whether it was asked."""
    asked = threading.Event()
    with socket.create_server(("127.0.0.1", 0)) as server, contextlib.ExitStack() as kept:

        def accept() -> None:
            with contextlib.suppress(OSError):
                while True:
                    kept.enter_context(server.accept()[0])
                    asked.set()

        thread = threading.Thread(target=accept)
        thread.start()
        yield {**fresh, MIRROR_VARIABLE: f"http://127.0.0.1:{server.getsockname()[1]}"}, asked
        server.shutdown(socket.SHUT_RDWR)
        thread.join()


@pytest.mark.tools
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
@pytest.mark.parametrize("command", [["boot"], ["image", "build"]], ids=" ".join)
def test_a_first_image_shows_its_progress_and_can_be_interrupted(
    slow: tuple[dict[str, str], threading.Event], tmp_path: Path, command: list[str], number: int
):
    environment, asked = slow
    person = Person(environment, *command)
    try:
        if command == ["boot"]:
            person.reads("there is no image yet; building it takes some minutes, once")
        person.reads("asking Debian for the sources (")
        assert asked.wait(PATIENCE)
        if number == signal.SIGINT:
            person.types("\x03")
        else:
            person.process.send_signal(number)
        rest = person.sees_the_end(128 + number)
    finally:
        person.close()
    assert "Traceback" not in rest
    assert rest.rfind("\x1b[?25h") > rest.rfind("\x1b[?25l"), "the cursor is shown again"
    made = [
        path for path in (tmp_path / "cache" / "linux").rglob("*") if path.is_file() and path.stat().st_size
    ]
    assert {path.name for path in made} <= {"sources.list"}
    lines = [" ".join(process.info["cmdline"] or ()) for process in psutil.process_iter(["cmdline"])]
    assert [line for line in lines if str(tmp_path) in line] == [], "no program of the build goes on"


@pytest.mark.tools
def test_without_debian_it_is_said_what_failed(fresh: dict[str, str]):
    done = penglai(fresh, "boot")
    assert done.returncode == 1
    lines = done.stderr.splitlines()
    assert lines[:2] == [
        "there is no image yet; building it takes some minutes, once",
        "asking Debian for the sources",
    ]
    assert re.match(r"penglai: apt-get .* failed with status \d+:", lines[2])
    assert "Traceback" not in done.stderr
