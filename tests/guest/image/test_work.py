"""Long things: they appear whole or not at all, once, and take their children along."""

import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import psutil
import pytest
from tests.support.waiting import until

from penglai.abi.errors import ToolchainError
from penglai.guest.image.current import root
from penglai.guest.image.keys import key_of
from penglai.guest.image.work import once, run, write_whole
from penglai.toolchain.places import CACHE_VARIABLE


def test_a_result_is_made_once_and_found_again(tmp_path: Path):
    made = []

    def make(directory: Path) -> None:
        made.append(directory)
        (directory / "file").write_text("content")

    for _ in range(2):
        assert (once(tmp_path / "result", make) / "file").read_text() == "content"
    assert len(made) == 1


def test_a_result_that_cannot_be_made_leaves_nothing(tmp_path: Path):
    def fail(directory: Path) -> None:
        (directory / "half").write_text("")
        raise ToolchainError("no")

    with pytest.raises(ToolchainError, match="no"):
        once(tmp_path / "result", fail)
    assert [path.name for path in tmp_path.iterdir()] == [".result.lock"]
    assert once(tmp_path / "result", lambda _: None).is_dir(), "and can be made later"


def test_of_several_at_once_one_makes_it(tmp_path: Path):
    made = []
    gate = threading.Barrier(4)

    def make(directory: Path) -> None:
        made.append(directory)

    def ask() -> None:
        gate.wait()
        once(tmp_path / "result", make)

    threads = [threading.Thread(target=ask) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(made) == 1


def test_a_directory_that_cannot_be_written_is_an_error_that_says_so(tmp_path: Path):
    (tmp_path / "file").write_text("")
    with pytest.raises(ToolchainError, match="cannot build in"):
        once(tmp_path / "file" / "result", lambda _: None)
    with pytest.raises(ToolchainError, match="cannot write"):
        write_whole(tmp_path / "file" / "result", b"")


def test_output_comes_line_by_line_and_input_goes_in(tmp_path: Path):
    lines: list[str] = []
    run(["sh", "-c", "cat; echo end >&2"], tmp_path, on_line=lines.append, stdin=b"one\ntwo\n")
    assert lines == ["one\n", "two\n", "end\n"]


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv(CACHE_VARIABLE, str(tmp_path / "cache"))
    return tmp_path / "cache"


def test_a_program_that_fails_shows_the_end_of_its_output_and_where_all_of_it_is(tmp_path: Path, cache: Path):
    with pytest.raises(ToolchainError) as caught:
        run(["sh", "-c", "seq 1 100; exit 3"], tmp_path, log="counting")
    *message, place = str(caught.value).splitlines()
    assert message[0].endswith("failed with status 3:")
    assert message[1:] == [str(number) for number in range(81, 101)]
    assert place == f"all that it said is in {root()}/logs/counting.log"
    assert (root() / "logs/counting.log").read_text() == "".join(f"{number}\n" for number in range(1, 101))


def test_one_that_works_leaves_nothing(tmp_path: Path, cache: Path):
    run(["sh", "-c", "seq 1 100"], tmp_path)
    assert not cache.exists()


def test_without_room_for_all_of_it_the_end_is_shown(tmp_path: Path, cache: Path):
    cache.write_text("a file, no directory")
    with pytest.raises(ToolchainError, match=r"status 3:\nthe end$"):
        run(["sh", "-c", "echo the end; exit 3"], tmp_path)


def test_a_program_that_is_not_there_is_an_error(tmp_path: Path):
    with pytest.raises(ToolchainError, match="cannot run"):
        run([tmp_path / "nothing"], tmp_path)


def test_ctrl_c_ends_a_program_and_its_children(tmp_path: Path):
    code = f"""
import sys
from pathlib import Path
from penglai.guest.image.work import run
inner = "echo $$ > {tmp_path}/child; exec sleep 1000"
run(["sh", "-c", f"sh -c '{{inner}}'; true"], Path("{tmp_path}"))
"""
    process = subprocess.Popen(
        [sys.executable, "-c", code], stderr=subprocess.DEVNULL, start_new_session=True
    )
    child = tmp_path / "child"
    until(lambda: child.exists() and child.read_text().endswith("\n"))
    pid = int(child.read_text())
    os.killpg(process.pid, signal.SIGINT)  # as a terminal does: everybody in the foreground gets it
    process.wait()
    until(lambda: not psutil.pid_exists(pid) or psutil.Process(pid).status() == psutil.STATUS_ZOMBIE)


def test_a_file_appears_whole(tmp_path: Path):
    write_whole(tmp_path / "deep" / "file", b"content")
    assert (tmp_path / "deep" / "file").read_bytes() == b"content"
    assert [path.name for path in (tmp_path / "deep").iterdir()] == ["file"]


def test_keys_tell_inputs_apart():
    keys = {key_of(), key_of(""), key_of("", ""), key_of("ab"), key_of("a", "b"), key_of(b"b", b"a")}
    assert len(keys) == 6
    assert key_of("a") == key_of(b"a")


def test_what_a_killed_process_left_is_removed(tmp_path: Path):
    code = f"""
import os, signal
from pathlib import Path
from penglai.guest.image.work import once
def make(directory):
    (directory / "half").touch()
    os.kill(os.getpid(), signal.SIGKILL)
once(Path("{tmp_path}/result"), make)
"""
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == -signal.SIGKILL
    assert len(list(tmp_path.glob(".result.*/half"))) == 1
    once(tmp_path / "result", lambda _: None)
    assert sorted(path.name for path in tmp_path.iterdir()) == [".result.lock", "result"]
