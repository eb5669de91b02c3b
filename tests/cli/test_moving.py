"""penglai snapshot and penglai restore, as a user types them."""

import os
import signal
import subprocess
from pathlib import Path

import pytest
from tests.support.person import PENGLAI
from tests.support.programs import eapp
from tests.support.waiting import PATIENCE, until

COUNTING = """
    for (unsigned long n = 1; n <= 6; n++)
        eapp_print("%lu\\n", n);
    EAPP_RETURN(eapp_generation());
"""
ENDLESS = """
    for (unsigned long n = 1;; n++)
        if (n % 1000000 == 0)
            eapp_print("on\\n");
"""


@pytest.fixture(autouse=True)
def state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PENGLAI_STATE", str(tmp_path / "state"))
    monkeypatch.chdir(tmp_path)


def penglai(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [PENGLAI, *map(str, arguments)], capture_output=True, text=True, check=False, timeout=PATIENCE
    )


def test_an_enclave_goes_on_from_file_to_file(tmp_path: Path):
    program = eapp(COUNTING)
    first = penglai("snapshot", program, "--lines", "2", "--output", "one")
    assert (first.returncode, first.stdout) == (0, "1\n2\n"), first.stderr
    assert "one: program, stopped" in first.stderr
    second = penglai("restore", "one", "--lines", "3", "-o", "two")
    assert (second.returncode, second.stdout) == (0, "3\n4\n5\n"), second.stderr
    spent = penglai("restore", "one")
    assert (spent.returncode, spent.stdout) == (1, "")
    assert "later snapshot" in spent.stderr
    assert len(spent.stderr.splitlines()) == 1
    third = penglai("restore", "two", "--exit-value")
    assert (third.returncode, third.stdout) == (2, "6\n")
    assert "restored already" in penglai("restore", "two").stderr


def test_ctrl_c_stops_and_saves_it(tmp_path: Path):
    child = subprocess.Popen(
        [PENGLAI, "snapshot", eapp(ENDLESS), "-o", "file"], stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    assert child.stdout is not None
    assert child.stdout.readline() == b"on\n"
    os.kill(child.pid, signal.SIGINT)
    _, messages = child.communicate(timeout=PATIENCE)
    assert child.returncode == 0, messages
    until(lambda: Path("file").exists())
    done = penglai("restore", "file", "--lines", "1")
    assert (done.returncode, done.stdout) == (1, "on\n")
    assert done.stderr.endswith("was destroyed: it had not ended\n")


def test_what_cannot_be_done_is_said_in_a_line(tmp_path: Path):
    Path("there").touch()
    for arguments, said in (
        (("snapshot", "hello-world", "-o", "file"), "hello-world ended before it was stopped: EXITED"),
        (("snapshot", eapp(COUNTING), "--clone", "--lines", "1", "-o", "file"), "policy"),
        (("snapshot", eapp(COUNTING), "--lines", "1", "-o", "no/file"), "cannot write the snapshot"),
        (("restore", "there"), "is no snapshot"),
        (("restore", "nowhere"), "No such file"),
    ):
        done = penglai(*arguments)
        assert done.returncode == 1
        assert said in done.stderr
        assert len(done.stderr.splitlines()) == 1, done.stderr
    for arguments in (("snapshot", "hello-world", "-o", "there"), ("snapshot", "hello-world")):
        assert penglai(*arguments).returncode == 2
    assert not Path("file").exists()


def test_servers_have_to_be_there(tmp_path: Path):
    server = eapp("struct call_enclave_arg_t arg = {.resp_val = args[10] + 1}; SERVER_RETURN(&arg);")
    client = eapp("""
        struct call_enclave_arg_t arg = {.req_arg = 4};
        unsigned long handle = acquire_enclave("s");
        eapp_print("ready\\n");
        call_enclave(handle, &arg);
        EAPP_RETURN(arg.resp_val);
    """)
    assert (
        penglai("snapshot", client, "--server", f"s={server}", "--lines", "1", "-o", "file").returncode == 0
    )
    done = penglai("restore", "file")
    assert (done.returncode, "a server that it uses is not here" in done.stderr) == (1, True)
    done = penglai("restore", "file", "--server", f"s={server}", "--exit-value")
    assert done.returncode == 5, done.stderr
