"""penglai gdb, penglai run --gdb and penglai verify --allow-debug, as far as no gdb is needed."""

import os
import subprocess
from pathlib import Path

import pexpect
import pytest
from tests.cli.test_commands import penglai as command
from tests.support.gdbclient import GdbClient
from tests.support.person import PENGLAI
from tests.support.waiting import PATIENCE

import penglai


def test_run_waits_for_a_gdb_and_ends_with_the_enclave(tmp_path: Path):
    child = pexpect.spawn(PENGLAI, ["run", "--gdb", "hello-world"], timeout=PATIENCE, encoding="utf-8")
    child.expect(r"target remote (127\.0\.0\.1:\d+)")
    with GdbClient(child.match[1]) as gdb:
        assert gdb.ask("c") == "W00"
    child.expect_exact("hello world!")
    child.expect_exact("exited with value 0")
    child.expect(pexpect.EOF)


def test_ctrl_c_ends_run_and_nothing_more_of_the_enclave_happens():
    child = pexpect.spawn(PENGLAI, ["run", "--gdb", "hello-world"], timeout=PATIENCE, encoding="utf-8")
    child.expect(r"target remote (127\.0\.0\.1:\d+)")
    with GdbClient(child.match[1]) as gdb:
        assert gdb.ask("?").startswith("T05")
        child.sendintr()
        child.expect(pexpect.EOF)
    assert "hello" not in child.before
    child.close()
    assert child.exitstatus == 130


@pytest.mark.parametrize(
    ("options", "why"),
    [
        (("--gdb=65536",), "is no port"),
        (("--gdb=now",), "is no number"),
        (("--gdb", "--instances", "2"), "makes several"),
    ],
)
def test_what_makes_no_sense_is_refused(options: tuple[str, ...], why: str):
    done = command("run", *options, "hello-world")
    assert done.returncode == 2
    assert why in done.stderr


def test_without_a_gdb_it_says_which_to_install(tmp_path: Path):
    environment = {"PATH": str(tmp_path), "HOME": os.environ["HOME"]}
    done = subprocess.run(
        [PENGLAI, "gdb", "hello-world"], capture_output=True, text=True, env=environment, check=False
    )
    assert done.returncode == 1
    assert "apt-get install gdb-multiarch" in done.stderr


def test_verify_refuses_a_machine_that_can_be_debugged_unless_it_is_allowed(tmp_path: Path):
    with penglai.Machine("64M", debug=True) as machine:
        enclave = machine.create("hello-world")
        measurement = enclave.measurement.hex()
        (tmp_path / "report").write_bytes(bytes(enclave.attest(7)))
    words = ("verify", "report", "--measurement", measurement, "--nonce", "7")
    refused = command(*words, cwd=tmp_path)
    assert refused.returncode == 1
    assert "can be debugged" in refused.stdout
    allowed = command(*words, "--allow-debug", cwd=tmp_path)
    assert allowed.returncode == 0
    assert "nothing in the enclave is secret" in allowed.stderr
